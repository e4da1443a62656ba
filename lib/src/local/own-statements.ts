/**
 * What Settle itself asks of a database, outside of all transactions of the user: single statements, and short transactions
 * that take no part in his.
 *
 * - O1 A connection whose state is not known for sure is not given back to the pool.
 * - O2 What failed by meeting another transaction is tried again, a limited number of times: it was rolled back by then.
 *   Nothing else is: it may have taken effect.
 * - O3 Every error is a SettleError: `tables_missing`, `database_access_denied`, or `unavailable`, with the driver's as its
 *   cause.
 */
import { isSettleError, messageOf, SettleError } from '../util/errors.ts';
import { isPromiseLike, type MaybePromise } from '../util/maybe-promise.ts';
import type { SqlResult, SqlValue } from '../util/sql.ts';
import { systemClock, type Clock } from './clock.ts';
import type { Dialect } from './dialect.ts';
import type { Connection, Driver } from './driver.ts';
import { inTime } from './in-time.ts';
import { pauseBeforeRetryMs } from './retry.ts';
import { Timers } from './timers.ts';

export interface OwnStatements {
  readonly database: Dialect['name'];
  /** One statement, which commits by itself. */
  query: RunSql;
  /** At read committed, whatever the database's default: locks on gaps would stop writers. Commits when the work fulfils. */
  transaction<T>(work: (run: RunSql) => Promise<T>): Promise<T>;
  /** Statements on one connection, each of which commits by itself. Is not tried again. */
  session<T>(work: (run: RunSql) => Promise<T>): Promise<T>;
}

/** Placeholders are the database's own. */
export type RunSql = (sql: string, values: readonly SqlValue[]) => Promise<SqlResult>;

export interface OwnStatementsOptions {
  /** Whose they are, for messages: `outbox`. */
  readonly label: string;
  /** The call that creates the tables, for messages. */
  readonly migrateWith: string;
  /** Default: the system's. */
  readonly clock?: Clock;
}

/** Milliseconds that one statement, or the wait for a connection, may take before its connection is given up. */
export const ownStatementTimeoutMs = 30_000;
export const ownStatementAttemptsMax = 10;

export function ownStatements(driver: Driver<unknown>, options: OwnStatementsOptions): OwnStatements {
  return new DriverStatements(driver, options);
}

class DriverStatements implements OwnStatements {
  readonly #driver: Driver<unknown>;
  readonly #options: OwnStatementsOptions;
  readonly #timers: Timers;
  /** O1: those that took no rollback. */
  readonly #broken = new WeakSet<Connection>();

  constructor(driver: Driver<unknown>, options: OwnStatementsOptions) {
    this.#driver = driver;
    this.#options = options;
    this.#timers = new Timers(options.clock ?? systemClock);
  }

  get database(): Dialect['name'] {
    return this.#driver.dialect.name;
  }

