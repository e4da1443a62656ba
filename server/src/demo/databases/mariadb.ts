/** A service's database on a MariaDB server. */
import { createPool, type ResultSetHeader, type RowDataPacket } from 'mysql2';
import type { Pool, PoolConnection } from 'mysql2/promise';
import { mysqlBarrier } from 'settle/participant/mysql';
import {
  connectionsMax,
  patienceMs,
  throughQuery,
  type ServiceDatabase,
  type SqlQuery,
} from './service-database.ts';
import type { ColumnTypes } from './tables.ts';

/** Text is compared byte by byte, as the other databases do. */
export const mariadbTypes: ColumnTypes = {
  counter: 'bigint auto_increment primary key',
  integer: 'bigint',
  text: 'varchar(200) character set utf8mb4 collate utf8mb4_nopad_bin',
  table: 'engine = InnoDB',
};

export function openMariadb(url: string): ServiceDatabase {
  const connections = createPool({
    uri: url,
    connectionLimit: connectionsMax,
    connectTimeout: patienceMs,
    supportBigNumbers: true,
    bigNumberStrings: true,
  });
  connections.on('connection', (connection) => {
    // A connection that broke in the meantime says so to its next user.
    connection.query(`set innodb_lock_wait_timeout = ${patienceMs / 1_000}`, () => {});
  });
  const pool = connections.promise();
  // One row at a time: above this level an update by order also locks the place where the next order would go.
  const barrier = mysqlBarrier(pool, { isolation: 'read-committed' });
  return {
    barrier: throughQuery(barrier, queryOf),
    migrate: () => barrier.migrate(),
    query: queryOf(pool),
    types: mariadbTypes,
    close: () => pool.end(),
  };
}

function queryOf(client: Pool | PoolConnection): SqlQuery {
  return async (sql, values) => {
    const [result] = await client.execute<RowDataPacket[] | ResultSetHeader>(sql, [...values]);
    return Array.isArray(result)
      ? { rows: result, affected: result.length }
      : { rows: [], affected: result.affectedRows };
  };
}
