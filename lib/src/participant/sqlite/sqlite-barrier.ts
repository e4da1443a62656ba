/**
 * The barrier on one SQLite connection.
 *
 * It owns the transactions on that connection: calls run one after the other, in the order they came, each in a
 * savepoint of its own, and those that are waiting share one `begin immediate` and one `commit`, which is where the
 * time goes. An answer is given only after that commit.
 */
import { parseGid } from '../../core/ids.ts';
import { producerBranch } from '../../core/message-plan.ts';
import { messageOf, SettleError } from '../../util/errors.ts';
import type { Json } from '../../util/json.ts';
import { resultOrRefusal, type Answer } from '../answer.ts';
import { barrier, type BarrierCall, type BarrierTransaction } from '../barrier.ts';
import { keepAnswer } from '../kept-answers.ts';
import { isPromiseLike, type MaybePromise } from '../maybe-async.ts';
import type { SqliteConnection } from './connection.ts';
import { createTable, prepareQueries, type BarrierQueries } from './queries.ts';

export interface SqliteBarrier<Db extends SqliteConnection> {
  /** Creates the table `settle_barrier` where it is missing. Call it once at the start, with no transaction open. */
  migrate(): void;
  /**
   * Runs `work` for this call at most once, in a transaction of this connection, and gives back its result; a repeat gets
   * the same result without running it. Return what this gives you: the handler then tells the coordinator that the
   * answer is kept (`settle-barrier: stored`).
   *
   * `work` may be async, but while it runs the connection is inside its transaction: it must do nothing on this
   * connection but through `work`, and neither begin nor end a transaction.
   *
   * Rejects with `Refused` (kept), with what `work` threw (rolled back), with `barrier_conflict`, `limit_exceeded`, or
   * `unavailable` when the transaction could not be begun or committed. All but the first leave nothing behind,
   * save that an `unavailable` commit may have happened.
   */
  run<Call extends BarrierCall, Result extends Json | undefined | void>(
    call: Call,
    work: (db: Db, call: Call) => MaybePromise<Result>,
  ): Promise<Result>;
  /**
   * The local transaction of a message's producer: what `work` writes commits together with the mark that the check-back
   * looks for. Once a check-back has found no mark, this rejects with `Refused`, and nothing is written.
   * A second call with this gid does not run again.
   */
  prepare<Result extends Json | undefined | void>(
    gid: string,
    work: (db: Db) => MaybePromise<Result>,
  ): Promise<Result>;
  /** The answer to a check-back: fulfils when the producer's local transaction committed, else rejects with `Refused`. */
  check(call: BarrierCall): Promise<undefined>;
  /**
   * Deletes rows older than `olderThanMs`, at most `limit` of them (default 1,000), and gives back how many. Keep them
   * longer than a transaction may live: a call that comes later than its row takes effect again.
   */
  prune(options: { readonly olderThanMs: number; readonly limit?: number }): Promise<number>;
}

export interface SqliteBarrierOptions {
  /** Milliseconds since 1970, for the age of rows. Default: the system's clock. */
  readonly now?: () => number;
  /** Calls in one transaction of the database. Default 64; take 1 if you defer constraints to the commit. */
  readonly batchMax?: number;
}

/**
 * A barrier over an open connection. Take one barrier per connection, and give it a connection of its own when any work
 * is async. Safe against other connections and processes on the same file; set a busy timeout if there are any.
 */
export function sqliteBarrier<Db extends SqliteConnection>(
  db: Db,
  options: SqliteBarrierOptions = {},
): SqliteBarrier<Db> {
  const { now = Date.now, batchMax = 64 } = options;
  const queue = new TransactionQueue(db, batchMax);

  /** `asked` is the object the handler knows; the key may be another. */
  async function answer<Result>(
    asked: object,
    key: BarrierCall,
    work: () => MaybePromise<Json | undefined | void>,
  ): Promise<Result> {
    const came = await queue.add((queries) => barrier(transactionOn(queries, now), key, work));
    // Printed by, and read back for, this very operation.
    return told(asked, came) as Result;
  }

  return {
    migrate: () => void db.exec(createTable),
    run: (call, work) => answer(call, keyOf(call), () => work(db, call)),
    prepare: async (gid, work) => {
      const key = { gid: parseGid(gid), branch: producerBranch, op: 'action' } as const;
      return answer(key, key, () => work(db));
    },
    check: (call) => answer(call, { ...keyOf(call), op: 'check' }, () => undefined),
    prune: ({ olderThanMs, limit = 1_000 }) =>
      queue.add((queries) => queries.deleteOldest(now() - olderThanMs, limit)),
  };
}

