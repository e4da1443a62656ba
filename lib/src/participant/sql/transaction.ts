import { isRefused } from '../../define/answers.ts';
import { SettleError } from '../../util/errors.ts';
import type { BarrierCall, BarrierRow, BarrierTransaction } from '../barrier.ts';
import { drive, isPromiseLike, settled, type MaybePromise } from '../maybe-async.ts';
import type { BarrierDialect } from './dialect.ts';
import { explained } from './failure.ts';
import { rowOf } from './row.ts';
import type { SqlQuery, SqlResult, Statement } from './statement.ts';

/**
 * What `barrier` needs, over one connection on which somebody has begun a transaction. Every error of the database
 * becomes `unavailable`, with what to do and the driver's error as its cause.
 */
export function sqlTransaction(
  query: SqlQuery,
  dialect: BarrierDialect,
  nested: Nested = bySavepoint(asking(query, dialect)),
): BarrierTransaction {
  const ask = asking(query, dialect);

  function* place(row: BarrierRow): Generator<PromiseLike<unknown>, BarrierRow | undefined, unknown> {
    if (dialect.isPlaced(yield* settled(ask(dialect.insert(row))))) return undefined;
    const there = rowOf(row, (yield* settled(ask(dialect.selectLocked(row)))).rows[0]);
    if (there !== undefined) return there;
    throw vanished(row);
  }

  function* find(key: BarrierCall): Generator<PromiseLike<unknown>, BarrierRow | undefined, unknown> {
    return rowOf(key, (yield* settled(ask(dialect.select(key)))).rows[0]);
  }

  function* answer(key: BarrierCall, text: string): Generator<PromiseLike<unknown>, void, unknown> {
    const { affected } = yield* settled(ask(dialect.updateAnswer(key, text)));
    // Whoever rolled the row back has rolled back the work with it.
    if (affected !== 1) throw vanished(key);
  }

  return {
    place: (row) => drive(place(row)),
    find: (key) => drive(find(key)),
    answer: (key, text) => drive(answer(key, text)),
    nested,
  };
}

/** Runs statements; every error becomes one of ours. */
export function asking(query: SqlQuery, dialect: BarrierDialect): Ask {
  const fail = (error: unknown): never => {
    throw explained(error, dialect.failureOf(error));
  };
  return ({ sql, values }) => {
    try {
      const result = query(sql, values);
      return isPromiseLike(result) ? result.then(undefined, fail) : result;
    } catch (error) {
      return fail(error);
    }
  };
}

type Ask = (statement: Statement) => MaybePromise<SqlResult>;

/** `BarrierTransaction.nested`. */
export type Nested = BarrierTransaction['nested'];

function bySavepoint(ask: Ask): Nested {
  const command = (sql: string) => settled(ask({ sql, values: [] }));

  function* nested<T>(work: () => MaybePromise<T>): Generator<PromiseLike<unknown>, T, unknown> {
    yield* command('savepoint settle_work');
    let value: T;
    try {
      value = yield* settled(work());
    } catch (error) {
      // After any other error the whole transaction goes.
      if (isRefused(error)) yield* command('rollback to savepoint settle_work');
      throw error;
    }
    // A transaction that work has ended has no such savepoint: that is how it is found out.
    yield* command('release savepoint settle_work');
    return value;
  }

  return (work) => drive(nested(work));
}

/** Throws unless a transaction is open. Without one a row would stay that nothing ever answers. */
export function assertOpen(query: SqlQuery, dialect: BarrierDialect): MaybePromise<void> {
  // Outside of a transaction no savepoint lives until its release.
  return bySavepoint(asking(query, dialect))(() => undefined);
}

function vanished({ gid, branch, op }: BarrierCall): SettleError {
  return new SettleError('unavailable', `the barrier: the row of ${gid} ${branch} ${op} is gone again`, {
    gid,
    next: 'It is asked again. If it stays: work must not roll back, and prune only rows that are old enough',
    retryAfterMs: 1_000,
  });
}
