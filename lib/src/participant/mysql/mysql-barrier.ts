import type { BarrierTransaction } from '../barrier.ts';
import { levelText, pooledBarrier, type SqlBarrier, type SqlBarrierOptions } from '../sql/pooled-barrier.ts';
import type { SqlQuery, SqlResult, SqlValue } from '../sql/statement.ts';
import { sqlTransaction, type Nested } from '../sql/transaction.ts';
import { resultOf, type MysqlConnection, type MysqlPool, type MysqlPoolConnection } from './client.ts';
import { mysqlDialect, mysqlMigration } from './queries.ts';

export type MysqlBarrier<Client = MysqlPoolConnection> = SqlBarrier<Client, MysqlConnection>;

/**
 * A barrier in a MySQL or MariaDB database, over a pool of mysql2/promise or of the package mariadb.
 *
 * Right at every isolation level from read committed on. Concurrent calls of one branch queue up and do not deadlock. How
 * long they wait is the server's `innodb_lock_wait_timeout` (50 s unless configured): set it to a few seconds for these
 * connections. Tables of the business have to be InnoDB too.
 *
 * ```ts
 * const guard = mysqlBarrier(createPool('mysql://127.0.0.1/shop'));
 * await guard.migrate();
 * const release = handler((call) => guard.run(call, async (client) => { await client.query('update stock set ...'); }));
 * ```
 */
export function mysqlBarrier<Connection extends MysqlPoolConnection>(
  pool: MysqlPool<Connection>,
  options: SqlBarrierOptions = {},
): MysqlBarrier<Connection> {
  const { isolation } = options;
  return pooledBarrier<Connection, MysqlConnection>(
    {
      acquire: () => pool.getConnection(),
      query: queryOf,
      async begin(client) {
        if (isolation !== undefined)
          await client.query(`set transaction isolation level ${levelText(isolation)}`);
        await client.query('start transaction');
      },
      async commit(client) {
        await client.query('commit');
      },
      async rollback(client) {
        await client.query('rollback');
      },
      release(client, fate) {
        if (fate === 'discard') return client.destroy();
        // The package mariadb answers later; a connection that it cannot take back is its pool's to replace.
        void Promise.resolve(client.release()).catch(() => {});
      },
      async migrate(client) {
        for (const sql of mysqlMigration) await client.query(sql);
      },
    },
    mysqlDialect,
    options,
  );
}

/**
 * What `barrier` needs, over whatever runs statements in a transaction that somebody has begun and will commit: for owners
 * of transactions that hand out neither pool nor client. `nested` runs work within a savepoint; default: by `query`.
 */
export function mysqlTransaction(query: SqlQuery, nested?: Nested): BarrierTransaction {
  return sqlTransaction(query, mysqlDialect, nested);
}

function queryOf(client: MysqlConnection) {
  return async (sql: string, values: readonly SqlValue[]): Promise<SqlResult> =>
    resultOf(await (values.length === 0 ? client.query(sql) : client.execute(sql, [...values])));
}
