/** `settle/participant/postgres`: the barrier for a PostgreSQL database, over pg. */
export type { Answer } from '../answer.ts';
export type { ClientOf, PostgresClient, PostgresPool, PostgresPoolClient, PostgresResult } from './client.ts';
export * from './postgres-barrier.ts';
export { postgresMigration } from './queries.ts';
export type { Isolation, SqlBarrier, SqlBarrierOptions } from '../sql/pooled-barrier.ts';
export type { Nested } from '../sql/transaction.ts';
export type { SqlQuery, SqlResult, SqlValue } from '../sql/statement.ts';
