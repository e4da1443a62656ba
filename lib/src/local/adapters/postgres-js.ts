/**
 * `settle/local/postgres-js`: local transactions over `sql` of postgres.js. It owns the connection of a transaction, and
 * what is known of it; what `sql` is inside a transaction is postgres-js-handle.ts.
 *
 * - J1 Nothing is sent on a connection that is lost: postgres.js would end the process. It tells of that only by a hook of
 *   its own.
 * - J2 It does not tell in what state a transaction is: that is followed from what the server answered.
 * - J3 A connection is taken, kept and given back as `sql.begin` does it, by the same hooks. `reserve()` of 3.4 loses
 *   connections and those who wait for one, once a connection was lost.
 * - J4 A question before the BEGIN, or after the COMMIT, is outside of the transaction: within it, it would fix what the
 *   transaction sees, and its isolation.
 */
import type { SqlResult, SqlValue } from '../../util/sql.ts';
import { SettleError } from '../../util/errors.ts';
import { postgresDialect } from '../dialect.ts';
import type { Connection, Driver, TransactionStatus } from '../driver.ts';
import { leavesSessionState } from '../statements.ts';
import { PostgresJsHandle } from './postgres-js-handle.ts';

/** The part of `sql` that is used. */
export interface PostgresJsSql {
  // Whatever its overloads: the handle has the very same ones.
  (...args: never[]): unknown;
  readonly unsafe: (...args: never[]) => unknown;
  readonly begin: (...args: never[]) => unknown;
  readonly options: { readonly max: number };
}

/** A query that begins when somebody waits for it. */
export interface PostgresJsQuery extends PromiseLike<unknown> {
  /** Sends it. */
  handler: (query: PostgresJsQuery) => void;
  /** What `forEach()` sets, which would also begin it. */
  forEachFn?: unknown;
  /** Set once it is sent. */
  readonly state: unknown;
  /** What its `cancel()` calls, without the promise that tells how that went. */
  readonly canceller: ((query: PostgresJsQuery) => Promise<unknown>) | null;
}

/**
 * Transactions over `sql` of postgres.js 3.4. The pool stays the caller's: it is neither configured nor ended here.
 *
 * The handle is a `sql` of the same type: tagged templates, fragments, helpers, `unsafe`, `notify`, `values`, `raw`,
 * `simple`, `describe`, `forEach` and `cancel` work as ever, and `begin` becomes a nested scope. What needs the connection
 * for itself, or another one, is refused (`statement_refused`): `cursor`, `readable`, `writable`, `file`, `reserve`,
 * `listen`, `subscribe`, `largeObject`, `end`, `close`. Outside of transactions it is `sql` itself, whose `begin` is not
 * ours.
 *
 * After a connection was lost, end the pool with `sql.end({ timeout })`: without a timeout postgres.js waits for ever.
 *
 * Throws `config_invalid` for what is no pool.
 *
 * ```ts
 * const tx = createTransactions(postgresJsDriver(postgres(url)));
 * await tx.run(({ client: sql }) => sql`insert into orders ${sql(order)}`);
 * ```
 */
export function postgresJsDriver<Sql extends PostgresJsSql>(sql: Sql): Driver<Sql> {
  if (!isPool(sql)) {
    throw new SettleError('config_invalid', 'postgresJsDriver needs sql of postgres.js: it has begin()', {
      next: 'Pass what postgres() gives, and not what reserve() or begin() give',
    });
  }
  const driver: Driver<Sql, PostgresJsConnection> = {
    name: 'postgres.js',
    dialect: postgresDialect,
    answers: 'later',
    outside: sql,
    connectionsMax: sql.options.max,
    acquire: () => PostgresJsConnection.of(sql),
    client: (gate) => new Proxy(sql, new PostgresJsHandle(sql, gate)),
  };
  return driver;
}

function isPool(sql: unknown): boolean {
  return typeof sql === 'function' && 'begin' in sql && 'unsafe' in sql && 'options' in sql;
}

/** How postgres.js sees the connection itself. It hands this to `onexecute`, once something was sent on it. */
interface Core {
  execute(query: PostgresJsQuery): unknown;
  terminate(): void;
  onclose: ((error: Error) => void) | null;
  /**
   * Called when the server is ready for the next statement, instead of giving the connection to others; unless it has no
   * `release`, and the server says that no transaction is open. Then this is null.
   */
  reserved: Hold | null;
}

type Hold = (() => void) & { release: boolean };

export class PostgresJsConnection implements Connection {
  readonly #sql: PostgresJsSql;
  readonly #hold: Hold = Object.assign(() => {}, { release: true });
  #core: Core | undefined;
  #lost: { readonly error: unknown } | undefined;
  #running: { readonly query: PostgresJsQuery; readonly reject: (error: unknown) => void } | undefined;
  /** J2 */
  #status: TransactionStatus = 'none';
  /** Whether its BEGIN was asked for: the connection was taken with one. */
  #isBegun = false;
  #leavesSessionState = false;
  /** How many may yet come that cancel the statement that runs, or a later one. */
  #cancelling = 0;

  private constructor(sql: PostgresJsSql) {
    this.#sql = sql;
  }

