/** `settle/local/knex`: local transactions on an instance of Knex. */
import { SettleError } from '../../util/errors.ts';
import type { Driver, Gate } from '../driver.ts';
import {
  disposed,
  KnexConnection,
  kinds,
  type KnexClient,
  type KnexKind,
  type KnexQuery,
  type RawConnection,
} from './knex-connection.ts';
import { nestedOptionConflict } from './nested-options.ts';
import { refuse, refuseLater } from './orm.ts';

/** The part of an instance of Knex that is used; its types say nothing of what its client has. */
export interface KnexInstance {
  readonly client: unknown;
  readonly isTransaction?: boolean;
}

/**
 * Transactions on an instance of Knex, over connections of its own pool: `knexDriver(knex)`, for `pg`, `mysql2` and
 * `better-sqlite3`.
 *
 * The handle is of the type of `knex`, and its statements are told to the listeners of `knex`, together with those that begin
 * and end the transaction. Its own `transaction(work)` becomes a nested scope, which takes no isolation
 * (`option_conflict`); `commit()`, `rollback()`, `transaction()` without a function, `destroy()` and streams are refused
 * (`statement_refused`). A query whose `timeout()` is over while it waits for its turn is not run; one that runs already
 * ends before the next one begins.
 *
 * Does not see what is done with `knex` itself: use `tx.db` or `t.client`, or `.transacting(t.client)`. Outside of every
 * transaction `tx.db` is `knex`, and its `transaction()` Knex's own; on better-sqlite3, whose pool has one connection, a
 * statement outside of an open transaction is refused (`scope_busy`).
 *
 * ```ts
 * const knex = Knex({ client: 'pg', connection: url });
 * const tx = createTransactions(knexDriver(knex));
 * await tx.run(() => tx.db('order').insert(order));
 * ```
 *
 * Throws `config_invalid` for anything but an instance of Knex with a pool, and for other databases.
 */
export function knexDriver<Instance extends KnexInstance>(knex: Instance): Driver<Instance> {
  if (!isInstance(knex)) {
    throw new SettleError('config_invalid', 'knexDriver needs an instance of Knex with a pool', {
      next: 'Pass Knex({ client, connection }), not one of its transactions',
    });
  }
  const { client } = knex;
  const kind = kindOf(client);
  let held = 0;
  const driver: Driver<Instance, KnexConnection> = {
    name: 'knex',
    dialect: kind.dialect,
    // Knex gives promises whatever is beneath it: its statements can wait for their turn on any driver.
    answers: 'later',
    get connectionsMax() {
      return client.pool?.max;
    },
    async acquire() {
      const raw = await client.acquireConnection();
      held++;
      return new KnexConnection(raw, client, kind, () => held--);
    },
    outside: kind.oneConnection
      ? onClient(
          knex,
          whenFree(client, () => held),
        )
      : knex,
    client: (gate) => handleOf(knex, gate),
  };
  return driver;
}

type Known = KnexInstance & { readonly client: KnexClient; readonly context: KnexContext };

/** Where an instance of Knex keeps what it does; the instance itself is a function that hands it on. */
interface KnexContext {
  readonly transaction: unknown;
  queryBuilder(): { table(name: unknown, options: unknown): unknown };
}

type Transact = (work: unknown, config?: KnexTransactionConfig) => unknown;

interface KnexTransactionConfig {
  readonly isolationLevel?: unknown;
  readonly readOnly?: unknown;
}

