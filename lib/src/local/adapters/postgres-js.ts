/**
 * `settle/local/postgres-js`: local transactions over `sql` of postgres.js. It owns the connection that postgres.js reserves
 * for a transaction, and what is known of it; what `sql` of a transaction does is postgres-js-handle.ts.
 *
 * - J1 Nothing is sent on a connection that is lost: postgres.js would end the process. It tells of that only by a hook of
 *   its own, which `sql.begin` uses, too.
 * - J2 It does not tell in what state a transaction is: that is followed from what the server answered.
 * - J3 Of those who wait for a connection it forgets one with every connection that closes: they ask again then.
 */
import { SettleError } from '../../util/errors.ts';
import { postgresDialect } from '../dialect.ts';
import type { Connection, Driver, TransactionStatus } from '../driver.ts';
import { PostgresJsHandle } from './postgres-js-handle.ts';

type Call = (...args: never[]) => unknown;

/** The part of `sql` that is used. */
export interface PostgresJsSql {
  // Whatever its overloads: the handle has the very same ones.
  (...args: never[]): unknown;
  readonly unsafe: Call;
  readonly file: Call;
  reserve(): Promise<PostgresJsReserved>;
  readonly options: {
    readonly max: number;
    readonly fetch_types: boolean;
    onclose?: ((connection: number) => void) | undefined;
  };
}

export interface PostgresJsReserved {
  (...args: never[]): unknown;
  readonly unsafe: Call;
  readonly file: Call;
  release(): void;
}

/** A query that begins when somebody waits for it. */
export interface PostgresJsQuery extends PromiseLike<unknown> {
  /** Set once it is sent. */
  readonly state: unknown;
  /** What its `cancel()` calls, without the promise that tells how that went. */
  readonly canceller: ((query: PostgresJsQuery) => Promise<unknown>) | null;
}

/**
 * Transactions over `sql` of postgres.js. The pool stays the caller's: it is not ended here, and of its options only
 * `onclose` is listened to. End it with a timeout, `sql.end({ timeout: 5 })`: without one, postgres.js 3.4 waits for ever
 * for a connection that was lost or given back meanwhile.
 *
 * The handle is a `sql` of the same type: tagged templates, fragments, helpers, `unsafe`, `file`, `notify`, `values`, `raw`,
 * `simple`, `describe`, `forEach` and `cancel` work as ever, and `begin` becomes a nested scope. What needs the connection
 * for itself or another one is refused (`statement_refused`): `cursor`, `readable`, `writable`, `reserve`, `listen`,
 * `subscribe`, `largeObject`, `end`, `close`. Outside of transactions it is `sql` itself, whose `begin` is not ours.
 *
 * Throws `config_invalid` for what is no pool, and where `fetch_types` is off: postgres.js then never reserves a connection.
 *
 * ```ts
 * const tx = createTransactions(postgresJsDriver(postgres(url)));
 * await tx.run(({ client: sql }) => sql`insert into orders ${sql(order)}`);
 * ```
 */
export function postgresJsDriver<Sql extends PostgresJsSql>(sql: Sql): Driver<Sql> {
  if (!isPool(sql)) {
    throw new SettleError('config_invalid', 'postgresJsDriver needs sql of postgres.js: it has reserve()', {
      next: 'Pass what postgres() gives, and not what reserve() or begin() give',
    });
  }
  if (!sql.options.fetch_types) {
    throw new SettleError('config_invalid', 'postgres.js reserves no connection while fetch_types is false', {
      next: 'Leave fetch_types as it is by default',
    });
  }
  const reservations = new Reservations(sql);
  const driver: Driver<Sql, PostgresJsConnection> = {
    name: 'postgres.js',
    dialect: postgresDialect,
    answers: 'later',
    outside: sql,
    connectionsMax: sql.options.max,
    acquire: async () => new PostgresJsConnection(await reservations.take()),
    client: (gate) => new Proxy(sql, new PostgresJsHandle(sql, gate)),
  };
  return driver;
}

function isPool(sql: unknown): boolean {
  return typeof sql === 'function' && 'reserve' in sql && 'unsafe' in sql && 'options' in sql;
}

/** J3 */
class Reservations {
  readonly #sql: PostgresJsSql;
  readonly #waiting = new Set<() => void>();

  constructor(sql: PostgresJsSql) {
    this.#sql = sql;
    const { options } = sql;
    const { onclose } = options;
    // oxlint-disable-next-line unicorn/prefer-add-event-listener -- it is no event target
    options.onclose = (connection) => {
      onclose?.(connection);
      // postgres.js is not done with closing it yet.
      for (const ask of this.#waiting) queueMicrotask(ask);
    };
  }

  take(): Promise<PostgresJsReserved> {
    return new Promise((resolve, reject) => {
      const answered = (reserved: PostgresJsReserved): void => {
        // It was asked for more than once.
        if (!this.#waiting.delete(ask)) return reserved.release();
        resolve(reserved);
      };
      const ask = (): void => {
        this.#sql.reserve().then(answered, (error: Error) => {
          this.#waiting.delete(ask);
          reject(error);
        });
      };
      this.#waiting.add(ask);
      ask();
    });
  }
}

/** How postgres.js sees the connection itself. It hands this to its own `onexecute`, and calls its `onclose`. */
interface Core {
  onclose: ((error: Error) => void) | null;
  reserved: unknown;
  terminate(): void;
}

