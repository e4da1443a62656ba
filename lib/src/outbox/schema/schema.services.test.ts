import { createPool, type Pool as MysqlPool, type RowDataPacket } from 'mysql2/promise';
import { Pool } from 'pg';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { thrownBy } from '../../../../test/local/world.ts';
import { mariadbDatabase } from '../../../../test/services/mariadb.ts';
import { postgresDatabase } from '../../../../test/services/postgres.ts';
import { mysql2Driver } from '../../local/adapters/mysql2.ts';
import { pgDriver } from '../../local/adapters/pg.ts';
import type { Driver } from '../../local/driver.ts';
import { keyLockSlots, migrateOutbox, outboxMigration } from './index.ts';

const postgres = postgresDatabase();
const mariadb = mariadbDatabase();
let pg: Pool;
let mysql: MysqlPool;
let drivers: Readonly<Record<'PostgreSQL' | 'MariaDB', Driver<unknown>>>;

beforeAll(() => {
  pg = new Pool({ connectionString: postgres.url, max: 16 });
  mysql = createPool({ uri: mariadb.url, connectionLimit: 16 });
  drivers = { PostgreSQL: pgDriver(pg), MariaDB: mysql2Driver(mysql) };
});

afterAll(async () => {
  await pg.end();
  await mysql.end();
});

async function run(name: 'PostgreSQL' | 'MariaDB', sql: string): Promise<readonly object[]> {
  if (name === 'PostgreSQL') return (await pg.query<object>(sql)).rows;
  const [rows] = await mysql.query<RowDataPacket[]>(sql);
  return Array.isArray(rows) ? rows : [];
}

async function columnsOf(name: 'PostgreSQL' | 'MariaDB'): Promise<readonly object[]> {
  const schema = name === 'PostgreSQL' ? 'public' : mariadb.name;
  return await run(
    name,
    `select table_name as tab, column_name as col, data_type as type, is_nullable as nullable
     from information_schema.columns
     where table_schema = '${schema}' and table_name like 'settle%' order by 1, 2`,
  );
}

async function drop(name: 'PostgreSQL' | 'MariaDB'): Promise<void> {
  const tables = await columnsOf(name);
  for (const table of new Set(tables.map((row) => String(Reflect.get(row, 'tab'))))) {
    await run(name, `drop table ${table}`);
  }
}

const databases = ['PostgreSQL', 'MariaDB'] as const;

test.each(databases)('twelve processes that migrate at once make the tables once: %s', async (name) => {
  for (let round = 0; round < 3; round++) {
    await Promise.all(Array.from({ length: 12 }, () => migrateOutbox(drivers[name])));
    expect(await run(name, 'select name, version from settle_schema')).toEqual([
      { name: 'outbox', version: 1 },
    ]);
    const [lanes] = await run(name, 'select count(*) as n, max(lane) as last from settle_outbox_lanes');
    expect(Object.values(lanes ?? {}).map(Number)).toEqual([64, 63]);
    if (round < 2) await drop(name);
  }
});

test.each(databases)('the texts make what the migration makes, and may run again: %s', async (name) => {
  await migrateOutbox(drivers[name]);
  const migrated = await columnsOf(name);
  expect(migrated.length).toBeGreaterThan(50);
  await drop(name);
  const texts = outboxMigration[name === 'PostgreSQL' ? 'postgres' : 'mysql'];
  for (const sql of [...texts, ...texts]) await run(name, sql);
  expect(await columnsOf(name)).toEqual(migrated);
});

test.each(databases)('tables of a newer version are refused: %s', async (name) => {
  await migrateOutbox(drivers[name]);
  await run(name, 'update settle_schema set version = 2');
  expect(await thrownBy(migrateOutbox(drivers[name]))).toMatchObject({ code: 'store_newer' });
  await run(name, 'update settle_schema set version = 1');
});

test.each(databases)('a migration that broke off is taken up again: %s', async (name) => {
  await migrateOutbox(drivers[name]);
  await run(name, 'drop table settle_outbox_dedup');
  await run(name, 'delete from settle_schema');
  await migrateOutbox(drivers[name]);
  expect(await run(name, 'select * from settle_outbox_dedup')).toEqual([]);
});

test.each(databases)("the columns are there that Debezium's event router reads: %s", async (name) => {
  await migrateOutbox(drivers[name]);
  await run(name, 'select id, aggregatetype, aggregateid, type, payload from settle_outbox');
});

test.each(databases)('dedup keys are the same only byte by byte: %s', async (name) => {
  await migrateOutbox(drivers[name]);
  await run(
    name,
    `insert into settle_outbox_dedup (dedup_key, message_id) values ('a', '1'), ('A', '2'), ('a ', '3'), ('ä', '4')`,
  );
  const again = run(name, `insert into settle_outbox_dedup (dedup_key, message_id) values ('a ', '5')`);
  expect(await thrownBy(again)).toBeDefined();
});

test('PostgreSQL vacuums after a fixed number of dead rows, and never truncates', async () => {
  await migrateOutbox(drivers.PostgreSQL);
  const rows = await run(
    'PostgreSQL',
    "select reloptions as options from pg_class where relname = 'settle_outbox'",
  );
  expect(rows).toEqual([
    {
      options: [
        'autovacuum_vacuum_scale_factor=0',
        'autovacuum_vacuum_threshold=5000',
        'autovacuum_vacuum_cost_delay=0',
        'autovacuum_vacuum_insert_threshold=-1',
        'vacuum_truncate=false',
      ],
    },
  ]);
});

test('MariaDB has a row for every slot of keys that are locked', async () => {
  await migrateOutbox(drivers.MariaDB);
  expect(await run('MariaDB', 'select count(*) as n from settle_outbox_key_locks')).toEqual([
    { n: keyLockSlots },
  ]);
});
