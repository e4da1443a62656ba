/** The way into a Prisma client: its driver adapter, which begins our transactions where we ask it to. */
import { AsyncLocalStorage } from 'node:async_hooks';
import { isSettleError, SettleError } from '../../util/errors.ts';

/** The part of a driver adapter's factory that is used: `new PrismaPg(pool)`. */
export interface PrismaAdapterFactory {
  readonly provider: string;
  connect(): Promise<object>;
}

/** What runs the statements of one scope: the handle of the driver beneath. */
export interface PrismaConnection {
  query(config: unknown): Promise<unknown>;
}

/** The part of a connected adapter that is used. */
interface Adapter {
  readonly provider: string;
  readonly adapterName: string;
  readonly queryRaw: Statement;
  readonly executeRaw: Statement;
  startTransaction(isolation: unknown): Promise<object>;
}

type Statement = (query: unknown) => Promise<unknown>;

/** Set while a client is asked for one of our transactions: every other one is none of ours. */
const openings = new AsyncLocalStorage<{ connection: PrismaConnection | undefined }>();

const known = new WeakSet<object>();

/**
 * A driver adapter that also runs the transactions of {@link prismaDriver}: `new PrismaClient({ adapter: prismaAdapter(new
 * PrismaPg(pool)) })`. For everything else it is the one that was passed.
 *
 * Throws `config_invalid` for an adapter of another database than PostgreSQL.
 */
export function prismaAdapter<Factory extends PrismaAdapterFactory>(factory: Factory): Factory {
  if (!isFactory(factory)) {
    throw new SettleError('config_invalid', 'prismaAdapter needs a driver adapter for PostgreSQL', {
      next: 'Pass new PrismaPg(pool)',
    });
  }
  const connect = async (): Promise<object> => beginning((await factory.connect()) as Adapter);
  const wrapped = Object.create(factory, { connect: { value: connect } }) as Factory;
  known.add(wrapped);
  return wrapped;
}

export function isPrismaAdapter(adapter: unknown): boolean {
  return typeof adapter === 'object' && adapter !== null && known.has(adapter);
}

/** Whatever transaction `open` makes the client begin, is one on the connection. */
export function opening<T>(connection: PrismaConnection, open: () => T): T {
  return openings.run({ connection }, open);
}

function beginning(adapter: Adapter): object {
  const startTransaction = async (isolation: unknown): Promise<object> => {
    const asked = openings.getStore();
    const connection = asked?.connection;
    if (asked === undefined || connection === undefined) return await adapter.startTransaction(isolation);
    // Once: what is begun inside of it is begun by somebody else.
    asked.connection = undefined;
    return transactionOn(adapter, connection);
  };
  return Object.create(adapter, { startTransaction: { value: startTransaction } }) as object;
}

/** What Prisma takes for a transaction. It begins and ends with our scope, so nothing is sent for that here. */
function transactionOn(adapter: Adapter, connection: PrismaConnection): object {
  const { provider, adapterName } = adapter;
  return {
    provider,
    adapterName,
    options: { usePhantomQuery: true },
    queryRaw: (query: unknown) => run(adapter, 'queryRaw', connection, query),
    executeRaw: (query: unknown) => run(adapter, 'executeRaw', connection, query),
    commit: nothing,
    rollback: nothing,
  };
}

function nothing(): Promise<void> {
  return Promise.resolve();
}

/** What the driver threw, by the error that the adapter made of it. */
const causes = new WeakMap<object, unknown>();

/** One statement, with the adapter's own conversions, on our connection. */
async function run(
  adapter: Adapter,
  method: 'queryRaw' | 'executeRaw',
  connection: PrismaConnection,
  query: unknown,
): Promise<unknown> {
  let cause: unknown;
  const client = {
    async query(config: unknown) {
      try {
        return await connection.query(config);
      } catch (error) {
        cause = error;
        throw error;
      }
    },
  };
  const on = Object.create(adapter, { client: { value: client } }) as Adapter;
  try {
    return await on[method](query);
  } catch (error) {
    if (isSettleError(cause)) throw carrying(cause);
    if (typeof error === 'object' && error !== null) causes.set(error, cause);
    throw error;
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
  const cause =
    'driverAdapterError' in meta ? causes.get(Object(meta.driverAdapterError) as object) : undefined;
  if (cause !== undefined && error.cause === undefined) error.cause = cause;
  return error;
}

function isFactory(factory: unknown): boolean {
  return (
    typeof factory === 'object' &&
    factory !== null &&
    'connect' in factory &&
    'provider' in factory &&
    factory.provider === 'postgres'
  );
}
