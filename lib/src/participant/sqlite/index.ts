/** `settle/participant/sqlite`: the barrier for a SQLite database, over node:sqlite or better-sqlite3. */
export type { SqliteConnection, SqliteStatement, SqliteValue } from './connection.ts';
export * from './sqlite-barrier.ts';
