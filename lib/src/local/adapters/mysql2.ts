/** `settle/local/mysql2`: local transactions over a pool of mysql2. */
import type { SqlResult, SqlValue } from '../../util/sql.ts';
import { SettleError } from '../../util/errors.ts';
import { mysqlDialect } from '../dialect.ts';
import type { Connection, Driver, Gate, TransactionStatus } from '../driver.ts';
import { isAnswer, isObject, killQuery, statusOf, statusQuery, textOf, resultOf } from './mysql.ts';

/** The part of the pool of `mysql2/promise` that is used. */
export interface Mysql2Pool {
  getConnection(): Promise<Mysql2PoolConnection>;
  // Whatever their overloads: the handle has the very same ones.
  readonly query: (...args: never[]) => unknown;
  readonly execute: (...args: never[]) => unknown;
  readonly pool: { readonly config: { readonly connectionLimit?: number | undefined } };
}

/** The pool of `mysql2` itself, which has one of promises. */
export interface Mysql2CallbackPool {
  promise(): Mysql2Pool;
}

export interface Mysql2PoolConnection {
  readonly query: (...args: never[]) => Promise<Mysql2Answer>;
  readonly execute: (...args: never[]) => Promise<Mysql2Answer>;
  readonly threadId: number;
  /** The one of callbacks beneath it. */
  readonly connection: object;
  on(event: 'error', listener: (error: Error) => void): unknown;
  removeListener(event: 'error', listener: (error: Error) => void): unknown;
  release(): void;
  destroy(): void;
}

/** A result and its columns; of several statements, a list of each. */
type Mysql2Answer = readonly unknown[];

/** What a transaction gives its function: `query` and `execute`, with the overloads of the pool's own. */
export type Mysql2Handle<Pool extends Mysql2Pool> = Pick<Pool, 'query' | 'execute'>;

/**
 * Transactions over a pool of mysql2, of promises or of callbacks; the handle is of promises. The pool stays the caller's:
 * it is neither configured nor ended here.
 *
 * A statement that commits implicitly, as DDL does, fails with `implicit_commit`. A `timeout` of a single query ends the
 * whole transaction (`connection_lost`), since mysql2 does not stop the statement on the server.
 *
 * Throws `config_invalid` for what is no pool.
 *
 * ```ts
 * const tx = createTransactions(mysql2Driver(createPool(url)));
 * await tx.run((t) => t.client.execute('insert into orders values (?)', [id]));
 * ```
 */
export function mysql2Driver<Pool extends Mysql2Pool>(pool: Pool): Driver<Mysql2Handle<Pool>>;
export function mysql2Driver<Pool extends Mysql2CallbackPool>(
  pool: Pool,
): Driver<Mysql2Handle<ReturnType<Pool['promise']>>>;
export function mysql2Driver(given: Mysql2Pool | Mysql2CallbackPool): Driver<Mysql2Handle<Mysql2Pool>> {
  const pool = promisePool(given);
  const driver: Driver<Mysql2Handle<Mysql2Pool>, Mysql2Connection> = {
    name: 'mysql2',
    dialect: mysqlDialect,
    answers: 'later',
    outside: {
      query: (...args) => pool.query(...args),
      execute: (...args) => pool.execute(...args),
    },
    get connectionsMax() {
      // 0 is no limit.
      const { connectionLimit = 0 } = pool.pool.config;
      return connectionLimit === 0 ? undefined : connectionLimit;
    },
    acquire: async () => new Mysql2Connection(await pool.getConnection()),
    client: (gate) => ({ query: gated(gate, 'query'), execute: gated(gate, 'execute') }),
  };
  return driver;
}

function promisePool(pool: unknown): Mysql2Pool {
  const promised: unknown =
    isObject(pool) && typeof pool['promise'] === 'function' ? Reflect.apply(pool['promise'], pool, []) : pool;
  if (!isPool(promised)) {
    throw new SettleError('config_invalid', 'mysql2Driver needs a pool of mysql2: it has getConnection()', {
      next: 'Pass what createPool() gives; a single connection cannot serve several transactions',
    });
  }
  return promised;
}

