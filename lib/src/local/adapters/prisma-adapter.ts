/** The way into a Prisma client: its driver adapter, which begins our transactions where we ask it to. */
import { AsyncLocalStorage } from 'node:async_hooks';
import { isSettleError, SettleError } from '../../util/errors.ts';
import { causeOf, type PrismaConnection } from './prisma-connection.ts';

/** The part of a driver adapter's factory that is used: `new PrismaPg(pool)`. */
export interface PrismaAdapterFactory {
  readonly provider: string;
  connect(): Promise<object>;
}

/** The part of a connected adapter that is used. */
interface Adapter {
  readonly provider: string;
  readonly adapterName: string;
  readonly queryRaw: Statement;
  readonly executeRaw: Statement;
  startTransaction(isolation: unknown): Promise<object>;
}

type Statement = (query: Query) => Promise<unknown>;

interface Query {
  readonly sql: string;
}

/** Set while a client is asked for one of our transactions: every other one is none of ours. */
const openings = new AsyncLocalStorage<{ connection: PrismaConnection | undefined }>();

/** What is said of an adapter when a driver is made of its client. */
interface Wrapping {
  readonly provider: string;
  /** Where its statements run that are in no transaction of ours. Undefined: where it runs them itself. */
  alone: PrismaConnection | undefined;
}

const wrappings = new WeakMap<object, Wrapping>();

/**
 * A driver adapter that also runs the transactions of {@link prismaDriver}: `new PrismaClient({ adapter: prismaAdapter(new
 * PrismaPg(pool)) })`, or with `PrismaMariaDb` or `PrismaBetterSqlite3`. For everything else it is the one that was passed;
 * on SQLite, where all have one connection, see there.
 *
 * Throws `config_invalid` for an adapter of another database.
 */
export function prismaAdapter<Factory extends PrismaAdapterFactory>(factory: Factory): Factory {
  if (!isFactory(factory)) {
    throw new SettleError('config_invalid', 'prismaAdapter needs a driver adapter that it knows', {
      next: 'Pass new PrismaPg(pool), new PrismaMariaDb(pool) or new PrismaBetterSqlite3({ url })',
    });
  }
  const wrapping: Wrapping = { provider: factory.provider, alone: undefined };
  const connect = async (): Promise<object> => beginning((await factory.connect()) as Adapter, wrapping);
  const wrapped = Object.create(factory, { connect: { value: connect } }) as Factory;
  wrappings.set(wrapped, wrapping);
  return wrapped;
}

/** Undefined for an adapter that is not wrapped. */
export function wrappingOf(adapter: unknown): Wrapping | undefined {
  return typeof adapter === 'object' && adapter !== null ? wrappings.get(adapter) : undefined;
}

/** Whatever transaction `open` makes the client begin, is one on the connection. */
export function opening<T>(connection: PrismaConnection, open: () => T): T {
  return openings.run({ connection }, open);
}

function beginning(adapter: Adapter, wrapping: Wrapping): object {
  const startTransaction = async (isolation: unknown): Promise<object> => {
    const asked = openings.getStore();
    const connection = asked?.connection;
    if (asked === undefined || connection === undefined) {
      if (wrapping.alone !== undefined) throw carrying(refusedAlone());
      return await adapter.startTransaction(isolation);
    }
    // Once: what is begun inside of it is begun by somebody else.
    asked.connection = undefined;
    return transactionOn(adapter, connection);
  };
  const statement =
    (method: Method): Statement =>
    (query) =>
      wrapping.alone === undefined ? adapter[method](query) : run(adapter, method, wrapping.alone, query);
  return Object.create(adapter, {
    startTransaction: { value: startTransaction },
    queryRaw: { value: statement('queryRaw') },
    executeRaw: { value: statement('executeRaw') },
  }) as object;
}

function refusedAlone(): SettleError {
  return new SettleError(
    'statement_refused',
    'Prisma begins a transaction of its own, on the only connection',
    {
      next: 'Use run(): with several statements, also a single call of Prisma is a transaction',
    },
  );
}

/** What Prisma takes for a transaction. It begins and ends with our scope, so nothing is sent for that here. */
function transactionOn(adapter: Adapter, connection: PrismaConnection): object {
  const { provider, adapterName } = adapter;
  return {
    provider,
    adapterName,
    options: { usePhantomQuery: true },
    queryRaw: (query: Query) => run(adapter, 'queryRaw', connection, query),
    executeRaw: (query: Query) => run(adapter, 'executeRaw', connection, query),
    commit: nothing,
    rollback: nothing,
  };
}

function nothing(): Promise<void> {
  return Promise.resolve();
}

type Method = 'queryRaw' | 'executeRaw';

/** One statement, with the adapter's own conversions, on our connection. */
async function run(
  adapter: Adapter,
  method: Method,
  connection: PrismaConnection,
  query: Query,
): Promise<unknown> {
  const onClient = (client: object): Promise<unknown> => {
    const on = Object.create(adapter, { client: { value: client } }) as Adapter;
    return on[method](query);
  };
  try {
    return await connection.run(onClient, query.sql);
  } catch (error) {
    throw isSettleError(error) ? carrying(error) : error;
  }
}

/** Of an error that is not its own, Prisma keeps the code and the meta. */
function carrying(error: SettleError): Error {
  return Object.assign(new Error(error.message), { code: error.code, meta: { settleError: error } });
}

/** The error for whoever called Prisma: ours as it is, and Prisma's own with what the driver said as its cause. */
export function explained(error: unknown): unknown {
  if (!(error instanceof Error) || !('meta' in error)) return error;
  const { meta } = error;
  if (typeof meta !== 'object' || meta === null) return error;
  if ('settleError' in meta) return meta.settleError;
  const cause = 'driverAdapterError' in meta ? causeOf(Object(meta.driverAdapterError) as object) : undefined;
  if (cause !== undefined && error.cause === undefined) error.cause = cause;
  return error;
}

function isFactory(factory: unknown): boolean {
  return (
    typeof factory === 'object' &&
    factory !== null &&
    'connect' in factory &&
    'provider' in factory &&
    typeof factory.provider === 'string' &&
    providers.has(factory.provider)
  );
}

/** Of the adapters for pg, mariadb and better-sqlite3: the names of our dialects. */
const providers = new Set(['postgres', 'mysql', 'sqlite']);
