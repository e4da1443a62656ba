/** `settle/local/prisma`: local transactions whose handle is the transaction client of Prisma 7. */
import { AsyncResource } from 'node:async_hooks';
import { SettleError } from '../../util/errors.ts';
import type { Driver, Holding } from '../driver.ts';
import { nestedOptionConflict } from './nested-options.ts';
import { promisingDriver, refuseLater } from './orm.ts';
import { explained, opening, wrappingOf } from './prisma-adapter.ts';
import { connectionAlone, connectionWithin, type PrismaConnection } from './prisma-connection.ts';

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
 * Transactions of a Prisma client. Prisma shows nobody its connections, so its adapter is wrapped, and `base` is the driver
 * for the pool that it was made with: `pgDriver` for `PrismaPg`, `mariadbDriver` for `PrismaMariaDb`.
 *
 * ```ts
 * const pool = new Pool({ connectionString });
 * const prisma = new PrismaClient({ adapter: prismaAdapter(new PrismaPg(pool)) });
 * const tx = createTransactions(prismaDriver(prisma, pgDriver(pool)));
 * await tx.run(() => tx.db.order.create({ data: { id: 7 } }));
 * ```
 *
 * On SQLite it is `prismaAdapter(new PrismaBetterSqlite3({ url }))`, and `betterSqliteDriver` of a database of the same file:
 * that one is used from now on, also outside of transactions and by `prisma` itself. There a statement is refused while a
 * transaction is open (`scope_busy`), and so is always what Prisma makes a transaction of (`statement_refused`): its
 * `$transaction`, and calls that take several statements, such as nested writes.
 *
 * The handle has the models, extensions and raw queries of the client; like Prisma's own, its calls do nothing before they
 * are awaited, also methods that an extension adds. Its `$transaction` is a nested scope with a savepoint, and takes no
 * options (`option_conflict`): Prisma's `timeout` and `maxWait` do not apply, those of `run` do. Scopes that join share the
 * handle. Errors of the database are Prisma's, with the error of the driver as `cause`.
 *
 * What goes around it: `prisma` itself. Use `tx.db` or `t.client`.
 *
 * Throws `config_invalid` for what is no Prisma client, for one whose adapter is not wrapped, and for a `base` of another
 * driver than the adapter's.
 */
export function prismaDriver<Client extends PrismaInstance>(
  prisma: Client,
  base: Driver<object>,
): Driver<PrismaHandle<Client>> {
  if (!isClient(prisma)) throw invalid('it is no Prisma client');
  const adapter = wrappingOf(adapterOf('_engineConfig' in prisma ? prisma['_engineConfig'] : undefined));
  if (adapter === undefined) throw invalid('its adapter is not wrapped');
  if (adapterDrivers.get(adapter.provider) !== base.name) {
    throw invalid(`its adapter is for ${adapter.provider}, and has no use for ${base.name}`);
  }
  if (base.answers === 'at-once') adapter.alone = connectionAlone(base);
  const opened = new WeakMap<object, Opened>();
  const end: Holding<PrismaHandle<Client>>['end'] = (handle, how) =>
    opened.get(Object(handle) as object)?.end(how);
  return promisingDriver<PrismaHandle<Client>>(base, {
    outside: (adapter.alone === undefined
      ? prisma
      : handleLike(prisma, alone(prisma), refuseAlone)) as PrismaHandle<Client>,
    client(gate) {
      const open = new Opened(prisma, connectionWithin(base, gate));
      const handle = handleLike(
        prisma,
        open,
        nestedBy((work) => gate.nested(work)),
      );
      opened.set(handle, open);
      return handle as PrismaHandle<Client>;
    },
    holding: { end },
  });
}

/** By the provider of Prisma's adapter, the driver of the library that it uses. */
const adapterDrivers = new Map([
  ['postgres', 'pg'],
  ['mysql', 'mariadb'],
  ['sqlite', 'better-sqlite3'],
]);

/** What does the calls of a handle. */
interface Source {
  /** Throws what Prisma does, or what of ours is behind it. */
  call(call: Call): Promise<unknown>;
}

/** Of the handle that is used outside of transactions. */
function alone(prisma: PrismaInstance): Source {
  return {
    async call(call) {
      try {
        return await call(prisma);
      } catch (error) {
        throw explained(error);
      }
    },
  };
}