  query(sql: string, values: readonly SqlValue[]): Promise<SqlResult> {
    return this.#retried(() =>
      this.#withConnection(async (connection) => {
        // Such a connection is only there with a transaction, and would have to leave it first (postgres.js).
        if (connection.status?.() === 'open') {
          return await this.#inTransaction(connection, (run) => run(sql, values));
        }
        const result = await this.#run(connection, sql, values);
        // Where the pool has switched autocommit off.
        if (connection.status?.() === 'open') await this.#execute(connection, 'commit');
        return result;
      }),
    );
  }

  transaction<T>(work: (run: RunSql) => Promise<T>): Promise<T> {
    return this.#retried(() => this.#withConnection((connection) => this.#inTransaction(connection, work)));
  }

  async session<T>(work: (run: RunSql) => Promise<T>): Promise<T> {
    try {
      return await this.#withConnection((connection) =>
        work((sql, values) => this.#run(connection, sql, values)),
      );
    } catch (error) {
      throw this.#told(error);
    }
  }

  async #inTransaction<T>(connection: Connection, work: (run: RunSql) => Promise<T>): Promise<T> {
    const { dialect } = this.#driver;
    const options = { isolation: 'read-committed', readOnly: false, serverTimeoutMs: undefined } as const;
    try {
      for (const sql of dialect.begin(options)) await this.#execute(connection, sql);
    } catch (error) {
      // Half of a BEGIN may hold for the next transaction, as the isolation of MySQL does.
      this.#broken.add(connection);
      throw error;
    }
    try {
      const value = await work((sql, values) => this.#run(connection, sql, values));
      const tag = await this.#execute(connection, 'commit');
      if (tag === 'ROLLBACK') throw new Error('the server answered ROLLBACK to COMMIT');
      return value;
    } catch (error) {
      if (isAnswer(dialect, error) && !dialect.failureOf(error).endsTransaction) {
        await this.#execute(connection, 'rollback').catch(() => this.#broken.add(connection));
      }
      throw error;
    }
  }

  /** O1 */
  async #withConnection<T>(work: (connection: Connection) => Promise<T>): Promise<T> {
    const connection = await this.#acquire();
    let fate: 'reuse' | 'discard' = 'discard';
    try {
      const value = await work(connection);
      fate = 'reuse';
      return value;
    } catch (error) {
      fate = isAnswer(this.#driver.dialect, error) ? 'reuse' : 'discard';
      throw error;
    } finally {
      const status = connection.status?.();
      const isClean = (status === undefined || status === 'none') && !this.#broken.has(connection);
      giveBack(connection, isClean ? fate : 'discard');
    }
  }

  async #acquire(): Promise<Connection> {
    const late = () => new Error(`no connection came within ${ownStatementTimeoutMs} ms`);
    const asked = Promise.resolve(this.#driver.acquire({ readOnly: false }));
    return await inTime(asked, ownStatementTimeoutMs, this.#timers, late, (connection) =>
      giveBack(connection, 'reuse'),
    );
  }

  async #run(connection: Connection, sql: string, values: readonly SqlValue[]): Promise<SqlResult> {
    if (connection.query === undefined) {
      throw new SettleError('config_invalid', `${this.#driver.name} runs no statements with values`, {
        next: `Give the ${this.#options.label} a driver of the database itself, such as pgDriver(pool)`,
      });
    }
    return await this.#answered(connection.query(sql, values));
  }

  async #execute(connection: Connection, sql: string): Promise<string | undefined> {
    return await this.#answered(connection.execute(sql));
  }

  async #answered<T>(answer: MaybePromise<T>): Promise<T> {
    if (!isPromiseLike(answer)) return answer;
    const late = () => new Error(`no answer within ${ownStatementTimeoutMs} ms`);
    return await inTime(answer, ownStatementTimeoutMs, this.#timers, late);
  }

  /** O2 */
  async #retried<T>(work: () => Promise<T>): Promise<T> {
    const retry = { attemptsMax: ownStatementAttemptsMax };
    for (let attempt = 1; ; attempt++) {
      try {
        return await work();
      } catch (error) {
        const pauseMs = pauseBeforeRetryMs(error, attempt, retry, this.#driver.dialect, Math.random);
        if (pauseMs === undefined) throw this.#told(error);
        await new Promise<void>((resolve) => void this.#timers.set(pauseMs, resolve));
      }
    }
  }

  /** O3 */
  #told(error: unknown): SettleError {
    if (isSettleError(error)) return error;
    const { dialect } = this.#driver;
    const { label, migrateWith } = this.#options;
    if (dialect.missesTable(error)) {
      return new SettleError('tables_missing', `the tables of the ${label} are not there`, {
        cause: error,
        next: `Call ${migrateWith} at the start, or run its statements in a migration of your own`,
      });
    }
    if (dialect.deniesAccess(error)) {
      return new SettleError('database_access_denied', `the ${label}: ${messageOf(error)}`, {
        cause: error,
        next: 'Correct user, password and database of the driver',
      });
    }
    return new SettleError('unavailable', `the ${label}: ${messageOf(error)}`, {
      cause: error,
      next: 'It is tried again; see whether the database is up, and what its log says',
      retryAfterMs: 1_000,
    });
  }
}

/** Whether the server answered, and is there to be asked more. */
function isAnswer(dialect: Dialect, error: unknown): boolean {
  if (isSettleError(error)) return true;
  const { kind } = dialect.failureOf(error);
  return kind === 'refused' || kind === 'serialization' || kind === 'deadlock';
}

/** Nobody waits for it: what was asked for is answered. */
function giveBack(connection: Connection, fate: 'reuse' | 'discard'): void {
  try {
    const released = connection.release(fate);
    if (isPromiseLike(released)) released.then(undefined, () => {});
  } catch {
    // The pool knows what became of it.
  }
}
