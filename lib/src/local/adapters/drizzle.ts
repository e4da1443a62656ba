/** `settle/local/drizzle`: local transactions on a database of Drizzle. */
import { SettleError } from '../../util/errors.ts';
import { derivedDriver, type Connection, type Driver } from '../driver.ts';
import { nestedOptionConflict } from './nested-options.ts';
import { refuse, unwrapped } from './orm.ts';

/** The part of a Drizzle database that is used. */
export interface DrizzleDatabase {
  /** The pool it was made with. */
  readonly $client: unknown;
  readonly _: object;
}

/**
 * Transactions on a Drizzle database, over the driver for what it was made with: `drizzleDriver(db, pgDriver)`, or with
 * `postgresJsDriver`, `mysql2Driver`, `betterSqliteDriver`.
 *
 * The handle is of the type of `db`, and keeps its schema, casing, logger and cache. Its own `transaction()` becomes a nested
 * scope, which takes no isolation (`option_conflict`); on better-sqlite3, whose `transaction()` cannot wait, it is refused
 * (`statement_refused`), as are `$client` and MySQL's `iterator()`. Errors of Settle are not wrapped in a
 * `DrizzleQueryError`, those of the database are.
 *
 * Does not see what is done with `db` itself, nor with a query that was prepared with it: use `tx.db` or `t.client`. Outside
 * of every transaction `tx.db` is `db`, and its `transaction()` Drizzle's own; on better-sqlite3 a statement outside of an
 * open transaction is refused (`scope_busy`).
 *
 * ```ts
 * const db = drizzle(pool, { schema });
 * const tx = createTransactions(drizzleDriver(db, pgDriver));
 * await tx.run(() => tx.db.insert(orders).values(order));
 * ```
 *
 * Throws `config_invalid` for anything but a database with one pool.
 */
export function drizzleDriver<Database extends DrizzleDatabase>(
  db: Database,
  beneath: (pool: Database['$client']) => Driver<object>,
): Driver<Database> {
  const original = internalsOf(db);
  const base = beneath(db.$client);
  return derivedDriver<object, Connection, Database>(base, (client, nested) => {
    // Only where all have one connection, a statement outside has to ask whether that is free.
    if (nested === undefined && base.answers === 'later') return db;
    return rebound(original, client, ownTransaction(base, nested)) as Database;
  });
}

type Nested<Client> = <T>(work: (client: Client) => T | PromiseLike<T>) => Promise<T>;
type OwnTransaction = (work: never, config?: unknown) => unknown;

function ownTransaction<Client>(base: Driver<object>, nested: Nested<Client> | undefined): OwnTransaction {
  // It would have to answer at once, and commit at the first await within it.
  if (nested === undefined || base.answers === 'at-once') return refuse('transaction()', useRun);
  return async (work: (client: Client) => unknown, config) => {
    if (isGiven(config)) throw nestedOptionConflict('transaction()');
    return await nested(work);
  };
}

const useRun = 'Use run(), with propagation nested for a savepoint of its own';

/** What Drizzle keeps to itself: every database has it, whatever its dialect. */
interface Internals {
  readonly constructor: new (...args: unknown[]) => Handle;
  readonly dialect: object;
  readonly session: Session;
  readonly $cache: unknown;
  readonly _: { readonly schema?: unknown; readonly fullSchema: unknown; readonly tableNamesMap: unknown };
  /** MySQL's alone. */
  readonly mode?: unknown;
  /** SQLite's alone: `sync`, `async`. */
  readonly resultKind?: unknown;
}

interface Session {
  prepareQuery(...args: unknown[]): PreparedQuery;
}

interface PreparedQuery {
  /** Where every statement that is waited for passes through, and its error is wrapped. */
  queryWithCache?: (this: this, ...args: unknown[]) => Promise<unknown>;
  iterator?: unknown;
}

type Handle = Record<'transaction' | 'rollback' | 'query' | '$cache', unknown> & { _: object };

/** The same database on another client. */
function rebound(db: Internals, client: object, transaction: OwnTransaction): object {
  const session = onClient(db.session, client);
  const handle = onSession(db, session, undefined);
  const { schema, fullSchema, tableNamesMap } = db._;
  if (schema !== undefined) {
    handle._ = { ...handle._, schema, fullSchema, tableNamesMap };
    // Drizzle makes an object for each table; most scopes ask for none of them.
    const query = (): unknown => onSession(db, session, { schema, fullSchema, tableNamesMap }).query;
    Object.defineProperty(handle, 'query', { get: query });
  }
  handle.$cache = db.$cache;
  handle.transaction = transaction;
  handle.rollback = rollback;
  Object.defineProperty(handle, '$client', { get: refuse('$client', 'Use execute(sql`…`)') });
  return handle;
}

function onSession(db: Internals, session: Session, schema: object | undefined): Handle {
  return db.resultKind === undefined
    ? new db.constructor(db.dialect, session, schema, db.mode)
    : new db.constructor(db.resultKind, db.dialect, session, schema);
}

function onClient(session: Session, client: object): Session {
  const bound = Object.create(session, { client: { value: client } }) as Session;
  bound.prepareQuery = (...args) => unwrapping(session.prepareQuery.apply(bound, args));
  return bound;
}

function unwrapping(prepared: PreparedQuery): PreparedQuery {
  if (prepared.iterator !== undefined) prepared.iterator = refuseIterator;
  const { queryWithCache } = prepared;
  if (queryWithCache === undefined) return prepared;
  prepared.queryWithCache = async (...args) => {
    try {
      return await queryWithCache.apply(prepared, args);
    } catch (error) {
      throw unwrapped(error);
    }
  };
  return prepared;
}

const refuseIterator = refuse('iterator()', 'Read in pages: a stream cannot wait for its turn');

/** What Drizzle's own handle of a transaction has. */
function rollback(): never {
  throw new SettleError('transaction_aborted', 'rollback() was called', {
    next: 'Nothing, if you called it: this error rolls back the scope it leaves',
  });
}

/** Whether any of the options says something. */
function isGiven(config: unknown): boolean {
  return (
    typeof config === 'object' &&
    config !== null &&
    Object.values(config).some((value) => value !== undefined)
  );
}

function internalsOf(db: object): Internals {
  if (!isDatabase(db)) {
    throw new SettleError('config_invalid', 'drizzleDriver needs a database of Drizzle and its pool', {
      next: 'Pass what drizzle(pool) returned; not one of its transactions, a mock, or one withReplicas()',
    });
  }
  return db;
}

function isDatabase(db: object | null | undefined): db is Internals {
  return (
    typeof db === 'object' &&
    db !== null &&
    'session' in db &&
    'dialect' in db &&
    '$client' in db &&
    // That of postgres.js is a function.
    (typeof db.$client === 'object' || typeof db.$client === 'function') &&
    // With replicas it is a copy without its class, and its reads go elsewhere.
    Object.getPrototypeOf(db) !== Object.prototype
  );
}
