/** What the barrier needs of a SQL connection, whatever the driver and whoever owns the transaction on it. */
import type { SqlResult, SqlValue } from '../../util/sql.ts';
import type { MaybePromise } from '../maybe-async.ts';

/**
 * Runs one statement on one connection, inside its open transaction. Throws what the driver throws. A driver that answers
 * at once keeps the whole barrier synchronous.
 */
export type SqlQuery = (sql: string, values: readonly SqlValue[]) => MaybePromise<SqlResult>;

export type { SqlResult, SqlValue };

/** A statement with its values. */
export interface Statement {
  readonly sql: string;
  readonly values: readonly SqlValue[];
}
