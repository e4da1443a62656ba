import { SettleError } from '../../util/errors.ts';
import type { BarrierTransaction } from '../barrier.ts';
import { levelText, pooledBarrier, type SqlBarrier, type SqlBarrierOptions } from '../sql/pooled-barrier.ts';
import type { SqlQuery, SqlResult, SqlValue } from '../sql/statement.ts';
import { sqlTransaction, type Nested } from '../sql/transaction.ts';
import type { ClientOf, PostgresClient, PostgresPool, PostgresPoolClient } from './client.ts';
import { postgresDialect, postgresMigration } from './queries.ts';

export type PostgresBarrier<Client = PostgresPoolClient> = SqlBarrier<Client, PostgresClient>;

export interface PostgresBarrierOptions extends SqlBarrierOptions {
  /**
   * Milliseconds that a statement of a transaction begun by `run` waits for a lock: for one, while another call of the same
   * operation is running. Then it is `unavailable`. Default 5,000; PostgreSQL itself would wait for ever.
   */
  readonly lockTimeoutMs?: number;
}

export const lockTimeoutMsDefault = 5_000;

/**
 * A barrier in a PostgreSQL database, over a pool of the package pg or of its shape.
 *
 * Right at every isolation level. Above read committed, calls that come at the same time meet as serialization failures;
 * they are tried again unseen (`attemptsMax`).
 *
 * ```ts
 * const guard = postgresBarrier(new Pool());
 * await guard.migrate();
 * const release = handler((call) => guard.run(call, (client) => client.query('update stock set ...').then(() => null)));
 * ```
 */
export function postgresBarrier<Pool extends PostgresPool>(
  pool: Pool,
  options: PostgresBarrierOptions = {},
): PostgresBarrier<ClientOf<Pool>> {
  const begin = beginText(options);
  // A packet may bring the end of a connection together with its beginning; that is told before anybody has the client.
  pool.on?.('connect', (client) => client.on('error', ignore));
  return pooledBarrier<ClientOf<Pool>, PostgresClient>(
    {
      async acquire() {
        // The pool's own type says more of its clients than the part of it that is named here.
        const client = (await pool.connect()) as ClientOf<Pool>;
        // A connection that breaks while work does something else than query would end the process.
        client.on('error', ignore);
        return client;
      },
      query: queryOf,
      async begin(client) {
        await client.query(begin);
      },
      async commit(client) {
        const { command } = await client.query('commit');
        if (command === 'COMMIT') return;
        throw new SettleError('unavailable', `the barrier: the server answered COMMIT with ${command}`, {
          next: 'Work must not go on after an error of the database, nor end the transaction',
          retryAfterMs: 1_000,
        });
      },
      async rollback(client) {
        await client.query('rollback');
      },
      release(client, fate) {
        client.removeListener('error', ignore);
        client.release(fate === 'discard');
      },
      async migrate(client) {
        await client.query(postgresMigration);
      },
    },
    postgresDialect,
    options,
  );
}

/**
 * What `barrier` needs, over whatever runs statements in a transaction that somebody has begun and will commit: for owners
 * of transactions that hand out neither pool nor client. `nested` runs work within a savepoint; default: by `query`.
 */
export function postgresTransaction(query: SqlQuery, nested?: Nested): BarrierTransaction {
  return sqlTransaction(query, postgresDialect, nested);
}

function queryOf(client: PostgresClient) {
  return async (sql: string, values: readonly SqlValue[]): Promise<SqlResult> => {
    const { rows, rowCount } = await client.query(sql, [...values]);
    return { rows, affected: rowCount ?? 0 };
  };
}

/** One message to the server. */
function beginText({ isolation, lockTimeoutMs = lockTimeoutMsDefault }: PostgresBarrierOptions): string {
  if (!Number.isInteger(lockTimeoutMs) || lockTimeoutMs < 1) {
    throw new SettleError('config_invalid', `lockTimeoutMs is ${lockTimeoutMs}`, {
      next: 'Give milliseconds from 1 on',
    });
  }
  const level = isolation === undefined ? '' : ` isolation level ${levelText(isolation)}`;
  return `begin${level}; set local lock_timeout = ${lockTimeoutMs}`;
}

function ignore(): void {
  // The query that meets the broken connection rejects.
}
