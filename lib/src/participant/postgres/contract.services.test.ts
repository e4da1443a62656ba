import { Pool } from 'pg';
import { afterAll, beforeAll, describe, it } from 'vitest';
import { comeOutInSomeOrder, endAsTold } from '../../../../test/barrier/calls-at-once.ts';
import type { ModelCall, Undoing } from '../../../../test/barrier/model.ts';
import { postgresDatabase } from '../../../../test/services/postgres.ts';
import type { Op } from '../../core/outcome.ts';
import type { BarrierCall } from '../barrier.ts';
import { barrierContract } from '../contract.ts';
import { postgresBarrier, type Isolation } from './index.ts';

const database = postgresDatabase();
let pool: Pool;

beforeAll(async () => {
  // As many as the contract has calls at the same time.
  pool = new Pool({ connectionString: database.url, max: 64 });
  await pool.query('create table business (id bigserial primary key, line text not null)');
});

afterAll(() => pool.end());

/** A barrier with nothing in it. */
async function open(isolation: Isolation) {
  // At read committed nothing meets; above it, nearly all of 64 calls at the same time do.
  const guard = postgresBarrier(pool, { isolation, attemptsMax: isolation === 'read-committed' ? 1 : 64 });
  await guard.migrate();
  await pool.query('delete from settle_barrier; delete from business');
  return guard;
}

async function written(): Promise<readonly string[]> {
  const { rows } = await pool.query<{ line: string }>('select line from business order by id');
  return rows.map(({ line }) => line);
}

const insertLine = 'insert into business (line) values ($1)';

describe.each<Isolation>(['read-committed', 'repeatable-read', 'serializable'])('at %s', (isolation) => {
  barrierContract({ describe, it }, 'PostgreSQL', async () => ({
    guard: await open(isolation),
    write: (client, line) => client.query(insertLine, [line]),
    written,
    commit: (client) => client.query('commit'),
    age: (ms) => pool.query('update settle_barrier set created_at = created_at - $1', [ms]),
    dropTables: () => pool.query('drop table settle_barrier'),
  }));

  it.each<Undoing>(['compensate', 'cancel'])(
    'calls at the same time come out as some order of them would: %s',
    async (undo) => {
      const guard = await open(isolation);
      const world = {
        begin: (call: BarrierCall) => guard.begin(call),
        run: (call: BarrierCall, work: ModelCall['work']) =>
          guard.run(call, async (client, { branch, op }) => {
            await client.query(insertLine, [`${branch} ${op}`]);
            endAsTold(work);
          }),
        async effects(branch: string) {
          const { rows } = await pool.query<{ op: Op }>(
            `select split_part(line, ' ', 2) as op from business where line like $1 order by id`,
            [`${branch} %`],
          );
          return rows.map(({ op }) => op);
        },
      };
      await comeOutInSomeOrder(undo, world, { numRuns: 10 });
    },
  );
});
