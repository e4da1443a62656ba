// Kysely has no dialect for mariadb. Its dialect of MySQL asks for so little that a pool of mariadb can do it.
import type { Pool, PoolConnection } from 'mariadb';
import type { MysqlPool, MysqlPoolConnection } from 'kysely';

export function callbackPool(pool: Pool): MysqlPool {
  return {
    getConnection(callback) {
      pool.getConnection().then(
        (connection) => callback(null, callbackConnection(connection)),
        (error: unknown) => callback(error, undefined as never),
      );
    },
    end(callback) {
      pool.end().then(() => callback(null), callback);
    },
  };
}

function callbackConnection(connection: PoolConnection): MysqlPoolConnection {
  type Callback = (error: unknown, result: unknown) => void;
  const query = (text: string, values: readonly unknown[], callback?: Callback): void => {
    connection.query(text, values).then(
      (result: unknown) => callback?.(null, result),
      (error: unknown) => callback?.(error, undefined),
    );
  };
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