/** The handle of one scope. */
function handleOf<Given extends Known>(knex: Given, gate: Gate<unknown, KnexConnection>): Given {
  const transaction: Transact = async (work, config) => {
    if (typeof work !== 'function') return refuse('transaction() without a function', useRun)();
    if (config?.isolationLevel !== undefined || config?.readOnly !== undefined) {
      throw nestedOptionConflict('transaction()');
    }
    return await gate.nested((client) => Reflect.apply(work, undefined, [client]) as unknown);
  };
  const members: Partial<KnexClient> & Record<string, unknown> = {
    acquireConnection: () => Promise.resolve(new Seat()),
    releaseConnection: () => Promise.resolve(),
    query: (seat, query) => {
      const text = typeof query === 'string' ? query : query.sql;
      return gate.run((connection) => run(connection, seat, query), text);
    },
    // It has to throw, for Knex to tell the stream.
    stream: refuse('stream()', 'Read in pages: a stream cannot wait for its turn'),
    cancelQuery: (seat) => cancel(knex.client, seat),
    transacting: true,
    transaction,
    destroy: refuseLater('destroy()', 'Destroy the instance that was passed to knexDriver'),
  };
  return onClient(knex, Object.assign(like(knex.client), members), {
    isTransaction: true,
    transaction,
    savepoint: transaction,
    commit: refuse('commit()', useReturn),
    rollback: refuse('rollback()', useReturn),
    isCompleted: refuse('isCompleted()', useReturn),
  });
}

const useRun = 'Use run(), with propagation nested for a savepoint of its own';
const useReturn = 'Return from the function to keep what it did, throw to roll it back';

/** What one query of a handle takes for its connection: the real one is known when it is its turn. */
class Seat implements RawConnection {
  /** Knex sets it when the query's own timeout is over. */
  [disposed]?: Error;
  running: RawConnection | undefined;
}

async function run(
  connection: KnexConnection,
  seat: RawConnection,
  query: KnexQuery | string,
): Promise<object> {
  if (!(seat instanceof Seat)) return await connection.run(query);
  if (seat[disposed] !== undefined) throw seat[disposed];
  seat.running = connection.raw;
  try {
    return await connection.run(query);
  } finally {
    seat.running = undefined;
  }
}

/** What waits for its turn needs not be cancelled on the server: it will not be run. */
async function cancel(client: KnexClient, seat: RawConnection): Promise<void> {
  if (!(seat instanceof Seat)) return;
  if (seat.running === undefined) seat[disposed] = new Error('its timeout was over before its turn');
  else await client.cancelQuery(seat.running);
}

/** For statements outside of transactions, where all have one connection: they would wait for it, perhaps for ever. */
function whenFree(client: KnexClient, held: () => number): object {
  return Object.assign(like(client), {
    acquireConnection: async () => {
      if (held() < (client.pool?.max ?? Infinity)) return await client.acquireConnection();
      throw new SettleError('scope_busy', 'knex: a transaction has the connection', {
        next: 'Run it in run() to wait for the end of the other one, or in that transaction',
      });
    },
  });
}

/** The same instance with another client. Knex itself keeps all its state in its client and its context. */
function onClient<Given extends Known>(
  knex: Given,
  client: object,
  own: Record<string, unknown> = {},
): Given {
  const context = Object.assign(like(knex.context), {
    client,
    transaction: own['transaction'] ?? knex.context.transaction,
  });
  const members: Record<string | symbol, unknown> = { ...own, client, context };
  const proxy: Given = new Proxy(knex, {
    apply(_, __, [table, options]: readonly unknown[]) {
      return context.queryBuilder().table(table, options);
    },
    get(target, key) {
      if (Object.hasOwn(members, key)) return members[key];
      return Reflect.get(target, key, proxy) as unknown;
    },
  });
  return proxy;
}

function kindOf({ driverName }: KnexClient): KnexKind {
  const kind = kinds[driverName];
  if (kind !== undefined) return kind;
  throw new SettleError('config_invalid', `knexDriver does not work with ${driverName}`, {
    next: `Use one of ${Object.keys(kinds).join(', ')}`,
  });
}

function isInstance<Given extends KnexInstance>(knex: Given): knex is Given & Known {
  const { client } = (typeof knex === 'function' ? knex : {}) as { client?: Partial<KnexClient> };
  return (
    typeof client === 'object' &&
    typeof client.driverName === 'string' &&
    typeof client.pool === 'object' &&
    knex.isTransaction !== true
  );
}

/** An object that has everything of the other one, and can be changed by itself. */
function like<T extends object>(other: T): T {
  return Object.create(other) as T;
}
