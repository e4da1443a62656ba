/** `settle/local/kysely`: local transactions on an instance of Kysely. */
import { SettleError } from '../../util/errors.ts';
import type { Driver } from '../driver.ts';
import {
  kyselyConnections,
  type KyselyConnection,
  type KyselyConnectionProvider,
} from './kysely-connection.ts';
import { nestedOptionConflict } from './nested-options.ts';
import { promisingDriver, refuse, refuseLater } from './orm.ts';

/** The part of a `Kysely` that is used. */
export interface KyselyInstance {
  readonly isTransaction: boolean;
  readonly introspection: object;
  getExecutor(): KyselyExecutor;
}

interface KyselyExecutor {
  /** The same compiler and plugins, over other connections. */
  withConnectionProvider(provider: KyselyConnectionProvider): object;
}

/**
 * Transactions on an instance of Kysely. `base` is the driver for the pool that its dialect was made with, since Kysely
 * shows nobody its connections: `kyselyDriver(db, pgDriver(pool))`, or over `postgresJsDriver`, `mysql2Driver`,
 * `mariadbDriver`, `betterSqliteDriver`, `nodeSqliteDriver`.
 *
 * The handle is of the type of `db`, with its plugins and its schema. Its own `transaction()` becomes a nested scope, which
 * takes no isolation or access mode (`option_conflict`); `startTransaction()`, `destroy()` and streams are refused
 * (`statement_refused`). A query whose signal aborts while it waits for its turn is not run; one that runs already ends
 * before the next one begins.
 *
 * Does not see what is done with `db` itself: use `tx.db` or `t.client`. Does not tell the `log` of `db`, nor its dialect's
 * `onReserveConnection`, of what runs in a transaction. Outside of every transaction `tx.db` is `db`, and its
 * `transaction()` Kysely's own; on SQLite, where all have one connection, that is refused, and so is a statement outside of
 * an open transaction (`scope_busy`).
 *
 * ```ts
 * const db = new Kysely<Database>({ dialect: new PostgresDialect({ pool }) });
 * const tx = createTransactions(kyselyDriver(db, pgDriver(pool)));
 * await tx.run(() => tx.db.insertInto('order').values(order).execute());
 * ```
 *
 * Throws `config_invalid` for anything but an instance of Kysely, and for a base of another kind.
 */
export function kyselyDriver<Instance extends KyselyInstance>(
  db: Instance,
  base: Driver<object>,
): Driver<Instance> {
  if (!isInstance(db)) throw notAnInstance('it has no executor, or is a transaction');
  const connections = kyselyConnections(base);
  if (connections === undefined) {
    throw new SettleError('config_invalid', `kyselyDriver does not work over ${base.name}`, {
      next: 'Pass the driver of settle/local for the pool of its dialect, such as pgDriver(pool)',
    });
  }
  const handle = handlesLike(db);
  const outside = handle(connections.outside);
  return promisingDriver(base, {
    // Only where all have one connection, a statement outside has to ask whether that is free.
    outside: base.answers === 'later' ? db : outside,
    client: (gate) => handle(connections.within(gate), (work) => gate.nested(work)),
  });
}

const useRun = 'Use run(), with propagation nested for a savepoint of its own';

type Nested<Client> = <T>(work: (client: Client) => T | PromiseLike<T>) => Promise<T>;
type MakeHandle<Instance> = (connection: KyselyConnection, nested?: Nested<Instance>) => Instance;
type KyselyClass = new (props: object) => Pick<KyselyInstance, 'getExecutor'>;

/** What gives a changed copy of an instance: copies of a handle are handles of the same scope. */
const derivations = [
  'withPlugin',
  'withoutPlugins',
  'withSchema',
  'withTables',
  '$extendTables',
  '$omitTables',
  '$pickTables',
] as const;

/** Makes instances like `db` on other connections. */
function handlesLike<Instance extends KyselyInstance>(db: Instance): MakeHandle<Instance> {
  const Kysely = db.constructor as KyselyClass;

  class Handle extends Kysely {
    readonly #like: KyselyInstance;
    readonly #connection: KyselyConnection;
    readonly #nested: Nested<Instance> | undefined;

    constructor(like: KyselyInstance, connection: KyselyConnection, nested: Nested<Instance> | undefined) {
      const executor = like
        .getExecutor()
        .withConnectionProvider({ provideConnection: (consumer) => consumer(connection) });
      super({ config: {}, driver: {}, dialect: introspecting(like), executor });
      if (this.getExecutor() !== executor)
        throw notAnInstance('its class does not hand on what it is made with');
      this.#like = like;
      this.#connection = connection;
      this.#nested = nested;
    }

    static {
      for (const name of derivations) {
        const value = function (this: Handle, ...args: unknown[]): Handle {
          return this.#derived((from) => Reflect.apply(Reflect.get(from, name) as Derivation, from, args));
        };
        Object.defineProperty(Handle.prototype, name, { value });
      }
    }

    #derived(derive: (from: KyselyInstance) => KyselyInstance): Handle {
      const nested = this.#nested;
      return new Handle(
        derive(this.#like),
        this.#connection,
        nested && ((work) => nested((client) => work(derive(client) as Instance))),
      );
    }

    get isTransaction(): boolean {
      return this.#nested !== undefined;
    }

    transaction(): NestedTransaction<Instance> {
      const nested = this.#nested;
      if (nested === undefined) return refuse('transaction()', useRun)();
      return new NestedTransaction(nested);
    }

    startTransaction(): never {
      return refuse('startTransaction()', useRun)();
    }

    /** It has a connection of its own already. */
    connection(): { execute<T>(work: (handle: Handle) => T | PromiseLike<T>): Promise<T> } {
      return { execute: async (work) => await work(this) };
    }

    destroy(): Promise<never> {
      return refuseLater('destroy()', 'Destroy the instance that was passed to kyselyDriver')();
    }
  }

  return (connection, nested) => new Handle(db, connection, nested) as object as Instance;
}

type Derivation = (...args: unknown[]) => KyselyInstance;

/** What `transaction()` gives on a handle. */
class NestedTransaction<Client> {
  readonly #nested: Nested<Client>;

  constructor(nested: Nested<Client>) {
    this.#nested = nested;
  }

  setIsolationLevel(): never {
    throw nestedOptionConflict('setIsolationLevel()');
  }

  setAccessMode(): never {
    throw nestedOptionConflict('setAccessMode()');
  }

  async execute<T>(work: (client: Client) => T | PromiseLike<T>): Promise<T> {
    return await this.#nested(work);
  }
}

/** A dialect that is asked for its introspector alone, which is like that of the instance. */
function introspecting(like: KyselyInstance): object {
  return {
    createIntrospector: (db: object): unknown =>
      Reflect.construct(like.introspection.constructor as never, [db]),
  };
}

function isInstance(db: unknown): boolean {
  return (
    typeof db === 'object' &&
    db !== null &&
    'getExecutor' in db &&
    typeof db.getExecutor === 'function' &&
    'isTransaction' in db &&
    db.isTransaction === false
  );
}

function notAnInstance(why: string): SettleError {
  return new SettleError('config_invalid', `kyselyDriver needs an instance of Kysely: ${why}`, {
    next: 'Pass new Kysely(...), and to kyselyDriver the driver for the pool of its dialect',
  });
}
