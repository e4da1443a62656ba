// A driver whose every answer comes when the test says so: for what depends on the order of events alone. What a database
// makes of statements is tried on real ones.
import { postgresDialect, type Dialect } from '../../lib/src/local/dialect.ts';
import type { Connection, Driver, TransactionStatus } from '../../lib/src/local/driver.ts';

/** A statement, or `acquire`, `release` and `cancel`, that waits for the test. */
export interface Stop {
  /** Resolves when it got so far. */
  readonly reached: Promise<void>;
  go(): void;
  fail(error: unknown): void;
}

export interface ScriptedHandle {
  query(sql: string): Promise<string>;
}

export interface ScriptedOptions {
  readonly connectionsMax?: number;
  readonly dialect?: Dialect;
}

interface Planned {
  readonly what: string;
  readonly reach: () => void;
  readonly pass: Promise<void>;
}

export class ScriptedDatabase {
  /** What was done, in order: `1 begin`, `1 release reuse`. */
  readonly log: string[] = [];
  /** What no manager may do: two statements at a time on one connection, any on one that was given back. */
  readonly violations: string[] = [];
  readonly driver: Driver<ScriptedHandle, ScriptedConnection>;
  readonly #stops: Planned[] = [];
  readonly #dead = new Set<string>();
  readonly #waiting: (() => void)[] = [];
  #free: number;
  #made = 0;

  constructor({ connectionsMax = 2, dialect = postgresDialect }: ScriptedOptions = {}) {
    this.#free = connectionsMax;
    this.driver = {
      name: 'scripted',
      dialect,
      answers: 'later',
      outside: { query: (sql) => Promise.resolve(sql) },
      connectionsMax,
      acquire: () => this.#acquire(),
      client: (gate) => ({ query: (sql) => gate.run((connection) => connection.answer(sql), sql) }),
    };
  }

  /** The next one of that text stops. */
  stop(what: string): Stop {
    const reached = Promise.withResolvers<void>();
    const pass = Promise.withResolvers<void>();
    pass.promise.catch(() => {});
    this.#stops.push({ what, reach: reached.resolve, pass: pass.promise });
    return { reached: reached.promise, go: pass.resolve, fail: pass.reject };
  }

  /** None of that text is answered, ever. */
  stopAll(what: string): void {
    this.#dead.add(what);
  }

  /** The next one of that text fails at once. */
  fail(what: string, error: unknown): void {
    this.stop(what).fail(error);
  }

  /** Resolves when the test lets it pass. */
  async pass(what: string): Promise<void> {
    if (this.#dead.has(what)) await new Promise(() => {});
    const at = this.#stops.findIndex((stop) => stop.what === what);
    const [stop] = at < 0 ? [] : this.#stops.splice(at, 1);
    stop?.reach();
    await stop?.pass;
  }

  /** How many connections are in nobody's transaction. */
  get free(): number {
    return this.#free;
  }

  giveBack(): void {
    const next = this.#waiting.shift();
    if (next === undefined) this.#free++;
    else next();
  }

  async #acquire(): Promise<ScriptedConnection> {
    await this.pass('acquire');
    if (this.#free > 0) this.#free--;
    else await new Promise<void>((resolve) => void this.#waiting.push(resolve));
    return new ScriptedConnection(this, ++this.#made);
  }
}

export class ScriptedConnection implements Connection {
  readonly #database: ScriptedDatabase;
  readonly #number: number;
  #status: TransactionStatus = 'none';
  #running: { readonly sql: string; readonly reject: (error: unknown) => void } | undefined;
  #isGivenBack = false;

  constructor(database: ScriptedDatabase, number: number) {
    this.#database = database;
    this.#number = number;
  }

  async execute(sql: string): Promise<string> {
    await this.answer(sql);
    return sql.toUpperCase();
  }

  async answer(sql: string): Promise<string> {
    this.#note(sql);
    if (this.#isGivenBack) this.#violated(`${sql} after it was given back`);
    if (this.#running !== undefined) this.#violated(`${sql} while ${this.#running.sql} runs`);
    const cancelled = Promise.withResolvers<never>();
    this.#running = { sql, reject: cancelled.reject };
    try {
      await Promise.race([this.#database.pass(sql), cancelled.promise]);
      this.#status = statusAfter(sql) ?? this.#status;
      return sql;
    } catch (error) {
      if (this.#status === 'open') this.#status = sql === 'commit' ? 'none' : 'failed';
      throw error;
    } finally {
      this.#running = undefined;
    }
  }

  status(): TransactionStatus {
    return this.#status;
  }

  async cancel(): Promise<void> {
    this.#note('cancel');
    await this.#database.pass('cancel');
    this.#running?.reject(Object.assign(new Error('cancelled on request'), { code: '57014' }));
  }

  async release(fate: 'reuse' | 'discard'): Promise<void> {
    this.#note(`release ${fate}`);
    if (this.#isGivenBack) this.#violated('given back twice');
    if (fate === 'reuse' && this.#status !== 'none') this.#violated('given back with its transaction open');
    this.#isGivenBack = true;
    await this.#database.pass('release');
    this.#database.giveBack();
  }

  #note(what: string): void {
    this.#database.log.push(`${this.#number} ${what}`);
  }

  #violated(what: string): void {
    this.#database.violations.push(`${this.#number}: ${what}`);
  }
}

function statusAfter(sql: string): TransactionStatus | undefined {
  if (sql.startsWith('begin') || sql.startsWith('rollback to')) return 'open';
  return sql === 'commit' || sql === 'rollback' ? 'none' : undefined;
}
