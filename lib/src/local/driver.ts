/**
 * What the transaction manager needs of a database: the port that every adapter implements. An adapter takes the user's
 * pool by a narrow interface and holds only what is different about its driver; order, savepoints, rules and limits are
 * the manager's.
 */
import type { MaybePromise } from '../util/maybe-promise.ts';
import type { SqlResult, SqlValue } from '../util/sql.ts';
import type { Dialect } from './dialect.ts';

/** A source of connections `C`, with the type of handle that user code is given. */
export interface Driver<Client, C extends Connection = Connection> {
  /** For messages: `pg`, `mysql2`. */
  readonly name: string;
  readonly dialect: Dialect;
  /** What code outside of every transaction uses: each statement is on its own. */
  readonly outside: Client;
  /** At most so many connections at a time; undefined where nobody knows. */
  readonly connectionsMax: number | undefined;
  /** Whether a connection could be had without waiting now; undefined where nobody knows. */
  readonly hasIdleConnection?: boolean;
  /**
   * `at-once`: statements return their result, not a promise, so that they cannot wait for a connection or for their
   * turn: the connection is taken when the transaction begins.
   */
  readonly answers: 'later' | 'at-once';
  /** One connection for one transaction. May wait as long as the pool does: the manager bounds it. */
  acquire(need: Need): MaybePromise<C>;
  /** The handle of one scope. Every statement that is made with it has to go through the gate. */
  client(gate: Gate<Client, C>): Client;
  /** For handles that hold something themselves. Then scopes that join have the handle of the scope they join. */
  readonly holding?: Holding<Client>;
}

export interface Holding<Client> {
  /** Writes what the handle holds back; before its savepoint is released, or its transaction committed. */
  flush?(client: Client): MaybePromise<unknown>;
  /** The scope of the handle has ended, and so. Must not throw. */
  end(client: Client, how: 'completed' | 'failed'): void;
}

export interface Need {
  readonly readOnly: boolean;
}

/** One connection, held by one transaction from its first statement to its end. */
export interface Connection {
  /** Runs one of the manager's own statements. Gives back the command tag (`COMMIT`) where the driver tells. */
  execute(sql: string): MaybePromise<string | undefined>;
  /**
   * Runs a statement with values, for those who write beside the user's own statements whatever his handle is; placeholders
   * are the database's own. Absent where the adapter has no way to.
   */
  query?(sql: string, values: readonly SqlValue[]): MaybePromise<SqlResult>;
  /** In what state the server said the transaction is when it last answered; undefined where it does not say. */
  status?(): TransactionStatus | undefined;
  /** Waits until `status` is that which a statement's error has left; for drivers that tell of the error earlier. */
  hearOut?(error: unknown): MaybePromise<void>;
  /** Ends the statement that runs now, on the server. May fail, or come too late. */
  cancel?(): Promise<void>;
  /** Gives the connection back; `discard` when nobody may use it any more, because its state is unknown. */
  release(fate: 'reuse' | 'discard'): MaybePromise<void>;
}

/** `open`: statements are part of it. `failed`: PostgreSQL refuses everything but a rollback. `none`: there is none. */
export type TransactionStatus = 'none' | 'open' | 'failed';

/** Where the statements of one scope pass through: it lets each one run when it is its turn, and refuses late ones. */
export interface Gate<Client, C extends Connection = Connection> {
  /**
   * Runs the statement when it is its turn. `text` is its SQL where the adapter knows it: by it, statements that begin or
   * end transactions are refused.
   */
  run<T>(statement: (connection: C) => PromiseLike<T>, text?: string): Promise<T>;
  /** The same for drivers that answer at once: throws `scope_busy` where it would have to wait. */
  runNow<T>(statement: (connection: C) => T, text?: string): T;
  /** What the own transaction call of an ORM's handle becomes: a nested scope. */
  nested<T>(work: (client: Client) => T | PromiseLike<T>): Promise<T>;
  /** What the own hook of an ORM's handle becomes. */
  afterCommit(hook: () => unknown): void;
}

/**
 * The driver of a library that works on top of another driver: `build` makes its handle out of that one's. It is called
 * once for what is used outside of transactions, without a `nested`, and once for each scope whose handle is used.
 */
export function derivedDriver<Base, C extends Connection, Client>(
  base: Driver<Base, C>,
  build: (
    client: Base,
    nested: Gate<Client, C>['nested'] | undefined,
    afterCommit: Gate<Client, C>['afterCommit'] | undefined,
  ) => Client,
): Driver<Client, C> {
  return {
    name: base.name,
    dialect: base.dialect,
    outside: build(base.outside, undefined, undefined),
    get connectionsMax() {
      return base.connectionsMax;
    },
    get hasIdleConnection() {
      return base.hasIdleConnection === true;
    },
    answers: base.answers,
    acquire: (need) => base.acquire(need),
    client(gate) {
      const baseGate: Gate<Base, C> = {
        run: (statement, text) => gate.run(statement, text),
        runNow: (statement, text) => gate.runNow(statement, text),
        nested: () => Promise.reject(new Error('the handle of the base driver begins no transactions')),
        afterCommit: (hook) => gate.afterCommit(hook),
      };
      return build(
        base.client(baseGate),
        (work) => gate.nested(work),
        (hook) => gate.afterCommit(hook),
      );
    },
  };
}
