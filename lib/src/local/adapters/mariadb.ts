/** `settle/local/mariadb`: local transactions over a pool of the mariadb connector. */
import type { SqlResult, SqlValue } from '../../util/sql.ts';
import { SettleError } from '../../util/errors.ts';
import { mysqlDialect } from '../dialect.ts';
import type { Connection, Driver, Gate, TransactionStatus } from '../driver.ts';
import { isAnswer, isObject, killQuery, statusOf, statusQuery, textOf, resultOf } from './mysql.ts';

/** The part of mariadb's promise pool that is used. */
export interface MariadbPool {
  getConnection(): Promise<MariadbPoolConnection>;
  // Whatever their overloads: the handle has the very same ones.
  readonly query: (...args: never[]) => unknown;
  readonly execute: (...args: never[]) => unknown;
  readonly batch: (...args: never[]) => unknown;
  idleConnections(): number;
  totalConnections(): number;
}

export interface MariadbPoolConnection {
  readonly query: (...args: never[]) => Promise<unknown>;
  readonly execute: (...args: never[]) => Promise<unknown>;
  readonly batch: (...args: never[]) => Promise<unknown>;
  /** Kept up to date with every answer. */
  readonly info: { readonly status: number } | null;
  readonly threadId: number | null;
  release(): Promise<void>;
  destroy(): void;
}

export interface MariadbOptions {
  /** That of the pool, which keeps it to itself. Without it, nobody can be told that they wait for themselves. */
  readonly connectionLimit?: number;
}

/** What a transaction gives its function: `query`, `execute` and `batch`, with the overloads of the pool's own. */
export type MariadbHandle<Pool extends MariadbPool> = Pick<Pool, 'query' | 'execute' | 'batch'>;

/**
 * Transactions over a pool of mariadb. The pool stays the caller's: it is neither configured nor ended here, but its errors
 * are listened to. They say at once that a password is refused; the pool itself waits for its `acquireTimeout`, which
 * should be shorter than `acquireTimeoutMs` here, for its reasons to be heard.
 *
 * A statement that commits implicitly, as DDL does, fails with `implicit_commit`. Where the pool has no connection to
 * spare, a statement is cancelled together with its connection, and the transaction with both.
 *
 * Throws `config_invalid` for what is no pool of promises.
 *
 * ```ts
 * const tx = createTransactions(mariadbDriver(createPool({ ...server, connectionLimit }), { connectionLimit }));
 * await tx.run((t) => t.client.execute('insert into orders values (?)', [id]));
 * ```
 */
export function mariadbDriver<Pool extends MariadbPool>(
  pool: Pool,
  { connectionLimit }: MariadbOptions = {},
): Driver<MariadbHandle<Pool>> {
  if (!isPool(pool)) {
    throw new SettleError('config_invalid', 'mariadbDriver needs a pool of mariadb, with promises', {
      next: "Pass what createPool() of 'mariadb' gives, and not of 'mariadb/callback'",
    });
  }
  const source = new Source(pool, connectionLimit);
  const driver: Driver<MariadbHandle<Pool>, MariadbConnection> = {
    name: 'mariadb',
    dialect: mysqlDialect,
    answers: 'later',
    outside: {
      query: (...args: never[]) => pool.query(...args),
      execute: (...args: never[]) => pool.execute(...args),
      batch: (...args: never[]) => pool.batch(...args),
    },
    connectionsMax: connectionLimit,
    acquire: async () => new MariadbConnection(await source.connection(), source),
    client: (gate) => ({
      query: gated(gate, 'query'),
      execute: gated(gate, 'execute'),
      batch: gated(gate, 'batch'),
    }),
  };
  return driver;
}

function isPool(pool: unknown): boolean {
  if (!isObject(pool)) return false;
  const { getConnection, batch, idleConnections } = pool;
  return (
    typeof getConnection === 'function' &&
    // The pool of callbacks takes one.
    getConnection.length === 0 &&
    typeof batch === 'function' &&
    typeof idleConnections === 'function'
  );
}

type Method = 'query' | 'execute' | 'batch';

function gated(gate: Gate<unknown, MariadbConnection>, method: Method): MariadbPool[Method] {
  return (...args) => gate.run((connection) => connection.run(method, args), textOf(args[0]));
}

/** The pool, with a voice: it goes on trying for as long as its `acquireTimeout`, also with a password that is refused. */
class Source {
  readonly #pool: MariadbPool;
  readonly #connectionLimit: number;
  readonly #waiting = new Set<(error: unknown) => void>();

  constructor(pool: MariadbPool, connectionLimit = 0) {
    this.#pool = pool;
    this.#connectionLimit = connectionLimit;
    // It is an emitter, which its types keep to themselves.
    const emitter = pool as MariadbPool & {
      on?(event: 'error', listener: (error: unknown) => void): unknown;
    };
    emitter.on?.('error', (error) => {
      if (mysqlDialect.deniesAccess(error)) for (const fail of this.#waiting) fail(error);
    });
  }

  get hasSpareConnection(): boolean {
    return this.#pool.idleConnections() > 0 || this.#pool.totalConnections() < this.#connectionLimit;
  }

  async connection(): Promise<MariadbPoolConnection> {
    const coming = this.#pool.getConnection();
    if (this.#pool.idleConnections() > 0) return await coming;
    const failed = Promise.withResolvers<never>();
    this.#waiting.add(failed.reject);
    try {
      return await Promise.race([coming, failed.promise]);
    } catch (error) {
      // It may come yet, and nobody waits for it any more.
      coming.then((late) => late.release(), ignore);
      throw error;
    } finally {
      this.#waiting.delete(failed.reject);
    }
  }

  query(sql: string): Promise<unknown> {
    return send(this.#pool, sql);
  }
}

class MariadbConnection implements Connection {
  readonly #client: MariadbPoolConnection;
  readonly #source: Source;
  /** How many may yet come that cancel the statement that runs, or a later one. */
  #cancelling = 0;

  constructor(client: MariadbPoolConnection, source: Source) {
    this.#client = client;
    this.#source = source;
  }

  async run(method: Method, args: readonly never[]): Promise<unknown> {
    try {
      return await this.#client[method](...args);
    } catch (error) {
      // When it cannot be asked, the next statement will say why.
      if (isAnswer(error)) await this.execute(statusQuery).catch(ignore);
      throw error;
    }
  }

  async execute(sql: string): Promise<undefined> {
    await send(this.#client, sql);
  }

  async query(sql: string, values: readonly SqlValue[]): Promise<SqlResult> {
    return resultOf(await this.run('query', [sql, values] as unknown as never[]));
  }

  status(): TransactionStatus | undefined {
    const { info } = this.#client;
    return info === null ? undefined : statusOf(info.status);
  }

  async cancel(): Promise<void> {
    const { threadId } = this.#client;
    if (threadId === null) return;
    this.#cancelling++;
    if (!this.#source.hasSpareConnection) return this.#client.destroy();
    await this.#source.query(killQuery(threadId));
    this.#cancelling--;
  }

  async release(fate: 'reuse' | 'discard'): Promise<void> {
    if (fate === 'discard' || this.#cancelling > 0) this.#client.destroy();
    else await this.#client.release();
  }
}

function send(to: { readonly query: (...args: never[]) => unknown }, sql: string): Promise<unknown> {
  return (to as { query(sql: string): Promise<unknown> }).query(sql);
}

function ignore(): void {}
