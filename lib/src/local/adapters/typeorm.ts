/** `settle/local/typeorm`: local transactions whose handle is an `EntityManager` of TypeORM 1. */
import { SettleError } from '../../util/errors.ts';
import { derivedDriver, type Driver, type Gate } from '../driver.ts';
import { nestedOptionConflict } from './nested-options.ts';
import { refuseLater, unwrapped, type DriverBeneath } from './orm.ts';

/** The part of TypeORM's `DataSource` that is used. */
export interface TypeormDataSource {
  readonly isInitialized: boolean;
  readonly manager: object;
  /** Holds the connections, under a name that differs between databases. */
  readonly driver: { createQueryRunner(mode: 'master'): TypeormQueryRunner };
  createEntityManager(runner: never): object;
}

export interface TypeormQueryRunner {
  readonly query: (...args: never[]) => Promise<unknown>;
}

/**
 * Transactions over a DataSource of TypeORM, on its own connections; `beneath` is the driver for them:
 *
 * ```ts
 * const tx = createTransactions(typeormDriver(dataSource, pgDriver));
 * await tx.run(() => tx.db.save(Order, { id: 7 }));
 * ```
 *
 * The handle is an `EntityManager`, and so are repositories, query builders and query runners that come from it part of
 * the transaction, which `save` and `remove` then do not begin one of their own in. Its `transaction()` is a nested scope,
 * with a savepoint. Refused: `startTransaction`, `commitTransaction`, `rollbackTransaction`, `release` and `stream` of its
 * query runner.
 *
 * What goes around it: `dataSource.manager`, `dataSource.transaction`, repositories of the DataSource, and `save()` on
 * entities that extend `BaseEntity`. On SQLite, which has one connection for all, these become part of whatever
 * transaction is open. Subscribers are not told of the beginning and the end of the transaction: use its hooks.
 *
 * Works with `pgDriver`, `mysql2Driver` and `betterSqliteDriver`. Throws `config_invalid` for a DataSource that is not
 * initialized, or is for another database than `beneath`.
 */
export function typeormDriver<Source extends TypeormDataSource>(
  dataSource: Source,
  beneath: DriverBeneath,
): Driver<Source['manager']> {
  if (!isDataSource(dataSource)) {
    throw new SettleError('config_invalid', 'typeormDriver needs an initialized DataSource of TypeORM', {
      next: 'await dataSource.initialize() first',
    });
  }
  const base = beneath(connectionsOf(dataSource.driver) as never);
  return derivedDriver(base, (client, nested) => {
    // Outside of transactions its own manager does: it takes a connection for each statement, and for each `save`. Only
    // where all have one connection, it has to ask whether that is free.
    if (nested === undefined && base.answers === 'later') return dataSource.manager;
    return managerOn(dataSource, client, nested);
  });
}

/** An EntityManager whose statements all go to `client`. */
function managerOn<Source extends TypeormDataSource>(
  dataSource: Source,
  client: object,
  nested: Gate<Source['manager']>['nested'] | undefined,
): Source['manager'] {
  const runner = runnerOn(dataSource.driver, client);
  const query = runner.query.bind(runner);
  Object.assign(runner, {
    // What TypeORM would begin a transaction for is in one. Outside it asks for one, and is refused.
    isTransactionActive: nested !== undefined,
    transactionDepth: nested === undefined ? 0 : 1,
    query: async (...args: never[]) => {
      try {
        return await query(...args);
      } catch (error) {
        throw unwrapped(error);
      }
    },
    startTransaction: refuseLater('startTransaction()', 'Use manager.transaction(), or run()'),
    commitTransaction: refuseLater('commitTransaction()', 'Return from the function of the scope'),
    rollbackTransaction: refuseLater('rollbackTransaction()', 'Throw, or call setRollbackOnly()'),
    release: refuseLater('release()', 'Return from the function of the scope'),
    stream: refuseLater('stream()', 'Read in pages, or use a query runner of the DataSource'),
  });
  return Object.assign(dataSource.createEntityManager(runner as never), {
    transaction:
      nested === undefined
        ? refuseLater('transaction()', 'Use run()')
        : async (work: unknown) => await nested(workOf(work)),
  });
}

type Work<Manager> = (manager: Manager) => unknown;

/** TypeORM also takes an isolation first, and the work after it. */
function workOf<Manager>(first: unknown): Work<Manager> {
  if (typeof first !== 'function') {
    throw nestedOptionConflict('transaction()');
  }
  return first as Work<Manager>;
}

function runnerOn(driver: TypeormDataSource['driver'], client: object): TypeormQueryRunner {
  if ('prepare' in client) {
    // For SQLite there is one query runner for all, which asks its driver for the connection.
    const own = { databaseConnection: { value: client }, queryRunner: { value: undefined, writable: true } };
    return (Object.create(driver, own) as typeof driver).createQueryRunner('master');
  }
  // With mysql2, TypeORM has a connection with callbacks, and asks it for the one with promises.
  const databaseConnection = Object.assign({ promise: () => client }, client);
  return Object.assign(driver.createQueryRunner('master'), { databaseConnection });
}

/** PostgreSQL's pool, MySQL's, and SQLite's handle. */
function connectionsOf(driver: object): unknown {
  if ('master' in driver) return driver.master;
  if ('pool' in driver) return driver.pool;
  return 'databaseConnection' in driver ? driver.databaseConnection : undefined;
}

function isDataSource(source: unknown): boolean {
  return (
    typeof source === 'object' &&
    source !== null &&
    'createQueryRunner' in source &&
    'manager' in source &&
    'isInitialized' in source &&
    source.isInitialized === true
  );
}
