// Kysely has no dialect for mariadb. Its dialect of MySQL asks for so little that a pool of mariadb can do it.
import { callbackify } from 'node:util';
import type { Pool, PoolConnection } from 'mariadb';
import type { MysqlPool, MysqlPoolConnection } from 'kysely';

export function callbackPool(pool: Pool): MysqlPool {
  return {
    getConnection: callbackify(async () => callbackConnection(await pool.getConnection())),
    end: callbackify(() => pool.end()),
  };
}

function callbackConnection(connection: PoolConnection): MysqlPoolConnection {
  const query = callbackify((sql: string, values: readonly unknown[]) => connection.query(sql, values));
  return {
    config: {},
    connect: (callback) => callback?.(null),
    threadId: connection.threadId ?? 0,
    destroy: () => connection.destroy(),
    release: () => void connection.release(),
    // What it is without a callback is for streams alone.
    query: query as MysqlPoolConnection['query'],
  };
}