function isPool(pool: unknown): pool is Mysql2Pool {
  return isObject(pool) && typeof pool['getConnection'] === 'function' && isObject(pool['pool']);
}

type Method = 'query' | 'execute';

function gated(gate: Gate<unknown, Mysql2Connection>, method: Method): Mysql2Pool[Method] {
  return (...args) => gate.run((connection) => connection.run(method, args), textOf(args[0]));
}

class Mysql2Connection implements Connection {
  readonly #client: Mysql2PoolConnection;
  #status: TransactionStatus | undefined;
  /** How many may yet come that cancel the statement that runs, or a later one. */
  #cancelling = 0;

  constructor(client: Mysql2PoolConnection) {
    this.#client = client;
    // A connection that breaks between two statements would otherwise end the process; the next statement says so.
    client.on('error', ignore);
  }

  async run(method: Method, args: readonly never[]): Promise<Mysql2Answer> {
    try {
      const answer = await this.#client[method](...args);
      this.#hear(answer);
      return answer;
    } catch (error) {
      if (isAnswer(error)) await this.#askStatus();
      throw error;
    }
  }

  async execute(sql: string): Promise<undefined> {
    this.#hear(await this.#send(sql));
  }

  async query(sql: string, values: readonly SqlValue[]): Promise<SqlResult> {
    const [result] = await this.run('query', [sql, values] as unknown as never[]);
    return resultOf(result);
  }

  /** As the last answer said that told one: rows come without. */
  status(): TransactionStatus | undefined {
    return this.#status;
  }

  /** Over a connection of its own: those of the pool may all be waiting for this one. */
  async cancel(): Promise<void> {
    this.#cancelling++;
    const other = connectionLike(this.#client.connection);
    try {
      await new Promise<void>((resolve, reject) => {
        other.on('error', reject);
        other.query(killQuery(this.#client.threadId), (error) =>
          error === null ? resolve() : reject(error),
        );
      });
      this.#cancelling--;
    } finally {
      other.destroy();
    }
  }

  release(fate: 'reuse' | 'discard'): void {
    if (fate === 'discard' || this.#cancelling > 0) this.#client.destroy();
    else this.#client.release();
    this.#client.removeListener('error', ignore);
  }

  async #askStatus(): Promise<void> {
    // When it cannot be asked, the next statement will say why.
    await this.execute(statusQuery).catch(ignore);
  }

  #hear(answer: Mysql2Answer): void {
    const serverStatus = serverStatusOf(answer);
    if (serverStatus !== undefined) this.#status = statusOf(serverStatus);
  }

  #send(sql: string): Promise<Mysql2Answer> {
    return (this.#client as { query(sql: string): Promise<Mysql2Answer> }).query(sql);
  }
}

/** What was done has a header with a status, and no columns. Of several results the last header counts. */
function serverStatusOf([result, columns]: Mysql2Answer): number | undefined {
  if (!Array.isArray(columns)) return headerStatus(result);
  const at = columns.lastIndexOf(undefined);
  return at < 0 || !Array.isArray(result) ? undefined : headerStatus(result[at]);
}

function headerStatus(result: unknown): number | undefined {
  return isObject(result) && typeof result['serverStatus'] === 'number' ? result['serverStatus'] : undefined;
}

interface CoreConnection {
  query(sql: string, done: (error: Error | null) => void): unknown;
  on(event: 'error', listener: (error: Error) => void): unknown;
  destroy(): void;
}

/** Another connection to the same server, of no pool: its class is at hand nowhere else. */
function connectionLike(core: object): CoreConnection {
  const { constructor: Core, config } = core as {
    readonly constructor: new (pool: undefined, options: { readonly config: unknown }) => CoreConnection;
    readonly config: unknown;
  };
  return new Core(undefined, { config });
}

function ignore(): void {}
