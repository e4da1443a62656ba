import type { SqlResult, SqlValue } from '../util/sql.ts';
import type { CompletionHook, Hook } from './hooks.ts';
import type { ScopeOptions } from './options.ts';

/** What a function gets that runs with or without a transaction. */
export interface Scope<Client> {
  /** Undefined where the scope runs outside of every transaction. */
  readonly transaction: Transaction<Client> | undefined;
  /** Of the transaction, or the pool outside of it. */
  readonly client: Client;
}

/** A transaction, as one scope of it sees it. Of use until the scope ends; afterwards everything throws `scope_ended`. */
export interface Transaction<Client> extends Scope<Client> {
  readonly transaction: Transaction<Client>;
  readonly label: string;
  /** `owner`: began the transaction. `joined`: takes part in it. `nested`: has a savepoint of its own. */
  readonly role: 'owner' | 'joined' | 'nested';
  /** Whether it can only be rolled back any more. */
  readonly isRollbackOnly: boolean;
  /**
   * Rolls back when the scope ends, although it returns. Said by the scope that owns the transaction or savepoint, it is
   * no error; said by one that joined, its owner fails with `unexpected_rollback`.
   */
  setRollbackOnly(reason?: unknown): void;
  /**
   * Runs right before the COMMIT, inside the transaction; what it throws rolls back, and reaches the caller. Hooks are
   * awaited, in the order they were registered, and gone with a savepoint that is rolled back.
   */
  onBeforeCommit(hook: Hook): void;
  /**
   * Runs once the transaction is committed, outside of it, before the caller goes on. When hooks throw, the others still
   * run, and the caller gets a `PostCommitError`.
   */
  onAfterCommit(hook: Hook): void;
  /** Runs once the transaction, or the savepoint it was registered in, is rolled back. */
  onAfterRollback(hook: Hook): void;
  /** Runs after the hooks above, whatever the end was. */
  onCompletion(hook: CompletionHook): void;
  /**
   * Runs one statement in SQL, with the placeholders of the database (`$1`, `?`), whatever the handle is. Throws what the
   * driver throws, and `config_invalid` where the adapter has no way to.
   */
  query(sql: string, values?: readonly SqlValue[]): Promise<SqlResult>;
  /**
   * Runs a scope within this very transaction, whatever the ambient context says: for callbacks that lost it. Inside a
   * nested scope of this transaction it means that one.
   */
  run<T>(work: (t: Transaction<Client>) => T | PromiseLike<T>, options?: JoiningOptions): Promise<T>;
  /**
   * Begins a scope within this very transaction that is ended by hand: `await using part = await t.begin()`. Every `begin`
   * needs its `done`, and only that of the outermost one commits.
   */
  begin(options?: HandleOptions): Promise<OpenTransaction<Client>>;
}

export type JoiningOptions = ScopeOptions & {
  readonly propagation?: 'required' | 'requiresNew' | 'nested' | 'mandatory';
};

/** Of a scope that is ended by hand: it has no function that could be run again, or throw. */
export type HandleOptions = Omit<JoiningOptions, 'retry' | 'rollbackOn'>;

/**
 * A transaction that is ended by hand: `await using t = await tx.begin()`. One that is still open when the scope around it
 * ends, and in which nothing happens, is ended then: that scope fails with `unexpected_rollback`.
 */
export interface OpenTransaction<Client> extends Transaction<Client>, AsyncDisposable {
  /**
   * The work succeeded. Commits if this scope began the transaction; otherwise its owner will. Throws what
   * `Transactions.run` would, also when its time was up or its signal aborted before. A second call throws `scope_ended`.
   */
  done(): Promise<void>;
  /** The work failed: as if the function of a `run` had thrown `reason`. Does nothing once it has ended. */
  fail(reason?: unknown): Promise<void>;
}
