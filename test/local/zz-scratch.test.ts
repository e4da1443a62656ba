import 'reflect-metadata';
import { DataSource, EntitySchema } from 'typeorm';
import { test } from 'vitest';
import { readdirSync } from 'node:fs';
import { betterSqliteDriver } from '../../lib/src/local/adapters/better-sqlite3.ts';
import { typeormDriver } from '../../lib/src/local/adapters/typeorm.ts';
import { createTransactions } from '../../lib/src/local/manager.ts';
const Note = new EntitySchema<{ value: string }>({ name: 'note', columns: { value: { type: String, primary: true } } });
test('x', async () => {
  const source = new DataSource({ type: 'better-sqlite3', database: '/tmp/helpers/scratch/zz.db', entities: [Note], synchronize: true, logging: true });
  await source.initialize();
  const tx = createTransactions(typeormDriver(source, betterSqliteDriver));
  await tx.run(async () => { await tx.db.insert(Note, { value: 'a' + Date.now() }); });
  console.log(await source.manager.find(Note), readdirSync('/tmp/helpers/scratch'));
  await source.destroy();
});
