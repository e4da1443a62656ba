/** `settle/local/prisma`: local transactions whose handle is the transaction client of Prisma 7. */
import { SettleError } from '../../util/errors.ts';
import { derivedDriver, type Driver, type Holding } from '../driver.ts';
import { nestedOptionConflict } from './nested-options.ts';
import { explained, isPrismaAdapter, opening, type PrismaConnection } from './prisma-adapter.ts';

export { prismaAdapter, type PrismaAdapterFactory } from './prisma-adapter.ts';

/** The part of a `PrismaClient` that is used. */
export interface PrismaInstance {
  readonly $transaction: (...args: never[]) => Promise<unknown>;
}

/** What the client gives the function of its `$transaction`. */
export type PrismaHandle<Client extends PrismaInstance> = Client['$transaction'] extends (
  work: (handle: infer Handle) => Promise<infer _>,
  ...rest: infer _
) => Promise<unknown>
  ? Handle
  : never;

/**
 * Transactions of a Prisma client on PostgreSQL. Prisma shows nobody its connections, so its adapter is wrapped, and `base`
 * is the driver for the pool that it was made with:
 *
 * ```ts
 * const pool = new Pool({ connectionString });
 * const prisma = new PrismaClient({ adapter: prismaAdapter(new PrismaPg(pool)) });
 * const tx = createTransactions(prismaDriver(prisma, pgDriver(pool)));
 * await tx.run(() => tx.db.order.create({ data: { id: 7 } }));
 * ```
 *
 * The handle has the models, extensions and raw queries of the client; like Prisma's own, its calls do nothing before they
 * are awaited, also methods that an extension adds. Its `$transaction` is a nested scope with a savepoint, and takes no
 * options (`option_conflict`): Prisma's `timeout` and `maxWait` do not apply, those of `run` do. Scopes that join share the
 * handle. Errors of the database are Prisma's, with the error of the driver as `cause`.
 *
 * What goes around it: `prisma` itself. Use `tx.db` or `t.client`.
 *
 * Throws `config_invalid` for what is no Prisma client, for one whose adapter is not wrapped, and for a `base` of another
 * database.
 */
export function prismaDriver<Client extends PrismaInstance>(
  prisma: Client,
  base: Driver<object>,
): Driver<PrismaHandle<Client>> {
  if (base.dialect.name !== 'postgres') throw invalid(`${base.name} is not for PostgreSQL`);
  if (!isClient(prisma)) throw invalid('it is no Prisma client');
  if ('_engineConfig' in prisma && !isPrismaAdapter(adapterOf(prisma['_engineConfig']))) {
    throw invalid('its adapter is not wrapped');
  }
  const opened = new WeakMap<object, Opened>();
  const derived = derivedDriver<object, never, PrismaHandle<Client>>(
    base as Driver<object, never>,
    (connection, nested) => {
      if (nested === undefined) return prisma as unknown as PrismaHandle<Client>;
      const open = new Opened(prisma, connection as PrismaConnection);
      const handle = handleLike(prisma, open, nestedBy(nested));
      opened.set(handle, open);
      return handle as PrismaHandle<Client>;
    },
  );
  const end: Holding<PrismaHandle<Client>>['end'] = (handle, how) =>
    opened.get(Object(handle) as object)?.end(how);
  return Object.assign(derived, { holding: { end } });
}

/** Prisma's own transaction client for one scope: opened by the first call that is awaited, and held until the scope ends. */
class Opened {
  readonly #prisma: PrismaInstance;
  readonly #connection: PrismaConnection;
  readonly #ended = Promise.withResolvers<'completed' | 'failed'>();
  #opening: Promise<object> | undefined;
  #hasEnded = false;

  constructor(prisma: PrismaInstance, connection: PrismaConnection) {
    this.#prisma = prisma;
    this.#connection = connection;
  }

  client(): Promise<object> {
    this.#opening ??= this.#open();
    return this.#opening;
  }

