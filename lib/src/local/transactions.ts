/** What the transactions of a data source can do, for whoever uses them. */
import type { SettleError } from '../util/errors.ts';
import type { Clock } from './clock.ts';
import type { Dialect } from './dialect.ts';
import type { ScopeOptions } from './options.ts';
import type { JoiningOptions, OpenTransaction, Scope, Transaction } from './transaction.ts';

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
  /** Is told of what reaches no caller: a transaction open for long, a hook that failed. Default: a warning of the process. */
  readonly onWarning?: (warning: SettleError) => void;
  /** Default: the system's. */
  readonly clock?: Clock;
  /** Numbers from 0 to 1, for pauses between attempts. Default: `Math.random`. */
  readonly random?: () => number;
}

export type Work<T, C> = (t: Transaction<C>) => T | PromiseLike<T>;
export type OpenWork<T, C> = (scope: Scope<C>) => T | PromiseLike<T>;

/** Options of a scope that may find itself outside of every transaction. */
export type OutsideOptions = ScopeOptions & { readonly propagation: 'supports' | 'notSupported' | 'never' };

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
  /** The function, wrapped: every call of it is a `run`. */
  wrap<This, Args extends unknown[], T>(
    work: (this: This, ...args: Args) => T | PromiseLike<T>,
    options?: ScopeOptions,
  ): (this: This, ...args: Args) => Promise<T>;
  /**
   * A transaction that is ended by hand: commits with `done()`, rolls back with `fail()` or at the end of its `await using`
   * block. Takes part in an ambient transaction as `run` does, but does not become ambient itself: use `t.client`, `t.run`.
   */
  begin(options?: JoiningOptions): Promise<OpenTransaction<Client>>;
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
