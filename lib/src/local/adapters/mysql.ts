/** What the drivers of MySQL and MariaDB have in common, mysql2 and mariadb. It knows neither of them. */
import type { SqlResult } from '../../util/sql.ts';
import { mysqlDialect } from '../dialect.ts';
import type { TransactionStatus } from '../driver.ts';

/** https://mariadb.com/docs/server/reference/clientserver-protocol/4-server-response-packets/ok_packet#server-status-flag */
const inTransaction = 1;

export function statusOf(serverStatus: number): TransactionStatus {
  return (serverStatus & inTransaction) === 0 ? 'none' : 'open';
}

/** The SQL of what `query` and `execute` are given first. */
export function textOf(query: unknown): string | undefined {
  if (typeof query === 'string') return query;
  return isObject(query) && typeof query['sql'] === 'string' ? query['sql'] : undefined;
}

/**
 * Does nothing, and is answered with the status. An error is answered without one, and may have ended the transaction: DDL
 * commits before it fails.
 */
export const statusQuery = 'do 0';

/** Whether the server answered so, and is there to be asked for its status. */
export function isAnswer(error: unknown): boolean {
  const { kind } = mysqlDialect.failureOf(error);
  return kind !== 'connection-lost' && kind !== 'unclear';
}

/** A statement of the manager's own; a number, so that nothing has to be quoted. */
export function killQuery(threadId: number): string {
  return `kill query ${threadId}`;
}

export function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null;
}

/** Rows, or the header of what was done. */
export function resultOf(result: unknown): SqlResult {
  if (Array.isArray(result)) return { rows: result, affected: 0 };
  return { rows: [], affected: isObject(result) ? Number(result['affectedRows'] ?? 0) : 0 };
}