  /** J3: with the BEGIN itself, which waits for a connection as every query does. */
  static async of(sql: PostgresJsSql): Promise<PostgresJsConnection> {
    for (let attempt = 0; ; attempt++) {
      const connection = new PostgresJsConnection(sql);
      try {
        await connection.#take();
        return connection;
      } catch (error) {
        // Meant for the connection that was lost before, postgres.js keeps it for the next query. This was never sent.
        const isLeftOver = connection.#core === undefined && isServers(error) && ended.has(error.code);
        if (!isLeftOver || attempt >= sql.options.max) throw error;
      }
    }
  }

  async run(query: PostgresJsQuery, text: string): Promise<unknown> {
    if (leavesSessionState(text, 'postgres')) this.#leavesSessionState = true;
    if (!mayHideControl(text)) return await this.#send(query);
    await this.execute(`savepoint ${watch}`);
    try {
      return await this.#send(query);
    } finally {
      await this.#look();
    }
  }

  async execute(sql: string): Promise<string | undefined> {
    if (sql.startsWith('begin')) return await this.#begin(sql);
    const isEnd = sql === 'commit' || sql === 'rollback';
    if (isEnd && !this.#leavesSessionState && this.#cancelling === 0) this.#hold.release = false;
    const answer = await this.#send(this.#query(sql));
    if (sql.startsWith('rollback to')) this.#status = 'open';
    if (isEnd) this.#status = 'none';
    return (answer as { readonly command?: string }).command;
  }

  async query(sql: string, values: readonly SqlValue[]): Promise<SqlResult> {
    const query = Reflect.apply(this.#sql.unsafe, this.#sql, [sql, values]) as PostgresJsQuery;
    const rows = (await this.#answered(query, sql)) as readonly unknown[] & { readonly count: number };
    return { rows: [...rows], affected: rows.count };
  }

  /** J4 */
  async #answered(query: PostgresJsQuery, sql: string): Promise<unknown> {
    // The COMMIT gave the connection back. Then any other one of the pool will do.
    if (this.#isBegun && this.#status === 'none' && this.#isGivenBack()) return await query;
    if (!this.#isBegun && this.#status === 'open') {
      await this.#send(this.#query('rollback'));
      this.#status = 'none';
    }
    return await this.run(query, sql);
  }

  status(): TransactionStatus {
    return this.#status;
  }

  async cancel(): Promise<void> {
    // It is sent one microtask after it is asked for, and cancelled before that it would block the connection.
    await Promise.resolve();
    const query = this.#running?.query;
    if (query?.state === null) return;
    this.#cancelling++;
    await query?.canceller?.(query);
    this.#cancelling--;
  }

  async release(fate: 'reuse' | 'discard'): Promise<void> {
    const core = this.#core;
    if (core === undefined || this.#isGivenBack()) return;
    if (fate === 'reuse' && this.#lost === undefined && !(this.#isBegun && this.#status === 'none')) {
      // Taken, and never used.
      if (this.#status === 'none') await this.#begin('begin').catch(ignore);
      await this.execute('rollback').catch(ignore);
      if (this.#isGivenBack()) return;
    }
    core.reserved = null;
    core.terminate();
  }

  /** By the end of its transaction, or by its loss. */
  #isGivenBack(): boolean {
    return this.#core?.reserved !== this.#hold;
  }

  async #take(): Promise<void> {
    const query = this.#query('begin', { onexecute: (core: Core) => this.#meet(core) });
    await this.#answerTo(query);
    if (this.#core === undefined) throw unknownCore();
    this.#status = 'open';
  }

  /** It has begun already, unless something was asked before that. */
  async #begin(begin: string): Promise<undefined> {
    this.#isBegun = true;
    if (this.#status === 'none') {
      await this.#send(this.#query(begin));
      this.#status = 'open';
      return;
    }
    const [modes = '', ...settings] = begin.slice('begin'.length).split(';');
    const all = [modes === '' ? '' : `set transaction${modes}`, ...settings].filter((sql) => sql !== '');
    if (all.length > 0) await this.#send(this.#query(all.join(';')));
  }

  #query(sql: string, options: object = {}): PostgresJsQuery {
    return Reflect.apply(this.#sql.unsafe, this.#sql, [sql, [], options]) as PostgresJsQuery;
  }

  /** J1 */
  async #send(query: PostgresJsQuery): Promise<unknown> {
    const core = this.#core;
    if (this.#lost !== undefined) throw this.#lost.error;
    if (core === undefined || this.#isGivenBack()) throw new Error('the connection is given back');
    query.handler = (sent) => void core.execute(sent);
    return await this.#answerTo(query);
  }

  async #answerTo(query: PostgresJsQuery): Promise<unknown> {
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

  #meet(core: Core): void {
    this.#core = core;
    core.reserved = this.#hold;
    // oxlint-disable-next-line unicorn/prefer-add-event-listener -- it is no event target
    core.onclose = (error) => {
      this.#lost ??= { error };
      // One that was sent between the end and its being known is never answered.
      this.#running?.reject(error);
    };
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

/** Several statements sent as one: of these postgres.js tells the last one's command only. */
function mayHideControl(text: string): boolean {
  const first = text.indexOf(';');
  return first >= 0 && /\b(?:commit|rollback|end|abort|prepare)\b/i.test(text.slice(first));
}

const watch = 'settle_watch';

/** `no_active_sql_transaction`, `invalid_savepoint_specification` */
const gone = new Set(['25P01', '3B001']);

/** `admin_shutdown`, `crash_shutdown`, and the timeouts of an idle session. */
const ended = new Set(['57P01', '57P02', '57P05', '25P03', '25P04']);

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

function ignore(): void {}