export class PostgresJsConnection implements Connection {
  readonly #sql: PostgresJsReserved;
  /** Known from the first statement on. */
  #core: Core | undefined;
  #lost: { readonly error: unknown } | undefined;
  /** Whether postgres.js has taken it back. */
  #isClosed = false;
  #running: { readonly query: PostgresJsQuery; readonly reject: (error: unknown) => void } | undefined;
  /** J2 */
  #status: TransactionStatus = 'none';
  /** An error in answer to COMMIT is a rollback, too. */
  #refusedCommit = false;
  /** Whether the statement that runs, or a later one, may be cancelled yet. */
  #isCancelling = false;

  constructor(sql: PostgresJsReserved) {
    this.#sql = sql;
  }

  /** Runs what `start` makes. `text` is its SQL where it is known. */
  async run(start: (sql: PostgresJsReserved) => PostgresJsQuery, text: string | undefined): Promise<unknown> {
    if (!mayHideControl(text)) return await this.#heard(start(this.#sql));
    await this.execute(`savepoint ${watch}`);
    try {
      return await this.#heard(start(this.#sql));
    } finally {
      await this.#look();
    }
  }

  async execute(sql: string): Promise<string | undefined> {
    // The server would warn that there is no transaction, and postgres.js print that.
    if (sql === 'rollback' && this.#refusedCommit) return undefined;
    const onexecute = (core: Core): true => this.#meet(core);
    try {
      const query = Reflect.apply(this.#sql.unsafe, this.#sql, [sql, [], { onexecute }]) as PostgresJsQuery;
      const answer = await this.#heard(query);
      this.#status = statusAfter(sql) ?? this.#status;
      if (this.#core === undefined) throw unknownCore();
      return commandOf(answer);
    } catch (error) {
      this.#refusedCommit = sql === 'commit' && isServers(error);
      throw error;
    }
  }

  status(): TransactionStatus {
    return this.#status;
  }

  async cancel(): Promise<void> {
    // It is sent one microtask after it is asked for, and cancelled before that it would block the connection.
    await Promise.resolve();
    const query = this.#running?.query;
    if (query?.state === null) return;
    this.#isCancelling = true;
    await query?.canceller?.(query);
    this.#isCancelling = false;
  }

  release(fate: 'reuse' | 'discard'): void {
    // Then postgres.js has it back, and gives it to others once it is connected again.
    if (this.#isClosed) return;
    // oxlint-disable-next-line unicorn/prefer-add-event-listener -- it is no event target
    if (this.#core !== undefined) this.#core.onclose = null;
    if (fate === 'reuse' && this.#lost === undefined && !this.#isCancelling) return this.#sql.release();
    if (this.#core === undefined) return this.#sql.release();
    this.#core.reserved = null;
    this.#core.terminate();
  }

  /** J1 */
  async #heard(query: PostgresJsQuery): Promise<unknown> {
    if (this.#lost !== undefined) throw this.#lost.error;
    try {
      return await new Promise((resolve, reject) => {
        this.#running = { query, reject };
        query.then(resolve, reject);
      });
    } catch (error) {
      if (postgresDialect.failureOf(error).kind === 'connection-lost') this.#lost ??= { error };
      if (isServers(error) && this.#status === 'open') this.#status = 'failed';
      throw error;
    } finally {
      this.#running = undefined;
    }
  }

  #meet(core: Core): true {
    this.#core = core;
    // oxlint-disable-next-line unicorn/prefer-add-event-listener -- it is no event target
    core.onclose = (error) => {
      this.#isClosed = true;
      this.#lost ??= { error };
      // One that was sent between the end and its being known is never answered.
      this.#running?.reject(error);
    };
    return true;
  }

  /** Whether the savepoint is still there. It went with our transaction, whatever began after that. */
  async #look(): Promise<void> {
    try {
      await this.execute(`release savepoint ${watch}`);
    } catch (error) {
      if (isServers(error) && gone.has(error.code)) this.#status = 'none';
    }
  }
}

/** Several statements sent as one, or an unknown text: of these postgres.js tells the last one's command only. */
function mayHideControl(text: string | undefined): boolean {
  if (text === undefined) return true;
  const first = text.indexOf(';');
  return first >= 0 && /\b(?:commit|rollback|end|abort|prepare)\b/i.test(text.slice(first));
}

const watch = 'settle_watch';

/** `no_active_sql_transaction`, `invalid_savepoint_specification` */
const gone = new Set(['25P01', '3B001']);

function statusAfter(sql: string): TransactionStatus | undefined {
  if (sql.startsWith('begin') || sql.startsWith('rollback to')) return 'open';
  return sql === 'commit' || sql === 'rollback' ? 'none' : undefined;
}

function commandOf(answer: unknown): string | undefined {
  const { command } = answer as { readonly command?: string };
  return command;
}

/** An error that the server answered with; postgres.js has some of its own, after which nothing was sent. */
function isServers(error: unknown): error is Error & { readonly code: string } {
  return error instanceof Error && 'severity' in error;
}

function unknownCore(): SettleError {
  return new SettleError(
    'config_invalid',
    'postgres.js does not tell of its connection, which may get lost',
    {
      next: 'Use postgres.js 3.4, with max_pipeline of at least 1',
    },
  );
}