  /** What went wrong with a call. Prisma's transaction closes with the scope: why that did, the scope says itself. */
  async failure(error: unknown): Promise<unknown> {
    // `scope_ended`: no statement gets through any more.
    if (this.#hasEnded && isClosed(error)) await this.#connection.query('select 1');
    return explained(error);
  }

  /** Prisma ends its own in the same way, of which it tells in its log alone. */
  end(how: 'completed' | 'failed'): void {
    this.#hasEnded = true;
    this.#ended.resolve(how);
  }

  #open(): Promise<object> {
    return new Promise((resolve, reject) => {
      const hold = async (client: object): Promise<void> => {
        resolve(client);
        if ((await this.#ended.promise) === 'failed') throw new Error('the scope has failed');
      };
      const prisma = this.#prisma as { $transaction(work: unknown, options: object): Promise<unknown> };
      opening(this.#connection, () => prisma.$transaction(hold, unlimited)).catch(reject);
    });
  }
}

/** The limits are those of the scope. More milliseconds a timer does not take. */
const unlimited = { timeout: 2 ** 31 - 1, maxWait: 2 ** 31 - 1 };

/** Looks like the client, and does everything with the one that is opened. */
function handleLike(prisma: PrismaInstance, opened: Opened, $transaction: OwnTransaction): object {
  const models = new Map<string, object>();
  return new Proxy(prisma, {
    get(_, key) {
      if (key === '$transaction') return $transaction;
      if (typeof key !== 'string' || withheld.has(key)) return undefined;
      const value: unknown = Reflect.get(prisma, key, prisma);
      if (typeof value === 'function') return callLater(opened, (client) => client, key);
      if (typeof value !== 'object' || value === null || key.startsWith('_')) return value;
      const model = models.get(key) ?? modelLike(value, opened, key);
      models.set(key, model);
      return model;
    },
  });
}

/** What Prisma's own transaction client does not have. */
const withheld = new Set(['$connect', '$disconnect', '$on', '$use', '$extends']);

function modelLike(model: object, opened: Opened, name: string): object {
  return new Proxy(model, {
    get(_, key) {
      const value: unknown = Reflect.get(model, key, model);
      if (typeof value !== 'function' || typeof key !== 'string') return value;
      return callLater(opened, (client) => Reflect.get(client, name) as object, key);
    },
  });
}

type Find = (client: object) => object;
type Call = (client: object) => unknown;

/** A method that is called on what is found in the client, once the client is open and the call is awaited. */
function callLater(opened: Opened, find: Find, key: string): (...args: unknown[]) => object {
  return (...args) =>
    lazily(opened, (client) => {
      const found = find(client);
      return Reflect.apply(Reflect.get(found, key) as Call, found, args) as unknown;
    });
}

/** Like Prisma's promises: it begins when it is awaited, and has methods that lead on to relations. */
function lazily(opened: Opened, call: Call): object {
  let running: Promise<unknown> | undefined;
  const run = (): Promise<unknown> => (running ??= ran(opened, call));
  const own = new Map<string | symbol, unknown>([
    ['then', (...args: Parameters<Promise<unknown>['then']>) => run().then(...args)],
    ['catch', (...args: Parameters<Promise<unknown>['catch']>) => run().catch(...args)],
    ['finally', (...args: Parameters<Promise<unknown>['finally']>) => run().finally(...args)],
    [Symbol.toStringTag, 'PrismaPromise'],
    // Part of this transaction, it cannot be part of a batch of the client's own.
    ['requestTransaction', undefined],
  ]);
  return new Proxy(own, {
    get(_, key) {
      if (typeof key === 'symbol' || own.has(key)) return own.get(key);
      return callLater(opened, (client) => call(client) as object, key);
    },
  });
}

async function ran(opened: Opened, call: Call): Promise<unknown> {
  try {
    return await call(await opened.client());
  } catch (error) {
    throw await opened.failure(error);
  }
}

/** https://www.prisma.io/docs/orm/reference/error-reference#p2028 */
function isClosed(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === 'P2028';
}

type Nested = <T>(work: (handle: unknown) => T | PromiseLike<T>) => Promise<T>;
type OwnTransaction = (work: unknown, options?: object) => Promise<unknown>;

/** Prisma's own call: a function, or a list of promises, which are awaited one after the other. */
function nestedBy(nested: Nested): OwnTransaction {
  return async (work, options = {}) => {
    if (Object.values(options).some((value) => value !== undefined)) {
      throw nestedOptionConflict('$transaction()');
    }
    if (typeof work === 'function') {
      return await nested((handle) => Reflect.apply(work, undefined, [handle]) as unknown);
    }
    return await nested(async () => {
      const results: unknown[] = [];
      for (const promise of work as readonly unknown[]) results.push(await promise);
      return results;
    });
  };
}

function isClient(prisma: unknown): boolean {
  return typeof prisma === 'object' && prisma !== null && '$transaction' in prisma;
}

function adapterOf(config: unknown): unknown {
  return typeof config === 'object' && config !== null && 'adapter' in config ? config.adapter : undefined;
}

function invalid(what: string): SettleError {
  return new SettleError('config_invalid', `prismaDriver does not know this client: ${what}`, {
    next: 'new PrismaClient({ adapter: prismaAdapter(new PrismaPg(pool)) }), and pgDriver(pool) beneath it',
  });
}
