/** What node:sqlite and better-sqlite3 have in common: one handle that answers at once. */
import { SettleError } from '../../util/errors.ts';
import type { SqlResult, SqlValue } from '../../util/sql.ts';
import { sqliteDialect } from '../dialect.ts';
import type { Connection, Driver, Gate, TransactionStatus } from '../driver.ts';
import { Turns } from '../turns.ts';

export interface SqliteDatabase {
  exec(sql: string): unknown;
  prepare(sql: string): object;
}

export type SqliteHandle<Database extends SqliteDatabase> = Pick<Database, 'exec' | 'prepare'>;

/** How many prepared statements are kept for a handle. */
export const statementsKeptMax = 500;

/**
 * One handle is one connection: transactions on it come one after the other, also those that only read. A statement outside
 * of them is refused while one is open (`scope_busy`), since it could not wait and would become part of it.
 */
export function sqliteDriver<Database extends SqliteDatabase>(
  name: string,
  db: Database,
  isInTransaction: () => boolean | undefined,
): Driver<SqliteHandle<Database>> {
  if (!isDatabase(db)) {
    throw new SettleError('config_invalid', `${name}: needs an open database: it has exec() and prepare()`, {
      next: 'Pass the database itself',
    });
  }
  const turns = new Turns();
  const statements = new Statements(db);
  const leftovers = new Leftovers(db, isInTransaction);
  const connection: Connection = {
    execute(sql) {
      // Prepared, they cost half.
      run(statements.prepare(sql));
      return undefined;
    },
    query: (sql, values) => queried(statements.prepare(sql), sql, values),
    status: () => statusOf(isInTransaction()),
    release(fate) {
      leftovers.mayBe = fate === 'discard';
      try {
        leftovers.remove();
      } catch {
        // It is tried again before anybody uses the handle.
      }
      turns.give();
    },
  };
  const whenFree: Pick<Gate<unknown>, 'runNow'> = {
    runNow(statement) {
      if (turns.taken) {
        throw new SettleError('scope_busy', `${name}: a transaction is open on this handle`, {
          next: 'Run it in run() to wait for the end of the other one, or use another handle',
        });
      }
      leftovers.remove();
      return statement(connection);
    },
  };
  const ready = (): Connection => {
    try {
      leftovers.remove();
      return connection;
    } catch (error) {
      turns.give();
      throw error;
    }
  };
  return {
    name,
    dialect: sqliteDialect,
    answers: 'at-once',
    connectionsMax: 1,
    outside: handle(db, statements, whenFree),
    acquire: () => (turns.tryTake() ? ready() : turns.take().then(ready)),
    client: (gate) => handle(db, statements, gate),
  };
}

/** What a transaction leaves that could not be ended. The handle is the only one: it cannot be given up for another. */
class Leftovers {
  readonly #db: SqliteDatabase;
  readonly #isInTransaction: () => boolean | undefined;
  mayBe = false;

  constructor(db: SqliteDatabase, isInTransaction: () => boolean | undefined) {
    this.#db = db;
    this.#isInTransaction = isInTransaction;
  }

  /** Throws as long as they are in use, by an iterator for one. */
  remove(): void {
    if (!this.mayBe) return;
    const isOpen = this.#isInTransaction();
    try {
      if (isOpen !== false) this.#db.exec('rollback');
    } catch (error) {
      // Where nobody says whether there is one, there may be none.
      if (isOpen === true) throw error;
    }
    this.#db.exec('pragma query_only = 0');
    this.mayBe = false;
  }
}

function handle<Database extends SqliteDatabase>(
  db: Database,
  statements: Statements,
  gate: Pick<Gate<unknown>, 'runNow'>,
): SqliteHandle<Database> {
  return {
    exec: (sql: string) => gate.runNow(() => db.exec(sql), sql),
    prepare: (sql: string) => guarded(sql, statements, gate),
  };
}

/** A statement whose every run goes through the gate. Preparing runs nothing. */
function guarded(sql: string, statements: Statements, gate: Pick<Gate<unknown>, 'runNow'>): object {
  let statement = statements.prepare(sql);
  const own = (): object => {
    // What changes the statement, or leaves it busy, must not concern others who prepare the same text.
    statement = statements.own(sql, statement);
    return statement;
  };
  const proxy: object = new Proxy(statement, {
    get(_, key) {
      const value: unknown = Reflect.get(statement, key, statement);
      if (typeof value !== 'function') return value;
      return (...args: unknown[]) => {
        if (running.has(key)) {
          return gate.runNow(() => Reflect.apply(value, statement, args) as unknown, sql);
        }
        const target = own();
        const method = Reflect.get(target, key, target) as (...args: unknown[]) => unknown;
        const result =
          key === 'iterate' ? gate.runNow(() => method.apply(target, args), sql) : method.apply(target, args);
        return result === target ? proxy : result;
      };
    },
  });
  return proxy;
}

const running = new Set<string | symbol>(['run', 'get', 'all']);

/** Prepared statements by their text, the ones used last. */
class Statements {
  readonly #db: SqliteDatabase;
  readonly #kept = new Map<string, object>();

  constructor(db: SqliteDatabase) {
    this.#db = db;
  }

  prepare(sql: string): object {
    const kept = this.#kept.get(sql);
    if (kept !== undefined) return kept;
    const statement = this.#db.prepare(sql);
    if (this.#kept.size >= statementsKeptMax) {
      const oldest = this.#kept.keys().next();
      if (oldest.done !== true) this.#kept.delete(oldest.value);
    }
    this.#kept.set(sql, statement);
    return statement;
  }

  /** Takes a statement out, for one user alone. */
  own(sql: string, statement: object): object {
    if (this.#kept.get(sql) === statement) this.#kept.delete(sql);
    return statement;
  }
}

/** Undefined: the driver does not say. */
function statusOf(isInTransaction: boolean | undefined): TransactionStatus | undefined {
  if (isInTransaction === undefined) return undefined;
  return isInTransaction ? 'open' : 'none';
}

function queried(statement: object, sql: string, values: readonly SqlValue[]): SqlResult {
  const { all, run } = statement as Record<'all' | 'run', (...values: readonly SqlValue[]) => unknown>;
  if (givesRows(sql)) {
    return { rows: Reflect.apply(all, statement, values) as readonly unknown[], affected: 0 };
  }
  const { changes } = Reflect.apply(run, statement, values) as { readonly changes: number | bigint };
  return { rows: [], affected: Number(changes) };
}

/** By its text: asking the statement itself is not the same in both drivers, nor possible in old ones. */
export function givesRows(sql: string): boolean {
  return /^\s*(?:select|with|pragma)\b|\breturning\b/i.test(sql);
}

function run(statement: object): void {
  (statement as { run(): unknown }).run();
}

function isDatabase(db: unknown): boolean {
  return typeof db === 'object' && db !== null && 'exec' in db && 'prepare' in db;
}