const refuseAlone = refuseLater('$transaction()', 'Use run()');

/** Prisma's own transaction client for one scope: opened by the first call that is awaited, and held until the scope ends. */
class Opened implements Source {
  readonly #prisma: PrismaInstance;
  readonly #connection: PrismaConnection;
  readonly #ended = Promise.withResolvers<'completed' | 'failed'>();
  /** Where those calls were made that are under way. */
  readonly #calls = new Set<AsyncResource>();
  #opening: Promise<object> | undefined;
  #hasEnded = false;

  constructor(prisma: PrismaInstance, connection: PrismaConnection) {
    this.#prisma = prisma;
    this.#connection = connection;
  }

  async call(call: Call): Promise<unknown> {
    const made = new AsyncResource('SettlePrismaCall');
    this.#calls.add(made);
    try {
      this.#opening ??= this.#open();
      return await call(await this.#opening);
    } catch (error) {
      throw await this.#failure(error);
    } finally {
      this.#calls.delete(made);
    }
  }

  /** What went wrong with a call. Prisma's transaction closes with the scope: why that did, the scope says itself. */
  async #failure(error: unknown): Promise<unknown> {
    // `scope_ended`: no statement gets through any more.
    if (this.#hasEnded && isClosed(error)) await this.#connection.run(async () => {}, 'select 1');
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
      const connection: PrismaConnection = {
        run: (statement, text) => this.#whereCalled(() => this.#connection.run(statement, text)),
      };
      opening(connection, () => prisma.$transaction(hold, unlimited)).catch(reject);
    });
  }

  /**
   * Prisma runs what several transactions ask for in one tick where the first of them asked: for the others that is not
   * the scope they are in. Of several calls of this handle it is not known which it is, but they are mostly of one scope.
   */
  #whereCalled<T>(work: () => T): T {
    const [call, another] = this.#calls;
    return call === undefined || another !== undefined ? work() : call.runInAsyncScope(work);
  }
}

/** The limits are those of the scope. More milliseconds a timer does not take. */
const unlimited = { timeout: 2 ** 31 - 1, maxWait: 2 ** 31 - 1 };

/** Looks like the client, and does everything with the one that is opened. */
function handleLike(prisma: PrismaInstance, source: Source, $transaction: OwnTransaction): object {
  const models = new Map<string, object>();
  return new Proxy(prisma, {
    get(_, key) {
      if (key === '$transaction') return $transaction;
      if (typeof key !== 'string' || withheld.has(key)) return undefined;
      const value: unknown = Reflect.get(prisma, key, prisma);
      if (typeof value === 'function') return callLater(source, (client) => client, key);
      if (typeof value !== 'object' || value === null || key.startsWith('_')) return value;
      const model = models.get(key) ?? modelLike(value, source, key);
      models.set(key, model);
      return model;
    },
  });
}

/** What Prisma's own transaction client does not have. */
const withheld = new Set(['$connect', '$disconnect', '$on', '$use', '$extends']);

function modelLike(model: object, source: Source, name: string): object {
  return new Proxy(model, {
    get(_, key) {
      const value: unknown = Reflect.get(model, key, model);
      if (typeof value !== 'function' || typeof key !== 'string') return value;
      return callLater(source, (client) => Reflect.get(client, name) as object, key);
    },
  });
}

type Find = (client: object) => object;
type Call = (client: object) => unknown;

/** A method that is called on what is found in the client, once the client is open and the call is awaited. */
function callLater(source: Source, find: Find, key: string): (...args: unknown[]) => object {
  return (...args) =>
    lazily(source, (client) => {
      const found = find(client);
      return Reflect.apply(Reflect.get(found, key) as Call, found, args) as unknown;
    });
}

/** Like Prisma's promises: it begins when it is awaited, and has methods that lead on to relations. */
function lazily(source: Source, call: Call): object {
  let running: Promise<unknown> | undefined;
  const run = (): Promise<unknown> => (running ??= source.call(call));
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
      return callLater(source, (client) => call(client) as object, key);
    },
  });
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
    next: 'Pass new PrismaClient({ adapter: prismaAdapter(new PrismaPg(pool)) }), and pgDriver(pool) beneath it',
  });
}
