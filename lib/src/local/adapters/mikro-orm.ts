/** `settle/local/mikro-orm`: local transactions whose handle is an `EntityManager` of MikroORM 7. */
import { isSettleError, SettleError } from '../../util/errors.ts';
import type { Driver } from '../driver.ts';
import {
  kyselyConnections,
  type KyselyConnection,
  type KyselyConnectionProvider,
} from './kysely-connection.ts';
import { nestedOptionConflict } from './nested-options.ts';
import { promisingDriver, refuse, refuseLater, type DriverBeneath } from './orm.ts';

/** The part of a `MikroORM` that is used. */
export interface MikroOrm {
  readonly em: MikroEntityManager;
  readonly config: { get(key: never): unknown };
}

export interface MikroEntityManager {
  fork(): MikroEntityManager;
  flush(): Promise<unknown>;
  isInTransaction(): boolean;
  setTransactionContext(context: never): void;
  getTransactionSessionContext(): unknown;
  getDriver(): object;
  getConnection(type: 'write'): object;
  readonly transactional: (...args: never[]) => Promise<unknown>;
  readonly begin: (...args: never[]) => Promise<unknown>;
}

/**
 * Transactions over a MikroORM, on its own connections; `beneath` is the driver for them: `pgDriver` for
 * `@mikro-orm/postgresql`, `mysql2Driver` for `@mikro-orm/mariadb` and `@mikro-orm/mysql`, `betterSqliteDriver` for
 * `@mikro-orm/sqlite`.
 *
 * ```ts
 * const tx = createTransactions(await mikroOrmDriver(orm, pgDriver));
 * await tx.run(() => void tx.db.create(Order, { id: 7 }));
 * ```
 *
 * The handle is a fork of `orm.em`: one for each transaction, shared by the scopes that join, and one for each nested scope.
 * What it holds is flushed at the end of its scope, and again after the hooks before the commit; a scope that rolls back
 * flushes nothing. A nested scope does not see what its parent has not flushed yet. `transactional()` of the handle is a
 * nested scope, with MikroORM's own fork in it, whose entities are merged back. Refused (`statement_refused`): `begin`,
 * `commit`, `rollback`, streams, and `transactional()` with propagation `requires_new` or `not_supported`: use `run`.
 *
 * What goes around it: `orm.em` and what is injected from it, and a `fork()` of the handle, as MikroORM has it. With
 * `context: () => tx.current()?.client` among the options of MikroORM, `orm.em` is the handle inside a transaction.
 * Subscribers are told of flushes, but not of the beginning and end of the transaction: use its hooks.
 *
 * Outside of every transaction `tx.db` is `orm.em`. On SQLite, where all have one connection, it is a fork, of which a
 * statement is refused while a transaction is open (`scope_busy`); so is, at any time, what begins a transaction
 * (`statement_refused`), as `flush` does. What goes around it there, is part of whatever transaction is open.
 *
 * Throws `config_invalid` for a MikroORM of another database, one that was given a Kysely instead of making its pool, and
 * for options that MikroORM applies as it takes a connection: `onCreateConnection`, `onReserveConnection`, and a session
 * context (row-level security), which is also refused where the handle is made.
 */
export async function mikroOrmDriver<Orm extends MikroOrm>(
  orm: Orm,
  beneath: DriverBeneath,
): Promise<Driver<Orm['em']>> {
  const connection = connectionOf(orm);
  const base = beneath((await nativeClientOf(connection)) as never);
  const connections = kyselyConnections(base);
  if (connections === undefined) throw unsupported(`it has no use for ${base.name}`);
  const driver = letOursOut(orm.em.getDriver() as MikroDriver);
  const on = (kyselyConnection: KyselyConnection): object =>
    contextOn(connection.getClient(), { provideConnection: (consumer) => consumer(kyselyConnection) });
  return promisingDriver<Orm['em']>(base, {
    outside:
      base.answers === 'later' ? orm.em : managerAlone(orm, driver, connection, on(connections.outside)),
    client: (gate) =>
      managerOn(orm, driver, on(connections.within(gate)), (work) => gate.nested(() => work())),
    // What it holds of entities is the caller's, also after the end.
    holding: { flush: (em) => em.flush(), end() {} },
  });
}

/** Where all have one connection: a manager whose every statement asks whether that is free. */
function managerAlone<Orm extends MikroOrm>(
  orm: Orm,
  driver: MikroDriver,
  connection: SqlConnection,
  context: object,
): Orm['em'] {
  const execute: Execute = (sql, values, method, within, ...rest) =>
    connection.execute(sql, values, method, within ?? context, ...rest);
  const begin = refuseLater('A transaction outside of run()', 'Use run(), which waits until it can begin');
  const own = like(connection, { execute, begin, transactional: begin, getClient: () => context });
  const em = orm.em.fork();
  return Object.assign(em, { driver: like(driver, { connection: own, getConnection: () => own }) });
}

type Nested = <T>(work: () => T | PromiseLike<T>) => Promise<T>;

function managerOn<Orm extends MikroOrm>(
  orm: Orm,
  driver: MikroDriver,
  context: object,
  nested: Nested,
): Orm['em'] {
  const em = orm.em.fork();
  if (em.getTransactionSessionContext() !== undefined) throw unsupported('it has a session context');
  Object.assign(em, { driver });
  em.setTransactionContext(context as never);
  return within(em, nested);
}

