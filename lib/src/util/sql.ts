/** What is said to a SQL database, and what it answers, whatever the driver. */
export type SqlValue = null | number | string;

export interface SqlResult {
  /** Of a select; objects by column name. */
  readonly rows: readonly unknown[];
  /** How many rows were inserted, updated or deleted, as the server counts them. */
  readonly affected: number;
}
