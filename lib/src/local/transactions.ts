/** What the transactions of a data source can do, for whoever uses them. */
import type { SettleError } from '../util/errors.ts';
import type { Clock } from './clock.ts';
import type { Dialect } from './dialect.ts';
import type { Driver } from './driver.ts';
import type { ScopeOptions } from './options.ts';
import type { ReadOptions } from './reads.ts';
import type { HandleOptions, JoiningOptions, OpenTransaction, Scope, Transaction } from './transaction.ts';

export interface TransactionsOptions {
  /** What scopes do that do not say otherwise. */
  readonly defaults?: Pick<ScopeOptions, 'isolation' | 'timeoutMs' | 'acquireTimeoutMs' | 'retry'>;
  /**
   * Connections that only transactions begun inside another one may take, so that these never wait for each other in a
   * circle. Default: 0. Needs a pool that says how large it is.
   */
  readonly reserveForNested?: number;
  /** Milliseconds after which a transaction that is still open is told of, with the tree of its scopes. Default: 30,000. */
  readonly warnAfterMs?: number;
  /**
   * Whether every scope remembers where it was begun, for messages: costs 2 to 6 microseconds each. Default: where NODE_ENV
   * is not `production`; there from the first message on that would have told it.
   */
  readonly rememberPlaces?: boolean;
  /**
   * Is told of what reaches no caller: a transaction open for long, a hook that failed, a replica that was skipped. Default:
   * a warning of the process.
   */
  readonly onWarning?: (warning: SettleError) => void;
  /** Default: the system's. */
  readonly clock?: Clock;
  /** Numbers from 0 to 1, for pauses between attempts. Default: `Math.random`. */
  readonly random?: () => number;
}

/** Of a data source with replicas. */
export interface ReplicaOptions<Client> {
  /** Drivers for replicas of the database, each for one server, which `read` may use. Default: none. */
  readonly replicas?: readonly Driver<NoInfer<Client>>[];
  /**
   * Milliseconds for which reads leave a replica alone that failed, and do not wait for one they have waited for in vain.
   * Default: 5,000.
   */
  readonly replicaRestMs?: number;
}

export type Work<T, C> = (t: Transaction<C>) => T | PromiseLike<T>;
export type OpenWork<T, C> = (scope: Scope<C>) => T | PromiseLike<T>;

/** Options of a scope that may find itself outside of every transaction. */
export type OutsideOptions = ScopeOptions & {
  readonly propagation: 'supports' | 'notSupported' | 'never';
  readonly onToken?: never;
};

/** The transactions of one data source. Made by `createTransactions`. */
export interface Transactions<Client> {
  /**
   * Runs a function in a transaction, and commits when it returns, rolls back when it throws. By default it takes part in
   * the transaction that is there already.
   *
   * Guarantees: when it resolves, everything is committed (or will be with the transaction it takes part in); when it
   * rejects, nothing is, except with `post_commit_failed` (it is) and `commit_unknown` (nobody knows). What the function
   * throws reaches the caller as it is. Does not undo what the function did elsewhere.
   *
   * Throws `unexpected_rollback`, `post_commit_failed`, `commit_unknown`, `connection_lost`, `pool_exhausted`,
   * `database_unreachable`, `database_access_denied`, `transaction_timeout`, `transaction_cancelled`, `option_conflict`,
   * `transaction_required`, `transaction_forbidden`, `scope_ended`, `implicit_commit`, and what the function throws.
   */
  run<T>(work: Work<T, Client>, options?: JoiningOptions): Promise<T>;
  run<T>(work: OpenWork<T, Client>, options: OutsideOptions): Promise<T>;
  /**
   * Runs a function that only reads in a transaction of its own, by default on the primary. `{ reads: 'eventual' }` takes a
   * replica, however far that is behind; `{ reads: { after: token } }` one that has everything which the token of `onToken`
   * stands for. Within a transaction it takes part in that one, which sees its own writes.
   *
   * Guarantees: `strong` and `after` never read what is older than asked for, and a read never fails because of a replica:
   * where none is ready within `waitMs`, or one fails, the primary does it, and `onWarning` is told. The function may have
   * begun on the replica by then, and runs a second time: it should do nothing but read. The primary also does all that is
   * `serializable` or `forUpdate`. Reads `eventual` may go back in time from one to the next.
   *
   * Throws what `run` does, `invalid_request` for what is no token, and `option_conflict` within a read on a replica that is
   * not sure to see what this one asks for.
   */
  read<T>(work: Work<T, Client>, options?: ReadOptions): Promise<T>;
  /** The function, wrapped: every call of it is a `run`. */
  wrap<This, Args extends unknown[], T>(
    work: (this: This, ...args: Args) => T | PromiseLike<T>,
    options?: ScopeOptions,
  ): (this: This, ...args: Args) => Promise<T>;
  /**
   * A transaction that is ended by hand: commits with `done()`, rolls back with `fail()` or at the end of its `await using`
   * block. Takes part in an ambient transaction as `run` does, but does not become ambient itself: use `t.client`, `t.run`.
   */
  begin(options?: HandleOptions): Promise<OpenTransaction<Client>>;
  /** The transaction the calling code runs in, if there is one. */
  current(): Transaction<Client> | undefined;
  /** The transaction the calling code runs in. Throws `transaction_required` outside of one. */
  required(): Transaction<Client>;
  /**
   * The transaction that a client belongs to, for functions that are handed one: `tx.of(client).onAfterCommit(…)`. Throws
   * `foreign_client` for one that is of no open transaction of this data source: the pool, another data source's, one that
   * has ended.
   */
  of(client: Client): Transaction<Client>;
  /** The kind of database beneath, whatever the driver. */
  readonly database: Dialect['name'];
  /** A client that means the transaction the calling code runs in, and the pool outside of one. Can be kept. */
  readonly db: Client;
  /** The same, but it throws `transaction_required` outside of a transaction. */
  readonly strictDb: Client;
  /** Calls a function outside of every transaction, and whatever it starts: timers, queues, servers. */
  exit<T>(work: () => T): T;
  /** The tree of the scopes that are open now, one line each. */
  describe(): string;
}
