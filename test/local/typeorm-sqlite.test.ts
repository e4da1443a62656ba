import 'reflect-metadata';
import Database from 'better-sqlite3';
import { describe, expect, onTestFinished, test } from 'vitest';
import { DataSource, EntitySchema, type EntityManager } from 'typeorm';
import { betterSqliteDriver } from '../../lib/src/local/adapters/better-sqlite3.ts';
import { typeormDriver } from '../../lib/src/local/adapters/typeorm.ts';
import { createTransactions } from '../../lib/src/local/manager.ts';
import { localContract } from './contract.ts';
import { sqliteNotes } from './databases.ts';
import type { Subject } from './subject.ts';
import { thrownBy } from './world.ts';

const Note = new EntitySchema<{ value: string }>({
  name: 'note',
  columns: { value: { type: String, primary: true } },
});

const sqlite: Subject<EntityManager> = {
  name: 'TypeORM over better-sqlite3',
  database: sqliteNotes((path) => new Database(path)),
  async open(_, database) {
    const source = new DataSource({ type: 'better-sqlite3', database, entities: [Note] });
    await source.initialize();
    return { driver: typeormDriver(source, betterSqliteDriver), close: () => source.destroy() };
  },
  insert: (manager, value) => manager.insert(Note, { value }),
  values: async (manager) =>
    (await manager.find(Note, { order: { value: 'asc' } })).map(({ value }) => value),
  raw: (manager, sql) => manager.query(sql),
};

localContract(sqlite);

describe('TypeORM over better-sqlite3', () => {
  test('outside, a save that would begin a transaction of its own is refused, and a statement while one is open', async () => {
    const { database } = sqlite;
    await database.clear();
    const source = new DataSource({ type: 'better-sqlite3', database: database.url, entities: [Note] });
    await source.initialize();
    onTestFinished(() => source.destroy());
    // From then on it has a query runner, which it gives to everybody.
    await source.manager.find(Note);
    const tx = createTransactions(typeormDriver(source, betterSqliteDriver));
    expect(await thrownBy(tx.db.save(Note, { value: 'alone' }))).toMatchObject({ code: 'statement_refused' });
    await tx.db.insert(Note, { value: 'alone' });
    await tx.run(async () => {
      await tx.db.save(Note, { value: 'inside' });
      expect(await thrownBy(tx.exit(() => tx.db.insert(Note, { value: 'outside' })))).toMatchObject({
        code: 'scope_busy',
      });
    });
    await source.manager.save(Note, { value: 'by itself' });
    expect(await database.stored()).toEqual(['alone', 'by itself', 'inside']);
  });
});
