/** `settle/local/better-sqlite3`: local transactions over a database of better-sqlite3. */
import type { Driver } from '../driver.ts';
import { sqliteDriver, type SqliteDatabase, type SqliteHandle } from './sqlite.ts';

/** The part of better-sqlite3's `Database` that is used. */
export interface BetterSqliteDatabase extends SqliteDatabase {
  readonly inTransaction: boolean;
}

/** Transactions over one database of better-sqlite3; its statements return at once, also inside a transaction. */
export function betterSqliteDriver<Database extends BetterSqliteDatabase>(
  db: Database,
): Driver<SqliteHandle<Database>> {
  return sqliteDriver('better-sqlite3', db, () => db.inTransaction);
}
