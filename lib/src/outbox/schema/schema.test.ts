import { DatabaseSync } from 'node:sqlite';
import { expect, test } from 'vitest';
import { thrownBy } from '../../../../test/local/world.ts';
import { nodeSqliteDriver } from '../../local/adapters/node-sqlite.ts';
import { laneCount } from '../message.ts';
import { migrateOutbox, outboxMigration } from './index.ts';

function tablesOf(db: DatabaseSync): unknown {
  return db.prepare("select name, sql from sqlite_master where name not like 'sqlite_%' order by name").all();
}

test('the migration makes on SQLite what its texts make, and they may run again', async () => {
  const [migrated, byText] = [new DatabaseSync(':memory:'), new DatabaseSync(':memory:')];
  await migrateOutbox(nodeSqliteDriver(migrated));
  for (const times of [1, 2]) for (const sql of outboxMigration.sqlite) byText.exec(`${sql}; -- ${times}`);
  expect(tablesOf(byText)).toEqual(tablesOf(migrated));
  // Who has them by text need not migrate, and may.
  await migrateOutbox(nodeSqliteDriver(byText));
  expect(byText.prepare('select count(*) as n from settle_outbox_lanes').get()).toEqual({ n: laneCount });
});

test('a number is never given out twice on SQLite, also when the table was empty in between', async () => {
  const db = new DatabaseSync(':memory:');
  await migrateOutbox(nodeSqliteDriver(db));
  const insert = `insert into settle_outbox (lane, id, target, aggregatetype, type, payload, version)
    values (0, 'a', 'kafka', 'orders', 't', '{}', 1) returning seq`;
  const first = db.prepare(insert).get();
  db.exec('delete from settle_outbox');
  expect([first, db.prepare(insert).get()]).toEqual([{ seq: 1 }, { seq: 2 }]);
});

test('tables of a newer version are refused, and left as they are', async () => {
  const db = new DatabaseSync(':memory:');
  const driver = nodeSqliteDriver(db);
  await migrateOutbox(driver);
  db.exec("update settle_schema set version = 2; insert into settle_schema values ('other', 9)");
  expect(await thrownBy(migrateOutbox(driver))).toMatchObject({
    code: 'store_newer',
    message: expect.stringContaining('version 2, and this program knows 1'),
  });
  expect(db.prepare('select * from settle_schema order by name').all()).toEqual([
    { name: 'other', version: 9 },
    { name: 'outbox', version: 2 },
  ]);
});
