/** `settle/participant/mysql`: the barrier for a MySQL or MariaDB database, over mysql2 or mariadb. */
export type { Answer } from '../answer.ts';
export type { MysqlConnection, MysqlPool, MysqlPoolConnection } from './client.ts';
export * from './mysql-barrier.ts';
export { mysqlMigration } from './queries.ts';
export type { Isolation, SqlBarrier, SqlBarrierOptions } from '../sql/pooled-barrier.ts';
export type { Nested } from '../sql/transaction.ts';
export type { SqlQuery, SqlResult, SqlValue } from '../sql/statement.ts';
