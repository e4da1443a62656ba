/** `settle/local/better-sqlite3`: local transactions over a database of better-sqlite3. */
import { SettleError } from '../../util/errors.ts';
import type { Driver } from '../driver.ts';
import { sqliteDriver, type SqliteDatabase, type SqliteHandle } from './sqlite.ts';

export type { SqliteHandle } from './sqlite.ts';

/** The part of better-sqlite3's `Database` that is used. */
export interface BetterSqliteDatabase extends SqliteDatabase {
  readonly inTransaction: boolean;
}

/**
 * Transactions over one database of better-sqlite3; its statements return at once, also inside a transaction.
 *
 * The handle has `exec` and `prepare`, and not `transaction`, which would commit when its function awaits. Statements that
 * were prepared with the database itself go around it: they are part of whatever transaction is open.
 *
 * Throws `config_invalid` for what is no database of better-sqlite3.
 *
 * ```ts
 * const tx = createTransactions(betterSqliteDriver(new Database('orders.sqlite')));
 * await tx.run((t) => t.client.prepare('insert into orders values (?)').run(id));
 * ```
 */
export function betterSqliteDriver<Database extends BetterSqliteDatabase>(
  db: Database,
): Driver<SqliteHandle<Database>> {
  if (!tellsOfTransactions(db)) {
    throw new SettleError('config_invalid', 'betterSqliteDriver needs a Database of better-sqlite3', {
      next: 'Pass the database itself; for a DatabaseSync of node:sqlite there is nodeSqliteDriver',
    });
  }
  return sqliteDriver('better-sqlite3', db, () => db.inTransaction);
}

function tellsOfTransactions(db: unknown): boolean {
  return typeof db === 'object' && db !== null && 'inTransaction' in db;
}
