/** A service's database on a PostgreSQL server. */
import { Pool } from 'pg';
import { postgresBarrier } from 'settle/participant/postgres';
import {
  connectionsMax,
  patienceMs,
  throughQuery,
  type ServiceDatabase,
  type SqlQuery,
} from './service-database.ts';
import type { ColumnTypes } from './tables.ts';

export const postgresTypes: ColumnTypes = {
  counter: 'bigint generated always as identity primary key',
  integer: 'bigint',
  text: 'text',
  table: '',
};

export function openPostgres(url: string): ServiceDatabase {
  const pool = new Pool({
    connectionString: url,
    max: connectionsMax,
    connectionTimeoutMillis: patienceMs,
  });
  // A connection that breaks while nobody uses it is replaced; without a listener it would end the process.
  pool.on('error', () => {});
  const barrier = postgresBarrier(pool, { lockTimeoutMs: patienceMs });
  return {
    barrier: throughQuery(barrier, queryOf),
    migrate: () => barrier.migrate(),
    query: queryOf(pool),
    types: postgresTypes,
    close: () => pool.end(),
  };
}

interface Queryable {
  query(text: string, values: unknown[]): Promise<{ rows: unknown[]; rowCount: number | null }>;
}

function queryOf(client: Queryable): SqlQuery {
  return async (sql, values) => {
    const { rows, rowCount } = await client.query(numbered(sql), [...values]);
    return { rows, affected: rowCount ?? 0 };
  };
}

/** `?, ?` -> `$1, $2` */
function numbered(sql: string): string {
  let n = 0;
  return sql.replaceAll('?', () => `$${++n}`);
}
