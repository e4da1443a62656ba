/** `settle/participant/sqlite`: the barrier for a SQLite database, over node:sqlite or better-sqlite3. */
export type { SqliteConnection, SqliteStatement, SqliteValue } from './connection.ts';
export * from './sqlite-barrier.ts';
export type { Nested } from '../sql/transaction.ts';
export type { SqlQuery, SqlResult, SqlValue } from '../sql/statement.ts';
