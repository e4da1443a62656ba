/**
 * The part of a MySQL or MariaDB driver that the barrier needs; pools and connections of mysql2/promise and of the package
 * mariadb have it. Results differ (a pair here, rows or a header there) and are read by {@link resultOf}.
 */
import type { SqlResult } from '../sql/statement.ts';

export interface MysqlConnection {
  /** For what cannot be prepared, such as a savepoint. */
  query(sql: string): Promise<unknown>;
  /** Values go to the server apart from the text, so that no mode of it can read them as anything else. */
  execute(sql: string, values: MysqlValue[]): Promise<unknown>;
}

export type MysqlValue = null | number | string;

export interface MysqlPoolConnection extends MysqlConnection {
  release(): unknown;
  destroy(): void;
}

export interface MysqlPool<Connection extends MysqlPoolConnection = MysqlPoolConnection> {
  getConnection(): Promise<Connection>;
}

/** What a driver answers: mysql2 a pair of result and columns, mariadb the result alone. */
export function resultOf(answer: unknown): SqlResult {
  const isPair = Array.isArray(answer) && (Array.isArray(answer[0]) || affectedIn(answer[0]) !== undefined);
  const result: unknown = isPair ? answer[0] : answer;
  return { rows: Array.isArray(result) ? result : [], affected: affectedIn(result) ?? 0 };
}

function affectedIn(header: unknown): number | undefined {
  if (typeof header !== 'object' || header === null || !('affectedRows' in header)) return undefined;
  return Number(header.affectedRows);
}
