/** `settle/local/node-sqlite`: local transactions over a `DatabaseSync` of node:sqlite. */
import type { Driver } from '../driver.ts';
import { sqliteDriver, type SqliteDatabase, type SqliteHandle } from './sqlite.ts';

/** The part of `DatabaseSync` that is used. */
export interface NodeSqliteDatabase extends SqliteDatabase {
  /** Older Nodes do not have it, 22.14 among them. */
  readonly isTransaction?: boolean;
}

/** Transactions over one database of node:sqlite; its statements return at once, also inside a transaction. */
export function nodeSqliteDriver<Database extends NodeSqliteDatabase>(
  db: Database,
): Driver<SqliteHandle<Database>> {
  return sqliteDriver('node:sqlite', db, () => db.isTransaction);
}