/** An EntityManager in our transaction, or one of its forks, which may be. */
function within(em: MikroEntityManager, nested: Nested): MikroEntityManager {
  const fork: (...args: unknown[]) => MikroEntityManager = em.fork.bind(em);
  const begin = em.begin.bind(em) as (...args: unknown[]) => Promise<unknown>;
  const transactional = em.transactional.bind(em) as Transactional;
  return Object.assign(em, {
    fork: (...args: unknown[]) => within(fork(...args), nested),
    begin: async (...args: unknown[]) => await (em.isInTransaction() ? refuseBegin() : begin(...args)),
    transactional: async (work: unknown, options: TransactionOptions = {}) => {
      if (!em.isInTransaction()) return await transactional(work, options);
      switch (options.propagation ?? 'nested') {
        case 'nested':
          if (options.isolationLevel !== undefined || options.readOnly !== undefined) {
            throw nestedOptionConflict('transactional()');
          }
          // The context says nothing to the server: the savepoint is that of the scope.
          return await nested(() => transactional(work, options));
        case 'requires_new':
        case 'not_supported':
          return refuseSuspension();
        default:
          return await transactional(work, options);
      }
    },
  });
}

type Transactional = (work: unknown, options: TransactionOptions) => Promise<unknown>;

interface TransactionOptions {
  readonly propagation?: string;
  readonly isolationLevel?: unknown;
  readonly readOnly?: unknown;
}

const refuseBegin = refuseLater('begin()', 'Use transactional(), or run()');
const refuseSuspension = refuse(
  'transactional() outside of the transaction',
  'Use run() with propagation requiresNew or notSupported',
);
const refuseEnd = refuseLater(
  'The end of the transaction',
  'Return from the function of the scope, or throw',
);

/** What MikroORM holds as its transaction: a Kysely on one connection, which knows savepoints. */
function contextOn(kysely: Kysely, provider: KyselyConnectionProvider): object {
  const executor = kysely.getExecutor().withConnectionProvider(provider);
  const context = new kysely.constructor({ config: {}, driver: {}, dialect: {}, executor });
  return Object.assign(context, {
    savepoint: step(() => Promise.resolve(contextOn(kysely, provider))),
    releaseSavepoint: step(() => Promise.resolve()),
    rollbackToSavepoint: step(() => Promise.resolve()),
    commit: step(refuseEnd),
    rollback: step(refuseEnd),
    transaction: refuse('transaction()', 'Use run(), or em.transactional()'),
    startTransaction: refuse('startTransaction()', 'Use run(), or em.transactional()'),
  });
}

/** MikroORM calls for a step of a transaction, and then executes it. */
function step(execute: () => Promise<unknown>): () => { readonly execute: () => Promise<unknown> } {
  return () => ({ execute });
}

/** MikroORM makes an error of its own of every error. Ours are not of the database. */
function letOursOut(driver: MikroDriver): MikroDriver {
  const convertException = (error: unknown): unknown =>
    isSettleError(error) ? error : driver.convertException(error);
  return like(driver, { convertException });
}

function like<T extends object>(original: T, changes: object): T {
  return Object.create(original, Object.getOwnPropertyDescriptors(changes)) as T;
}

interface MikroDriver {
  convertException(error: unknown): unknown;
}

interface Kysely {
  readonly constructor: new (props: object) => object;
  getExecutor(): { withConnectionProvider(provider: KyselyConnectionProvider): object };
}

type Execute = (
  sql: unknown,
  values: unknown,
  method: unknown,
  context: object | undefined,
  ...rest: unknown[]
) => Promise<unknown>;

interface SqlConnection {
  getClient(): Kysely;
  getNativeClient(): Promise<unknown>;
  readonly execute: Execute;
  readonly options?: object;
}

/** Throws `config_invalid` where MikroORM would do something as it takes a connection, since we take it. */
function connectionOf(orm: unknown): SqlConnection {
  if (!isOrm(orm)) throw unsupported('it is no initialized MikroORM');
  const connection = orm.em.getConnection('write');
  if (!isSqlConnection(connection)) throw unsupported('its connection is not one of SQL');
  for (const hook of ['onCreateConnection', 'onReserveConnection']) {
    const isSet = [orm.config.get(hook as never), Reflect.get(connection.options ?? {}, hook)].some(Boolean);
    if (isSet) throw unsupported(`it has ${hook}`);
  }
  if (orm.config.get('sessionContext' as never) === 'connection')
    throw unsupported('it has a session context');
  return connection;
}

/** MikroORM has none where it was given a Kysely, or a dialect of it. */
async function nativeClientOf(connection: SqlConnection): Promise<unknown> {
  try {
    return await connection.getNativeClient();
  } catch (cause) {
    throw unsupported('its connections are not its own', cause);
  }
}

function isOrm(orm: unknown): orm is MikroOrm {
  return typeof orm === 'object' && orm !== null && 'em' in orm && 'config' in orm;
}

function isSqlConnection(connection: object): connection is SqlConnection {
  return 'getClient' in connection && 'getNativeClient' in connection;
}

function unsupported(what: string, cause?: unknown): SettleError {
  return new SettleError('config_invalid', `mikroOrmDriver does not know this MikroORM: ${what}`, {
    cause,
    next: 'Pass what MikroORM.init() gave, without hooks on its connections, and the driver for its database',
  });
}
