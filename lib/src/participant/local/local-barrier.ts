/**
 * The barrier in a transaction of `settle/local`: on whatever driver or ORM that runs, its row is written by the very
 * transaction of the business.
 */
import type { Transaction } from '../../local/transaction.ts';
import type { Transactions } from '../../local/transactions.ts';
import type { Answer } from '../answer.ts';
import { barrier, type BarrierCall, type BarrierTransaction } from '../barrier.ts';
import { guardOver, keyOf, type Guard, type KeptResult } from '../guard.ts';
import { mysqlTransaction } from '../mysql/mysql-barrier.ts';
import { postgresTransaction } from '../postgres/postgres-barrier.ts';
import { attemptsMaxDefault } from '../sql/pooled-barrier.ts';
import type { SqlQuery } from '../sql/statement.ts';
import type { Nested } from '../sql/transaction.ts';
import { sqliteTransaction } from '../sqlite/sqlite-barrier.ts';

export interface LocalBarrier<Client> extends Guard<Client> {
  /**
   * The barrier inside a transaction that is open; its answer stands once that commits. **Let it commit whenever this
   * fulfils**, also with a refusal: the effects of the work are rolled back already. Return `tellAnswer(call, answer)` only
   * after the commit.
   */
  in(
    t: Transaction<Client>,
    call: BarrierCall,
    work: () => KeptResult | PromiseLike<KeptResult>,
  ): Promise<Answer>;
}

export interface LocalBarrierOptions {
  /** How often a transaction is tried that met another one (deadlock, serialization failure). Default 5. */
  readonly attemptsMax?: number;
  /** Milliseconds since 1970, for the age of rows; on SQLite only, the others have a clock. Default: the system's. */
  readonly now?: () => number;
}

/**
 * A barrier over the transactions of one data source.
 *
 * `run` begins a transaction of its own, also inside another one (`requiresNew`): its answer must be committed before the
 * coordinator hears of it. Work uses `tx.db`, or the client it is given. The table is that of the barrier for the database:
 * `postgresBarrier(pool).migrate()`, `mysqlBarrier(pool).migrate()`, `sqliteBarrier(db).migrate()`.
 *
 * Guarantees what `barrier` does. Throws what `Guard.run` does, and what `Transactions.run` throws.
 *
 * ```ts
 * const guard = localBarrier(tx);
 * const reserve = handler((call) => guard.run(call, (db) => db.insert(reservations).values({ sku: 'tea' }).then(() => null)));
 * ```
 */
export function localBarrier<Client>(
  tx: Transactions<Client>,
  options: LocalBarrierOptions = {},
): LocalBarrier<Client> {
  const { attemptsMax = attemptsMaxDefault } = options;
  const transact = <T>(part: (t: BarrierTransaction, client: Client) => T | PromiseLike<T>): Promise<T> =>
    tx.run((t) => part(barrierIn(tx, t, options), t.client), {
      propagation: 'requiresNew',
      retry: { attemptsMax },
      label: 'barrier',
    });
  return {
    ...guardOver<Client>(transact),
    in: async (t, call, work) => barrier(barrierIn(tx, t, options), keyOf(call), work),
  };
}

function barrierIn<Client>(
  tx: Transactions<Client>,
  t: Transaction<Client>,
  options: LocalBarrierOptions,
): BarrierTransaction {
  const query: SqlQuery = (sql, values) => t.query(sql, values);
  const nested: Nested = (work) => t.run(() => work(), { propagation: 'nested' });
  switch (tx.database) {
    case 'postgres':
      return postgresTransaction(query, nested);
    case 'mysql':
      return mysqlTransaction(query, nested);
    case 'sqlite':
      return sqliteTransaction(query, nested, options);
  }
}
