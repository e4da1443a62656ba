/** What the outbox says to a database in a sender's transaction: what is different from one kind to the next. */
import type { Dialect } from '../../local/dialect.ts';
import type { SqlResult, SqlValue } from '../../util/sql.ts';
import type { Draft } from '../draft.ts';

export interface OutboxSql {
  readonly dialect: Dialect;
  /**
   * Takes locks of those numbers, ascending, until the transaction ends. Undefined where one transaction writes at a time, so
   * that the order of writes is the order of commits.
   */
  readonly lock: ((slots: readonly number[]) => Statement) | undefined;
  /** Whether {@link lock} has to be taken for dedup keys, too. */
  readonly locksDedupKeys: boolean;
  /**
   * Remembers dedup keys, given ascending, and gives back those that nobody had written before. Waits for a transaction that
   * has written one of them and is open.
   */
  remember(run: Run, claims: readonly Claim[]): Promise<ReadonlySet<string>>;
  /** Messages one statement carries at most. */
  readonly insertMax: number;
  insert(drafts: readonly Draft[]): Statement;
  insertDelayed(drafts: readonly Draft[]): Statement;
}

export type Run = (statement: Statement) => Promise<SqlResult>;

export interface Statement {
  readonly sql: string;
  readonly values: readonly SqlValue[];
}

/** The message that a dedup key is remembered with. */
export interface Claim {
  readonly dedupKey: string;
  readonly id: string;
}

/** Of both tables, in the order of {@link fieldsOf}. */
export const columns = 'lane, id, target, aggregatetype, aggregateid, type, payload, version, headers';
export const columnCount = 9;

export function fieldsOf(draft: Draft): readonly SqlValue[] {
  const { lane, id, target, address, key, type, payload, version, headers } = draft;
  return [lane, id, target, address, key, type, payload, version, headers];
}

/** Rows of placeholders as MySQL and SQLite write them. */
export function rowsOf(row: string, count: number): string {
  return `${`${row}, `.repeat(count - 1)}${row}`;
}

/** The only column of rows, whatever the user's driver makes of its name. */
export function textsOf(rows: readonly unknown[]): ReadonlySet<string> {
  return new Set(rows.map((row) => String(Object.values(row as object)[0])));
}
