/** `settle/local/sequelize`: local transactions whose handle is a `Transaction` of Sequelize 6. */
import { isSettleError, SettleError } from '../../util/errors.ts';
import { derivedDriver, type Driver, type Gate } from '../driver.ts';
import { refuse, refuseLater, type DriverBeneath } from './orm.ts';
import { poolOf } from './sequelize-pool.ts';

/** The part of a `Sequelize` that is used. */
export interface SequelizeInstance {
  readonly connectionManager: object;
  getDialect(): string;
  /** What it gives is the type of the handle. */
  transaction(): Promise<object>;
}

/** The `Transaction` of the Sequelize that was passed. */
export type SequelizeHandle<Instance extends SequelizeInstance> = Awaited<
  ReturnType<Instance['transaction']>
>;

/**
 * Transactions over a Sequelize, on its own connections; `beneath` is the driver for them. The handle is what Sequelize
 * takes as `transaction`:
 *
 * ```ts
 * const tx = createTransactions(sequelizeDriver(sequelize, pgDriver));
 * await tx.run(() => Order.create({ id: 7 }, { transaction: tx.db }));
 * ```
 *
 * A query without that option goes around the transaction, as always with Sequelize, unless {@link sequelizeNamespace} is
 * in use. `afterCommit` of the handle is a hook of ours. `findOrCreate` works, in the transaction itself. Refused
 * (`statement_refused`): `commit` and `rollback` of the handle, and `sequelize.transaction({ transaction: tx.db })`, which
 * Sequelize gives no way to make a nested scope of: use `run` with propagation `nested`. Sequelize's `isolationLevel` is not
 * looked at: say it to `run`.
 *
 * Works with `pgDriver`, and with `mysql2Driver` for dialect `mysql`. Throws `config_invalid` for anything else, SQLite
 * among it: there Sequelize takes the package `sqlite3` alone, of which there is no driver here.
 */
export function sequelizeDriver<Instance extends SequelizeInstance>(
  sequelize: Instance,
  beneath: DriverBeneath,
): Driver<SequelizeHandle<Instance>> {
  const Transaction = transactionClass(sequelize);
  const base = beneath(poolOf(sequelize.getDialect(), sequelize.connectionManager) as never);
  return derivedDriver(base, (client, _, afterCommit) => {
    const handle = new Transaction(sequelize, {});
    const connection = connectionOn(client as Client, handle.id, base.dialect.name === 'mysql');
    Object.assign(handle, {
      connection,
      commit: refuseLater('commit()', 'Return from the function of the scope'),
      rollback: refuseLater('rollback()', 'Throw, or call setRollbackOnly()'),
      prepareEnvironment: refuseLater('prepareEnvironment()', 'Use run()'),
      savepoints: savepointsOn(connection),
      afterCommit: afterCommit === undefined ? outsideHasNoCommit : hooksInto(afterCommit, handle),
    });
    return handle as SequelizeHandle<Instance>;
  });
}

/**
 * What makes queries without the option `transaction` part of the transaction they are made in:
 * `Sequelize.useCLS(sequelizeNamespace(tx))`. Sequelize has one such namespace for all its instances: of use where there is
 * one. Transactions that Sequelize begins itself stay explicit. `transaction: null` is how a query says that it wants none.
 */
export function sequelizeNamespace(transactions: {
  current(): { readonly client: object } | undefined;
}): SequelizeNamespace {
  return {
    get: (key) => (key === 'transaction' ? transactions.current()?.client : undefined),
    set() {},
    run: (work) => void work({}),
    bind: (work) => work,
  };
}

/** What Sequelize asks of a namespace. */
export interface SequelizeNamespace {
  get(key: string): unknown;
  set(key: string, value: unknown): void;
  run(work: (context: object) => unknown): void;
  bind<Work>(work: Work): Work;
}

interface Handle {
  readonly id: string;
}

type TransactionClass = new (sequelize: object, options: object) => Handle;

type Callback = (error: unknown, result?: unknown) => void;
type Client = Record<'query' | 'execute', (...args: unknown[]) => Promise<unknown>>;

/** What Sequelize takes for a connection, by the two calls it makes to one. */
function connectionOn(client: Client, uuid: string, isMysql: boolean): object {
  const send =
    (method: keyof Client) =>
    (...args: unknown[]): typeof emitter => {
      const callback = args.pop() as Callback;
      void callBack(callback, client[method](...args), isMysql);
      return emitter;
    };
  return { uuid, query: send('query'), execute: send('execute') };
}

/** mysql2 gives the result and its columns. */
async function callBack(callback: Callback, answer: Promise<unknown>, isMysql: boolean): Promise<void> {
  const [error, result] = await answer.then(
    (result) => [null, isMysql ? (result as readonly unknown[])[0] : result],
    (error: unknown) => [passable(error)],
  );
  callback(error, result);
}

/** Of mysql2's answer, only this is called. */
const emitter = { setMaxListeners() {} };

const mysqlDeadlock = 1213;

/**
 * Sequelize puts the SQL on every error, and then wraps it in one of the database. Ours are none: they go out as they are,
 * at the moment it touches them. And at a deadlock it would end the transaction by itself, as which it may know only the
 * ambient client: it has to find the number further inside.
 */
function passable(error: unknown): unknown {
  if (isSettleError(error)) {
    return Object.defineProperty(error, 'sql', {
      configurable: true,
      set() {
        throw error;
      },
    });
  }
  if (!(error instanceof Error) || !('errno' in error) || error.errno !== mysqlDeadlock) return error;
  const { errno: _, ...rest } = error;
  return Object.assign(new Error(error.message, { cause: error }), rest);
}

/** Where Sequelize enters a transaction that is to begin within this one. */
function savepointsOn(connection: object): object {
  return {
    length: 0,
    push(child: { readonly options: object }) {
      // `findOrCreate` begins one with its own options, which it neither ends nor rolls back.
      if (!('where' in child.options)) refuseNested();
      Object.assign(child, {
        prepareEnvironment: () => Promise.resolve(Object.assign(child, { connection })),
      });
    },
  };
}

const refuseNested = refuse(
  'sequelize.transaction({ transaction })',
  'Use run() with propagation nested: it has a savepoint of its own',
);

function hooksInto(afterCommit: Gate<unknown>['afterCommit'], handle: Handle): (hook: unknown) => void {
  return (hook) => {
    if (typeof hook !== 'function') throw new TypeError('afterCommit takes a function');
    afterCommit(() => Reflect.apply(hook, handle, [handle]) as unknown);
  };
}

function outsideHasNoCommit(): never {
  throw new SettleError('transaction_required', 'afterCommit() needs a transaction, and runs in none', {
    next: 'Call it inside run()',
  });
}

function transactionClass(sequelize: unknown): TransactionClass {
  const isInstance = typeof sequelize === 'object' && sequelize !== null && 'connectionManager' in sequelize;
  const found: unknown = isInstance ? Reflect.get(sequelize.constructor, 'Transaction') : undefined;
  if (typeof found === 'function') return found as TransactionClass;
  throw new SettleError('config_invalid', 'sequelizeDriver needs an instance of Sequelize 6', {
    next: 'Pass new Sequelize(…)',
  });
}