/** Only what the key consists of: a call carries its payload too. */
function keyOf({ gid, branch, op }: BarrierCall): BarrierCall {
  return { gid, branch, op };
}

/** Marks the call as answered from a committed row. */
function told(call: object, answer: Answer): Json | undefined {
  try {
    const result = resultOrRefusal(answer);
    keepAnswer(call, { kind: 'returned', result });
    return result;
  } catch (error) {
    keepAnswer(call, { kind: 'thrown', error });
    throw error;
  }
}

function transactionOn(queries: BarrierQueries, now: () => number): BarrierTransaction {
  return {
    place: (row) => (queries.insert(row, now()) ? undefined : queries.select(row)),
    find: (key) => queries.select(key),
    answer: (key, answer) => queries.updateAnswer(key, answer),
    savepoint: () => queries.savepoint('settle_work'),
    rollback: () => queries.rollbackTo('settle_work'),
    release: () => queries.release('settle_work'),
  };
}

/** Tells the caller what its job came to. */
type Tell = () => void;

interface Job {
  /** Does its part inside the open transaction; what it came to is told only after the commit. */
  run(queries: BarrierQueries): MaybePromise<Tell>;
  fail(error: unknown): void;
}

/** Runs jobs in the order they came; those that wait at the same time share a transaction. */
class TransactionQueue {
  private readonly db: SqliteConnection;
  private readonly batchMax: number;
  private readonly waiting: Job[] = [];
  private isRunning = false;
  private queries: BarrierQueries | undefined;

  constructor(db: SqliteConnection, batchMax: number) {
    this.db = db;
    this.batchMax = batchMax;
  }

  add<T>(part: (queries: BarrierQueries) => MaybePromise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      const fulfilled =
        (value: T): Tell =>
        () =>
          resolve(value);
      this.waiting.push({
        run: (queries) => {
          const value = part(queries);
          return isPromiseLike(value) ? value.then(fulfilled) : fulfilled(value);
        },
        fail: reject,
      });
      if (this.isRunning) return;
      this.isRunning = true;
      // All requests that this turn of the event loop reads come first; then they share one commit.
      setImmediate(() => void this.drain());
    });
  }

  private async drain(): Promise<void> {
    while (this.waiting.length > 0) await this.runBatch(this.waiting.splice(0, this.batchMax));
    this.isRunning = false;
  }

  private async runBatch(jobs: readonly Job[]): Promise<void> {
    const tell: Tell[] = [];
    let queries: BarrierQueries;
    try {
      queries = this.queries ??= prepareQueries(this.db);
      queries.begin();
    } catch (error) {
      // Nothing to roll back; least of all somebody else's transaction.
      return failAll(jobs, error);
    }
    try {
      for (const job of jobs) {
        const done = this.runJob(job, queries);
        tell.push(isPromiseLike(done) ? await done : done);
      }
      queries.commit();
    } catch (error) {
      rollback(queries);
      return failAll(jobs, error);
    }
    for (const one of tell) one();
  }

  /** One job in a savepoint: its error rolls back its own writes and nobody else's. */
  private runJob(job: Job, queries: BarrierQueries): MaybePromise<Tell> {
    const failed = (error: unknown): Tell => {
      this.assertOpen(error);
      queries.rollbackTo('settle_call');
      queries.release('settle_call');
      return () => job.fail(error);
    };
    const ended = (tell: Tell): Tell => {
      this.assertOpen();
      queries.release('settle_call');
      return tell;
    };
    queries.savepoint('settle_call');
    let done: MaybePromise<Tell>;
    try {
      done = job.run(queries);
    } catch (error) {
      return failed(error);
    }
    return isPromiseLike(done) ? done.then(ended, failed) : ended(done);
  }

  /** SQLite ends the whole transaction on some errors (disk full, I/O), and so may work that should not. */
  private assertOpen(cause?: unknown): void {
    if ((this.db.isTransaction ?? this.db.inTransaction) !== false) return;
    throw new SettleError('unavailable', 'the transaction ended while a call was running in it', {
      next: 'It is asked again. If it stays: work must not commit or roll back; is the disk full?',
      cause,
    });
  }
}

function rollback(queries: BarrierQueries): void {
  try {
    queries.rollback();
  } catch {
    // SQLite had rolled back already; the error that led here says why.
  }
}

function failAll(jobs: readonly Job[], cause: unknown): void {
  const error = new SettleError('unavailable', `the barrier's transaction failed: ${messageOf(cause)}`, {
    next: 'It is asked again. If the table settle_barrier is missing, call migrate() at the start',
    retryAfterMs: 1_000,
    cause,
  });
  for (const job of jobs) job.fail(error);
}
