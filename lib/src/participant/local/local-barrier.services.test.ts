import { DatabaseSync } from 'node:sqlite';
import { drizzle } from 'drizzle-orm/node-postgres';
import { pgTable, text } from 'drizzle-orm/pg-core';
import { createPool, type Pool as MysqlPool, type RowDataPacket } from 'mysql2/promise';
import { Pool } from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { mariadbDatabase } from '../../../../test/services/mariadb.ts';
import { postgresDatabase } from '../../../../test/services/postgres.ts';
import { parseBranchName, parseGid } from '../../core/ids.ts';
import { Refused } from '../../define/answers.ts';
import { drizzleDriver } from '../../local/adapters/drizzle.ts';
import { mysql2Driver } from '../../local/adapters/mysql2.ts';
import { nodeSqliteDriver } from '../../local/adapters/node-sqlite.ts';
import { pgDriver } from '../../local/adapters/pg.ts';
import { createTransactions } from '../../local/index.ts';
import { barrierContract, type ContractBarrier } from '../contract.ts';
import { mysqlBarrier } from '../mysql/index.ts';
import { postgresBarrier } from '../postgres/index.ts';
import { sqliteBarrier } from '../sqlite/index.ts';
import { localBarrier } from './index.ts';

const postgres = postgresDatabase();
const mariadb = mariadbDatabase();
let pool: Pool;
let mysqlPool: MysqlPool;

beforeAll(async () => {
  pool = new Pool({ connectionString: postgres.url, max: 64 });
  await pool.query('create table business (id bigserial primary key, line text not null)');
  mysqlPool = createPool({ uri: mariadb.url, connectionLimit: 64 });
  await mysqlPool.query(
    'create table business (id bigint auto_increment primary key, line varchar(200) not null) engine = InnoDB',
  );
});

afterAll(() => Promise.all([pool.end(), mysqlPool.end()]));

const business = pgTable('business', { line: text().notNull() });

type Upkeep = Pick<ContractBarrier<unknown>['guard'], 'migrate' | 'prune'>;

function upkeepOf(barrier: Upkeep): Upkeep {
  return { migrate: () => barrier.migrate(), prune: (options) => barrier.prune(options) };
}

/** Empty tables, and the upkeep of the raw barrier, which is the same table. */
async function openPostgres() {
  const upkeep = upkeepOf(postgresBarrier(pool));
  await upkeep.migrate();
  await pool.query('delete from settle_barrier; delete from business');
  return {
    upkeep,
    written: async () => {
      const { rows } = await pool.query<{ line: string }>('select line from business order by id');
      return rows.map(({ line }) => line);
    },
    age: (ms: number) => pool.query('update settle_barrier set created_at = created_at - $1', [ms]),
    dropTables: () => pool.query('drop table settle_barrier'),
  };
}

barrierContract({ describe, it }, 'settle/local over pg', async () => {
  const { upkeep, ...opened } = await openPostgres();
  return {
    ...opened,
    guard: { ...localBarrier(createTransactions(pgDriver(pool))), ...upkeep },
    write: (client, line) => client.query('insert into business (line) values ($1)', [line]),
    commit: (client) => client.query('commit'),
  };
});

barrierContract({ describe, it }, 'settle/local over Drizzle', async () => {
  const { upkeep, ...opened } = await openPostgres();
  const db = drizzle(pool);
  return {
    ...opened,
    guard: { ...localBarrier(createTransactions(drizzleDriver(db, pgDriver))), ...upkeep },
    write: (client, line) => client.insert(business).values({ line }),
    commit: (client) => client.execute('commit'),
  };
});

barrierContract({ describe, it }, 'settle/local over mysql2', async () => {
  const upkeep = upkeepOf(mysqlBarrier(mysqlPool));
  await upkeep.migrate();
  for (const table of ['settle_barrier', 'business']) await mysqlPool.query(`delete from ${table}`);
  return {
    guard: { ...localBarrier(createTransactions(mysql2Driver(mysqlPool))), ...upkeep },
    write: (client, line) => client.execute('insert into business (line) values (?)', [line]),
    async written() {
      const [rows] = await mysqlPool.query<RowDataPacket[]>('select line from business order by id');
      return rows.map((row) => String(row['line']));
    },
    commit: (client) => client.query('commit'),
    age: (ms) => mysqlPool.query('update settle_barrier set created_at = created_at - ?', [ms]),
    dropTables: () => mysqlPool.query('drop table settle_barrier'),
  };
});

barrierContract({ describe, it }, 'settle/local over node:sqlite', async () => {
  const db = new DatabaseSync(':memory:');
  let nowMs = Date.now();
  db.exec('create table business (line text)');
  const upkeep = upkeepOf(sqliteBarrier(db, { now: () => nowMs }));
  await upkeep.migrate();
  return {
    guard: {
      ...localBarrier(createTransactions(nodeSqliteDriver(db)), { now: () => nowMs }),
      ...upkeep,
    },
    write: (client, line) => client.prepare('insert into business values (?)').run(line),
    written: async () =>
      db
        .prepare('select line from business order by rowid')
        .all()
        .map((row) => String(row['line'])),
    commit: (client) => client.exec('commit'),
    age: (ms) => void (nowMs += ms),
    dropTables: () => db.exec('drop table settle_barrier'),
    dispose: () => db.close(),
  };
});

describe('inside a transaction of the caller', () => {
  const call = { gid: parseGid('g-1'), branch: parseBranchName('b'), op: 'action' } as const;

  it('answer and effect are one with it, and gone with it', async () => {
    const { written } = await openPostgres();
    const tx = createTransactions(pgDriver(pool));
    const guard = localBarrier(tx);
    const work = async (): Promise<string> => {
      await tx.db.query("insert into business (line) values ('effect')");
      return 'result';
    };
    await tx
      .run(async (t) => {
        await guard.in(t, call, work);
        throw new Error('rolls back');
      })
      .catch(() => 'as wanted');
    expect(await written()).toEqual([]);
    const answers = [1, 2].map(() => tx.run((t) => guard.in(t, call, work)));
    expect(await Promise.all(answers)).toEqual([1, 2].map(() => ({ kind: 'done', result: 'result' })));
    expect(await written()).toEqual(['effect']);
  });

  it('a refusal is kept, its effects are not, and the transaction goes on', async () => {
    const { written } = await openPostgres();
    const tx = createTransactions(pgDriver(pool));
    const answer = await tx.run(async (t) => {
      const refused = await localBarrier(tx).in(t, call, async () => {
        await tx.db.query("insert into business (line) values ('undone')");
        throw new Refused('no');
      });
      await tx.db.query("insert into business (line) values ('beside')");
      return refused;
    });
    expect(answer).toEqual({ kind: 'refused', reason: 'no' });
    expect(await written()).toEqual(['beside']);
  });
});
