/** The part of a SQLite driver that the barrier needs; `DatabaseSync` of node:sqlite and better-sqlite3 both have it. */
export interface SqliteConnection {
  exec(sql: string): unknown;
  prepare(sql: string): SqliteStatement;
  /** node:sqlite: whether a transaction is open. */
  readonly isTransaction?: boolean;
  /** better-sqlite3: whether a transaction is open. */
  readonly inTransaction?: boolean;
}

export interface SqliteStatement {
  run(...parameters: SqliteValue[]): { readonly changes: number | bigint };
  get(...parameters: SqliteValue[]): unknown;
}

export type SqliteValue = null | number | string;
