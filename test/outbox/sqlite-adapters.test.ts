import 'reflect-metadata';
import { DatabaseSync } from 'node:sqlite';
import BetterSqlite from 'better-sqlite3';
import { drizzle } from 'drizzle-orm/better-sqlite3';
import Knex from 'knex';
import { Kysely, SqliteDialect } from 'kysely';
import { DataSource } from 'typeorm';
import { betterSqliteDriver } from '../../lib/src/local/adapters/better-sqlite3.ts';
import { drizzleDriver } from '../../lib/src/local/adapters/drizzle.ts';
import { knexDriver } from '../../lib/src/local/adapters/knex.ts';
import { kyselyDriver } from '../../lib/src/local/adapters/kysely.ts';
import { nodeSqliteDriver } from '../../lib/src/local/adapters/node-sqlite.ts';
import { typeormDriver } from '../../lib/src/local/adapters/typeorm.ts';
import type { Driver } from '../../lib/src/local/driver.ts';
import { sendingWorksWith, type OpenSubject } from './sending-contract.ts';
import { tablesOver } from './tables.ts';

const filename = ':memory:';

sendingWorksWith('node:sqlite', async () => {
  const db = new DatabaseSync(filename);
  return over(nodeSqliteDriver(db), () => db.close());
});

sendingWorksWith('better-sqlite3', async () => {
  const db = new BetterSqlite(filename);
  return over(betterSqliteDriver(db), () => db.close());
});

sendingWorksWith('Kysely over better-sqlite3', async () => {
  const database = new BetterSqlite(filename);
  const db = new Kysely({ dialect: new SqliteDialect({ database }) });
  return over(kyselyDriver(db, betterSqliteDriver(database)), () => database.close());
});

sendingWorksWith('Drizzle over better-sqlite3', async () => {
  const db = new BetterSqlite(filename);
  return over(drizzleDriver(drizzle(db), betterSqliteDriver), () => db.close());
});

sendingWorksWith('Knex over better-sqlite3', async () => {
  const knex = Knex({ client: 'better-sqlite3', connection: { filename }, useNullAsDefault: true });
  return over(knexDriver(knex), () => knex.destroy());
});

sendingWorksWith('TypeORM over better-sqlite3', async () => {
  const source = await new DataSource({ type: 'better-sqlite3', database: filename }).initialize();
  return over(typeormDriver(source, betterSqliteDriver), () => source.destroy());
});

function over(driver: Driver<unknown>, close: () => unknown): OpenSubject {
  return { driver, tables: tablesOver(driver), close: async () => void (await close()) };
}
