// No statement of the hot path may read, or sort, what is behind it in the backlog: whatever the planner knows of the table.
import { createPool, type Pool as MysqlPool, type RowDataPacket } from 'mysql2/promise';
import { Pool } from 'pg';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { mariadbDatabase } from '../../../../test/services/mariadb.ts';
import { postgresDatabase } from '../../../../test/services/postgres.ts';
import { mysql2Driver } from '../../local/adapters/mysql2.ts';
import { pgDriver } from '../../local/adapters/pg.ts';
import { migrateOutbox } from '../../outbox/schema/index.ts';
import type { ReadRequest, Settlement } from '../store.ts';
import { mysqlWords } from './mysql.ts';
import { postgresWords } from './postgres.ts';
import { place, type Statement } from './words.ts';

const rows = 20_000;

const requests: Readonly<Record<string, readonly ReadRequest[]>> = {
  'one lane': [{ lane: 0, after: 0n, limit: 500 }],
  'one lane, more than it has': [{ lane: 0, after: 0n, limit: 100_000 }],
  '64 lanes': Array.from({ length: 64 }, (_, lane) => ({ lane, after: 100n, limit: 50 })),
};

function fill(lanes: number): string {
  return `
    insert into settle_outbox (lane, id, target, aggregatetype, type, payload, version)
    select n % ${lanes}, n::text, 'kafka', 'orders', 't', repeat('x', 200), 1 from generate_series(1, ${rows}) n`;
}

/** How many rows there are on a page is all the planner remembers of their number. */
const exaggerate = `update pg_class set reltuples = reltuples * 1000 where relname = 'settle_outbox'`;

/** Of a statement that runs, and is undone. */
async function postgresPlan(pool: Pool, { sql, values }: Statement): Promise<string> {
  const client = await pool.connect();
  try {
    await client.query('begin');
    const { rows: lines } = await client.query<{ 'QUERY PLAN': string }>(
      `explain (analyze, timing off) ${sql}`,
      [...values],
    );
    return lines.map((line) => line['QUERY PLAN']).join('\n');
  } finally {
    await client.query('rollback');
    client.release();
  }
}

/** How it gets at messages. */
async function mariadbPlan(pool: MysqlPool, { sql, values }: Statement): Promise<readonly string[]> {
  const [explained] = await pool.query<RowDataPacket[]>(`explain ${sql}`, [...values]);
  return explained
    .filter((row) => row['table'] === 'settle_outbox' || row['table'] === 'o')
    .map((row) => `${row['type']} ${row['key']} ${row['Extra']}`);
}

function settled(seqs: readonly bigint[]): Settlement[] {
  return [0, 1].map((lane) => ({ lane, token: 0n, done: seqs, started: [], failed: [], dead: [] }));
}

describe('PostgreSQL', () => {
  const database = postgresDatabase();
  let pool: Pool;

  beforeAll(async () => {
    pool = new Pool({ connectionString: database.url, max: 1 });
    await migrateOutbox(pgDriver(pool));
    await pool.query('alter table settle_outbox set (autovacuum_enabled = false)');
  });

  afterAll(() => pool.end());

  const states: Readonly<Record<string, readonly string[]>> = {
    'was never analyzed': [fill(1)],
    'is taken for a thousand times larger': [fill(1), 'analyze settle_outbox', exaggerate],
    'was analyzed': [fill(1), 'analyze settle_outbox'],
    'was analyzed while it was empty': ['analyze settle_outbox', fill(1)],
    'had one lane when it was analyzed, and has 64': [
      fill(1),
      'analyze settle_outbox',
      'truncate settle_outbox',
      fill(64),
    ],
    'is full of what is deleted, and not vacuumed': [
      fill(1),
      'analyze settle_outbox',
      'delete from settle_outbox where seq % 100 > 0',
    ],
  };

  describe.each(Object.entries(states))('of a table that %s', (_, statements) => {
    beforeAll(async () => {
      await pool.query("delete from pg_statistic where starelid = 'settle_outbox'::regclass");
      await pool.query('truncate settle_outbox');
      for (const sql of statements) await pool.query(sql);
    });

    test.each(Object.entries(requests))(
      'reads of %s follow the primary key, and sort nothing',
      async (_, of) => {
        const plan = await postgresPlan(pool, postgresWords.read(of));
        expect(plan).toContain('Index Scan using settle_outbox_pkey');
        expect(plan).not.toMatch(/Sort|Seq Scan on settle_outbox|Bitmap|JIT/);
      },
    );

    test('deletes look up what is given, and no more', async () => {
      const first = await pool.query<{ seq: string }>('select seq from settle_outbox order by seq limit 100');
      const statement = postgresWords.deleteDone(settled(first.rows.map(({ seq }) => BigInt(seq))));
      expect(await postgresPlan(pool, statement)).toMatch(/Index Scan (?:using|on) settle_outbox_pkey/);
      expect(await postgresPlan(pool, statement)).not.toMatch(/Seq Scan on settle_outbox(?!_lanes)/);
    });

    test('what is given as a list is looked up, and no more', async () => {
      const values = [JSON.stringify([{ lane: 0, seq: '1' }])];
      for (const sql of [
        postgresWords.deleteGiven('settle_outbox'),
        postgresWords.updateGiven('starts = 1', place),
      ]) {
        expect(await postgresPlan(pool, { sql, values })).not.toMatch(/Seq Scan on settle_outbox/);
      }
    });
  });
});

describe('MariaDB', () => {
  const database = mariadbDatabase();
  let pool: MysqlPool;

  beforeAll(async () => {
    pool = createPool({ uri: database.url, connectionLimit: 1 });
    await migrateOutbox(mysql2Driver(pool));
  });

  afterAll(() => pool.end());

  describe.each([0, 100, rows])('of a table with %i rows', (count) => {
    beforeAll(async () => {
      await pool.query('truncate settle_outbox');
      if (count === 0) return;
      await pool.query(`insert into settle_outbox (lane, id, target, aggregatetype, type, payload, version)
        select seq % 2, seq, 'kafka', 'orders', 't', repeat('x', 200), 1 from seq_1_to_${count}`);
    });

    test.each(Object.entries(requests))(
      'reads of %s follow the primary key, and sort nothing',
      async (_, of) => {
        const plan = await mariadbPlan(pool, mysqlWords.read(of));
        expect(plan).toEqual(of.map(() => 'range PRIMARY Using where'));
      },
    );

    test('deletes and updates look up what is given, and lock no more', async () => {
      const values = [JSON.stringify([{ lane: 0, seq: '1' }])];
      for (const statement of [
        mysqlWords.deleteDone(settled([1n, 2n])),
        { sql: mysqlWords.deleteGiven('settle_outbox'), values },
        { sql: mysqlWords.updateGiven('starts = 1', place), values },
      ]) {
        expect(await mariadbPlan(pool, statement)).toEqual(['eq_ref PRIMARY Using where']);
      }
    });
  });
});
