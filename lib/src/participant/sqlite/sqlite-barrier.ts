/**
 * The barrier on one SQLite connection.
 *
 * It owns the transactions on that connection: calls run one after the other, in the order they came, each in a
 * savepoint of its own, and those that are waiting share one `begin immediate` and one `commit`, which is where the
 * time goes. An answer is given only after that commit.
 */
import { messageOf, SettleError } from '../../util/errors.ts';
import type { BarrierTransaction } from '../barrier.ts';
import { guardOver, type Guard } from '../guard.ts';
import { isPromiseLike, type MaybePromise } from '../maybe-async.ts';
import type { SqlQuery } from '../sql/statement.ts';
import { asking, sqlTransaction, type Nested } from '../sql/transaction.ts';
import type { SqliteConnection } from './connection.ts';
import { createTable, preparedQuery, sqliteDialect } from './queries.ts';

/**
 * While async work runs the connection is inside its transaction: nothing may be done on it but through that work.
 */
export interface SqliteBarrier<Db extends SqliteConnection> extends Guard<Db> {
  /** Creates the table `settle_barrier` where it is missing. Call it once at the start, with no transaction open. */
  migrate(): void;
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
  const dialect = sqliteDialect(now);
  const query = preparedQuery(db);
  const queue = new TransactionQueue(db, query, batchMax);
  const t = sqlTransaction(query, dialect);

  return {
    ...guardOver<Db>((part) => queue.add(() => part(t, db))),
    migrate: () => void db.exec(createTable),
    async prune({ olderThanMs, limit = 1_000 }) {
      const { affected } = await queue.add(() =>
        asking(query, dialect)(dialect.deleteOld({ olderThanMs, limit })),
      );
      return affected;
    },
  };
}

/**
 * What `barrier` needs, over whatever runs statements in a transaction that somebody has begun (`begin immediate`) and will
 * commit: for owners of transactions that hand out no connection of their own. `nested` runs work within a savepoint;
 * default: by `query`.
 */
export function sqliteTransaction(
  query: SqlQuery,
  nested?: Nested,
  { now = Date.now }: Pick<SqliteBarrierOptions, 'now'> = {},
): BarrierTransaction {
  return sqlTransaction(query, sqliteDialect(now), nested);
}

type PreparedQuery = ReturnType<typeof preparedQuery>;

/** Tells the caller what its job came to. */
type Tell = () => void;

interface Job {
  /** Does its part inside the open transaction; what it came to is told only after the commit. */
  run(): MaybePromise<Tell>;
  fail(error: unknown): void;
}

/** Runs jobs in the order they came; those that wait at the same time share a transaction. */
class TransactionQueue {
  private readonly db: SqliteConnection;
  private readonly query: PreparedQuery;
  private readonly batchMax: number;
  private readonly waiting: Job[] = [];
  private isRunning = false;

  constructor(db: SqliteConnection, query: PreparedQuery, batchMax: number) {
    this.db = db;
    this.query = query;
    this.batchMax = batchMax;
  }

  add<T>(part: () => MaybePromise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      const fulfilled =
        (value: T): Tell =>
        () =>
          resolve(value);
      this.waiting.push({
        run: () => {
          const value = part();
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
    try {
      this.do('begin immediate');
    } catch (error) {
      // Nothing to roll back; least of all somebody else's transaction.
      return failAll(jobs, error);
    }
    try {
      for (const job of jobs) {
        const done = this.runJob(job);
        tell.push(isPromiseLike(done) ? await done : done);
      }
      this.do('commit');
    } catch (error) {
      this.rollback();
      return failAll(jobs, error);
    }
    for (const one of tell) one();
  }

  /** One job in a savepoint: its error rolls back its own writes and nobody else's. */
  private runJob(job: Job): MaybePromise<Tell> {
    const failed = (error: unknown): Tell => {
      this.assertOpen(error);
      this.do('rollback to settle_call');
      this.do('release settle_call');
      return () => job.fail(error);
    };
    const ended = (tell: Tell): Tell => {
      this.assertOpen();
      this.do('release settle_call');
      return tell;
    };
    this.do('savepoint settle_call');
    let done: MaybePromise<Tell>;
    try {
      done = job.run();
    } catch (error) {
      return failed(error);
    }
    return isPromiseLike(done) ? done.then(ended, failed) : ended(done);
  }

  private do(sql: string): void {
    this.query(sql, []);
  }

  private rollback(): void {
    try {
      this.do('rollback');
    } catch {
      // SQLite had rolled back already; the error that led here says why.
    }
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

function failAll(jobs: readonly Job[], cause: unknown): void {
  const error = new SettleError('unavailable', `the barrier's transaction failed: ${messageOf(cause)}`, {
    next: 'It is asked again. Is the file locked by somebody, or the disk full?',
    retryAfterMs: 1_000,
    cause,
  });
  for (const job of jobs) job.fail(error);
}
