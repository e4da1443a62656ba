/** `settle/local/kysely`: local transactions on an instance of Kysely. */
import { SettleError } from '../../util/errors.ts';
import type { Connection, Driver, Gate } from '../driver.ts';
import { nestedOptionConflict } from './nested-options.ts';
import { refuse, refuseLater } from './orm.ts';
import { givesRows } from './sqlite.ts';

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

interface KyselyConnectionProvider {
  provideConnection<T>(consumer: (connection: KyselyConnection) => Promise<T>): Promise<T>;
}

interface KyselyConnection {
  executeQuery<Row>(query: KyselyQuery, options?: KyselyQueryOptions): Promise<KyselyResult<Row>>;
  streamQuery(): never;
}

interface KyselyQuery {
  readonly sql: string;
  readonly parameters: readonly unknown[];
}

interface KyselyQueryOptions {
  readonly signal?: AbortSignal;
}

interface KyselyResult<Row> {
  readonly rows: Row[];
  readonly numAffectedRows?: bigint;
  readonly numChangedRows?: bigint;
  readonly insertId?: bigint;
}

/**
 * Transactions on an instance of Kysely. `base` is the driver for the pool that its dialect was made with, since Kysely
 * shows nobody its connections: `kyselyDriver(db, pgDriver(pool))`, or over `mysql2Driver`, `betterSqliteDriver`,
 * `nodeSqliteDriver`.
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
  const query = queryOn(base);
  const handle = handlesLike(db);
  const outside = handle(connectionOf((compiled) => query(base.outside, compiled)));
  return {
    name: base.name,
    dialect: base.dialect,
    get connectionsMax() {
      return base.connectionsMax;
    },
    // Kysely gives promises whatever is beneath it: its statements can wait for their turn on any driver.
    answers: 'later',
    acquire: (need) => base.acquire(need),
    // Only where all have one connection, a statement outside has to ask whether that is free.
    outside: base.answers === 'later' ? db : outside,
    client: (gate) => handle(within(gate, base, query), (work) => gate.nested(work)),
  };
}

/** How a statement is run with a handle of the base driver, and what came of it in Kysely's words. */
type Query = (handle: object, query: KyselyQuery) => Promise<KyselyResult<never>>;

/** The connection of one scope: whatever runs on it goes through its gate. */
function within(gate: Gate<unknown>, base: Driver<object>, query: Query): KyselyConnection {
  let handle: object | undefined;
  return connectionOf((compiled, options) =>
    gate.run(async (connection) => {
      options?.signal?.throwIfAborted();
      handle ??= base.client(onTurn(connection));
      return await query(handle, compiled);
    }, compiled.sql),
  );
}

function connectionOf(
  executeQuery: (query: KyselyQuery, options?: KyselyQueryOptions) => Promise<KyselyResult<never>>,
): KyselyConnection {
  return {
    executeQuery,
    streamQuery: refuse('stream()', 'Read in pages: a stream cannot wait for its turn'),
  };
}

/** For a handle of the base driver that is used by those alone whose turn it is. */
function onTurn(connection: Connection): Gate<object> {
  return {
    run: async (statement) => await statement(connection),
    runNow: (statement) => statement(connection),
    nested: refuseLater('nested()', useRun),
    afterCommit: refuse('afterCommit()', 'Use onAfterCommit()'),
  };
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

function queryOn(base: Driver<object>): Query {
  const { dialect, outside } = base;
  if (dialect.name === 'postgres' && 'query' in outside) return onPg;
  if (dialect.name === 'mysql' && 'query' in outside) return onMysql2;
  if (dialect.name === 'sqlite' && 'prepare' in outside) return onSqlite;
  throw new SettleError('config_invalid', `kyselyDriver does not work over ${base.name}`, {
    next: 'Pass pgDriver(pool), mysql2Driver(pool), betterSqliteDriver(db) or nodeSqliteDriver(db)',
  });
}

async function onPg(handle: object, { sql, parameters }: KyselyQuery): Promise<KyselyResult<never>> {
  const pg = handle as { query(text: string, values: readonly unknown[]): Promise<PgResult> };
  const { command, rowCount, rows = [] } = await pg.query(sql, parameters);
  return changing.has(command) ? { rows, numAffectedRows: BigInt(rowCount ?? 0) } : { rows };
}

interface PgResult {
  readonly command: string;
  readonly rowCount: number | null;
  /** Absent where several statements were sent as one. */
  readonly rows?: never[];
}

const changing = new Set(['INSERT', 'UPDATE', 'DELETE', 'MERGE']);

async function onMysql2(handle: object, { sql, parameters }: KyselyQuery): Promise<KyselyResult<never>> {
  const mysql = handle as {
    query(sql: string, values: readonly unknown[]): Promise<[never[] | Mysql2Header]>;
  };
  const [result] = await mysql.query(sql, parameters);
  if (Array.isArray(result)) return { rows: result };
  const { affectedRows, changedRows, insertId } = result;
  return {
    rows: [],
    numAffectedRows: BigInt(affectedRows),
    numChangedRows: BigInt(changedRows),
    ...(String(insertId) !== '0' && { insertId: BigInt(insertId) }),
  };
}

interface Mysql2Header {
  readonly affectedRows: number;
  readonly changedRows: number;
  readonly insertId: number | string;
}

async function onSqlite(handle: object, { sql, parameters }: KyselyQuery): Promise<KyselyResult<never>> {
  const statement = (handle as { prepare(sql: string): SqliteStatement }).prepare(sql);
  const reads = statement.reader ?? (statement.columns?.().length ?? Number(givesRows(sql))) > 0;
  if (reads) return { rows: statement.all(...parameters) };
  const { changes, lastInsertRowid } = statement.run(...parameters);
  return { rows: [], numAffectedRows: BigInt(changes), insertId: BigInt(lastInsertRowid) };
}

interface SqliteStatement {
  /** better-sqlite3's: whether it gives rows. */
  readonly reader?: boolean;
  /** node:sqlite's; older Nodes do not have it, 22.14 among them. */
  columns?(): readonly unknown[];
  all(...parameters: readonly unknown[]): never[];
  run(...parameters: readonly unknown[]): {
    readonly changes: number | bigint;
    readonly lastInsertRowid: number | bigint;
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
