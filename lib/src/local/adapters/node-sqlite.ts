/** `settle/local/node-sqlite`: local transactions over a `DatabaseSync` of node:sqlite. */
import type { Driver } from '../driver.ts';
import { sqliteDriver, type SqliteDatabase, type SqliteHandle } from './sqlite.ts';

export type { SqliteHandle } from './sqlite.ts';

/** The part of `DatabaseSync` that is used. */
export interface NodeSqliteDatabase extends SqliteDatabase {
  /** Older Nodes do not have it, 22.14 among them. */
  readonly isTransaction?: boolean;
}

/**
 * Transactions over one database of node:sqlite; its statements return at once, also inside a transaction.
 *
 * Where Node does not tell whether a transaction is open (22.14), a COMMIT hidden in `exec` shows only at the end, as SQLite's
 * own error `no transaction is active`: what came before it is committed.
 */
export function nodeSqliteDriver<Database extends NodeSqliteDatabase>(
  db: Database,
): Driver<SqliteHandle<Database>> {
  return sqliteDriver('node:sqlite', db, () => db.isTransaction);
}
