/**
 * The barrier over a pool of SQL connections: one call, one connection, one transaction.
 *
 * It owns the transaction from its begin to its commit, how often it is tried, and what becomes of the connection. The
 * protocol is `barrier`'s, the statements are a `BarrierDialect`'s, and the driver's ways are a `SqlDriver`'s.
 *
 * - Q1 The caller hears an answer only after the server has said that the transaction is committed.
 * - Q2 What failed by meeting another transaction is tried again from its beginning, unseen by the caller, a limited
 *   number of times. It was rolled back by then.
 * - Q3 A connection on which a transaction could be neither committed nor rolled back is never used again.
 */
import { isOngoing, isRefused } from '../../define/answers.ts';
import { isSettleError, messageOf, SettleError } from '../../util/errors.ts';
import type { Answer } from '../answer.ts';
import { barrier, type BarrierCall, type BarrierTransaction } from '../barrier.ts';
import { guardOver, keyOf, type Guard, type KeptResult } from '../guard.ts';
import type { MaybePromise } from '../maybe-async.ts';
import type { BarrierDialect, PruneOptions } from './dialect.ts';
import { explained } from './failure.ts';
import type { SqlQuery, SqlResult } from './statement.ts';
import { assertOpen, sqlTransaction } from './transaction.ts';

export interface SqlBarrier<Client, Handle> extends Guard<Client> {
  /** Creates what is missing of the barrier's tables. May run in several processes at once, and at every start. */
  migrate(): Promise<void>;
  /**
   * The barrier inside a transaction that you have begun on `client`; `work` writes through that client. **Commit whenever
   * this fulfils**, also when the answer is a refusal: it is kept, and the effects are rolled back already. Then return
   * `tellAnswer(call, answer)`. When this rejects, roll back.
   *
   * What meets another transaction is not tried again here: it rejects with `unavailable`. Throws what `run` throws.
   */
  in(client: Handle, call: BarrierCall, work: () => MaybePromise<KeptResult>): Promise<Answer>;
  /**
   * Deletes rows older than `olderThanMs` by the clock of the database, at most `limit` of them (default 1,000, at most
   * 10,000), and gives back how many. Keep them longer than a transaction may live: a call that comes later than its row
   * takes effect again. Throws `config_invalid` for numbers that are none of these.
   */
  prune(options: { readonly olderThanMs: number; readonly limit?: number }): Promise<number>;
}

export interface SqlBarrierOptions {
  /** Of the transactions that `run` begins. Default: what the database does by itself. */
  readonly isolation?: Isolation;
  /** How often a transaction is tried that meets another one (deadlock, serialization failure). Default 5. */
  readonly attemptsMax?: number;
}

export type Isolation = 'read-committed' | 'repeatable-read' | 'serializable';

/** As SQL spells it after `isolation level`. */
export function levelText(isolation: Isolation): string {
  return isolation.replace('-', ' ');
}

/** What is different from one driver to the next. */
export interface SqlDriver<Client extends Handle, Handle extends object> {
  acquire(): Promise<Client>;
  query(client: Handle): (...statement: Parameters<SqlQuery>) => Promise<SqlResult>;
  begin(client: Client): Promise<void>;
  /** Rejects unless the server says that the transaction is committed. */
  commit(client: Client): Promise<void>;
  rollback(client: Client): Promise<void>;
  release(client: Client, fate: 'reuse' | 'discard'): void;
  migrate(client: Client): Promise<void>;
}

export const attemptsMaxDefault = 5;
export const pruneLimitDefault = 1_000;
export const pruneLimitMax = 10_000;

export function pooledBarrier<Client extends Handle, Handle extends object>(
  driver: SqlDriver<Client, Handle>,
  dialect: BarrierDialect,
  { attemptsMax = attemptsMaxDefault }: SqlBarrierOptions,
): SqlBarrier<Client, Handle> {
  if (!Number.isInteger(attemptsMax) || attemptsMax < 1) {
    throw new SettleError('config_invalid', `attemptsMax is ${attemptsMax}`, {
      next: 'Give a whole number from 1 on',
    });
  }
  const failureOf = (error: unknown) => dialect.failureOf(error);
  /** Q3: those that took no rollback. */
  const broken = new WeakSet<Client>();

  /** Q1, Q2 */
  async function transact<T>(part: (t: BarrierTransaction, client: Client) => MaybePromise<T>): Promise<T> {
    for (let attempt = 1; ; attempt++) {
      try {
        return await withClient((client) => inTransaction(client, part));
      } catch (error) {
        if (attempt >= attemptsMax || failureOf(error) !== 'conflict') throw asTold(error);
      }
    }
  }

  async function inTransaction<T>(
    client: Client,
    part: (t: BarrierTransaction, client: Client) => MaybePromise<T>,
  ): Promise<T> {
    try {
      await own(driver.begin(client));
      const value = await part(sqlTransaction(driver.query(client), dialect), client);
      await own(driver.commit(client));
      return value;
    } catch (error) {
      await driver.rollback(client).catch((rollbackError: unknown) => {
        broken.add(client);
        throw failureOf(error) === 'lost' ? explainedOnce(error) : bothOf(error, rollbackError);
      });
      throw error;
    }
  }

  /** When undoing fails too, both errors reach the caller. */
  function bothOf(error: unknown, rollbackError: unknown): SettleError {
    const cause = new AggregateError([error, rollbackError], messageOf(error), { cause: error });
    return explained(cause, failureOf(rollbackError));
  }

  async function withClient<T>(use: (client: Client) => Promise<T>): Promise<T> {
    const client = await own(driver.acquire());
    try {
      return await use(client);
    } finally {
      driver.release(client, broken.has(client) ? 'discard' : 'reuse');
    }
  }

  /** What the barrier itself asks of the database fails with no errors but ours. */
  function own<T>(asked: Promise<T>): Promise<T> {
    return asked.catch((error: unknown) => {
      throw explainedOnce(error);
    });
  }

  function explainedOnce(error: unknown): SettleError {
    return isSettleError(error) ? error : explained(error, failureOf(error));
  }

  /** Work's own errors stay as they are, save those of the database that say nothing of the business. */
  function asTold(error: unknown): unknown {
    const failure = isRefused(error) || isOngoing(error) ? undefined : failureOf(error);
    return failure === 'conflict' || failure === 'busy' ? explainedOnce(error) : error;
  }

  return {
    ...guardOver<Client>(transact),
    migrate: () => withClient((client) => own(driver.migrate(client))),
    async in(client, call, work) {
      const query = driver.query(client);
      await assertOpen(query, dialect);
      return barrier(sqlTransaction(query, dialect), keyOf(call), work);
    },
    async prune({ olderThanMs, limit = pruneLimitDefault }) {
      const { sql, values } = dialect.deleteOld(checked({ olderThanMs, limit }));
      return withClient(async (client) => (await own(driver.query(client)(sql, values))).affected);
    },
  };
}

function checked({ olderThanMs, limit }: PruneOptions): PruneOptions {
  if (!Number.isFinite(olderThanMs) || olderThanMs < 0) {
    throw new SettleError('config_invalid', `olderThanMs is ${olderThanMs}`, {
      next: 'Give milliseconds, more than any transaction may live',
    });
  }
  if (!Number.isInteger(limit) || limit < 1 || limit > pruneLimitMax) {
    throw new SettleError('config_invalid', `limit is ${limit}`, {
      next: `Delete 1 to ${pruneLimitMax} rows at once, and call it again for more`,
    });
  }
  return { olderThanMs: Math.floor(olderThanMs), limit };
}
