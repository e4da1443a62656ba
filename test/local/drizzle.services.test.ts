import { DrizzleQueryError, sql, TransactionRollbackError, type Logger } from 'drizzle-orm';
import { mysqlTable, varchar as mysqlVarchar } from 'drizzle-orm/mysql-core';
import { drizzle as drizzleMysql2, type MySql2Database } from 'drizzle-orm/mysql2';
import { drizzle, type NodePgDatabase } from 'drizzle-orm/node-postgres';
import { drizzle as drizzlePostgresJs, type PostgresJsDatabase } from 'drizzle-orm/postgres-js';
import { pgTable, varchar } from 'drizzle-orm/pg-core';
import { createPool as createCallbackPool } from 'mysql2';
import { createPool } from 'mysql2/promise';
import { Client, Pool } from 'pg';
import postgres from 'postgres';
import { describe, expect, expectTypeOf, test } from 'vitest';
import { drizzleDriver } from '../../lib/src/local/adapters/drizzle.ts';
import { mysql2Driver } from '../../lib/src/local/adapters/mysql2.ts';
import { pgDriver } from '../../lib/src/local/adapters/pg.ts';
import { postgresJsDriver } from '../../lib/src/local/adapters/postgres-js.ts';
import { createTransactions } from '../../lib/src/local/manager.ts';
import { localContract } from './contract.ts';
import { mariadbNotes, postgresNotes } from './databases.ts';
import type { Subject } from './subject.ts';
import { outcomeOf, thrownBy, worldOf } from './world.ts';

const note = pgTable('note', { value: varchar({ length: 100 }).primaryKey() });
const mysqlNote = mysqlTable('note', { value: mysqlVarchar({ length: 100 }).primaryKey() });

const logged: string[] = [];
const logger: Logger = { logQuery: (query) => void logged.push(query) };

const onPg: Subject<NodePgDatabase<{ note: typeof note }>> = {
  name: 'Drizzle over pg',
  database: postgresNotes(),
  open(connectionsMax, url) {
    const pool = new Pool({ connectionString: url, max: connectionsMax });
    pool.on('error', () => {});
    const db = drizzle(pool, { schema: { note }, logger });
    return Promise.resolve({ driver: drizzleDriver(db, pgDriver), close: () => pool.end() });
  },
  insert: (db, value) => db.insert(note).values({ value }),
  async values(db) {
    const rows = await db.query.note.findMany({ orderBy: note.value });
    return rows.map(({ value }) => value);
  },
  raw: (db, text) => db.execute(sql.raw(text)),
};

const onPostgresJs: Subject<PostgresJsDatabase<{ note: typeof note }>> = {
  name: 'Drizzle over postgres.js',
  database: postgresNotes(),
  open(max, url) {
    const pool = postgres(url, { max, onnotice: () => {} });
    const db = drizzlePostgresJs(pool, { schema: { note }, logger });
    return Promise.resolve({
      driver: drizzleDriver(db, postgresJsDriver),
      close: () => pool.end({ timeout: 1 }),
    });
  },
  insert: (db, value) => db.insert(note).values({ value }),
  async values(db) {
    const rows = await db.query.note.findMany({ orderBy: note.value });
    return rows.map(({ value }) => value);
  },
  raw: (db, text) => db.execute(sql.raw(text)),
};

const onMysql2: Subject<MySql2Database<{ note: typeof mysqlNote }>> = {
  name: 'Drizzle over mysql2',
  database: mariadbNotes(),
  open(connectionLimit, uri) {
    const pool = createPool({ uri, connectionLimit });
    const db = drizzleMysql2(pool, { schema: { note: mysqlNote }, mode: 'default' });
    return Promise.resolve({ driver: drizzleDriver(db, mysql2Driver), close: () => pool.end() });
  },
  insert: (db, value) => db.insert(mysqlNote).values({ value }),
  async values(db) {
    const rows = await db.query.note.findMany({ orderBy: mysqlNote.value });
    return rows.map(({ value }) => value);
  },
  raw: (db, text) => db.execute(sql.raw(text)),
};

localContract(onPg);
localContract(onPostgresJs);
localContract(onMysql2);

describe('what is special to Drizzle over pg', () => {
  const { transactions, add, expectStored } = worldOf(onPg);

  test('the handle has the type, the logger and the relational queries of the database', async () => {
    const pool = new Pool({ connectionString: onPg.database.url });
    const db = drizzle(pool, { schema: { note }, logger });
    const tx = createTransactions(drizzleDriver(db, pgDriver));
    expectTypeOf(tx.db).toEqualTypeOf<typeof db>();
    logged.length = 0;
    await tx.run(async (t) => {
      expectTypeOf(t.client).toEqualTypeOf<typeof db>();
      await t.client.insert(note).values({ value: 'a' });
      expect(await tx.db.query.note.findFirst()).toEqual({ value: 'a' });
    });
    expect(logged).toHaveLength(2);
    await pool.end();
  });

  test('its own transaction() is a nested scope: what fails in it is undone alone', async () => {
    const tx = await transactions(1);
    await tx.run(async () => {
      await add(tx, 'outer');
      const inner = tx.db.transaction(async (own) => {
        expect(tx.current()?.role).toBe('nested');
        await own.insert(note).values({ value: 'by its argument' });
        await add(tx, 'ambient');
        throw new Error('inner');
      });
      expect(await outcomeOf(inner)).toBe('inner');
      expect(await tx.db.transaction(async (own) => await own.$count(note))).toBe(1);
    });
    await expectStored('outer');
  });

  test('rollback() in its own transaction() undoes that alone', async () => {
    const tx = await transactions(1);
    await tx.run(async () => {
      await add(tx, 'outer');
      const inner = tx.db.transaction(async (own) => {
        await own.insert(note).values({ value: 'inner' });
        own.rollback();
      });
      expect(await outcomeOf(inner)).toBe('transaction_aborted');
    });
    await expectStored('outer');
  });

  test('its own transaction() takes no isolation, and says where to say it', async () => {
    const tx = await transactions(1);
    const ran = tx.run(() => tx.db.transaction(() => Promise.resolve(), { isolationLevel: 'serializable' }));
    expect(await thrownBy(ran)).toMatchObject({ code: 'option_conflict' });
  });

  test('outside of every transaction, its own transaction() is Drizzle’s', async () => {
    const tx = await transactions(1);
    const own = tx.db.transaction(async (own) => {
      await own.insert(note).values({ value: 'gone' });
      own.rollback();
    });
    expect(await thrownBy(own)).toBeInstanceOf(TransactionRollbackError);
    await expectStored();
  });

  test('an error of the database is wrapped as Drizzle does it, one of ours is not', async () => {
    const tx = await transactions(1);
    const failing = tx.run(async () => {
      await add(tx, 'twice');
      await add(tx, 'twice');
    });
    const thrown = await thrownBy(failing);
    expect(thrown).toBeInstanceOf(DrizzleQueryError);
    expect(thrown.cause).toMatchObject({ code: '23505' });
    const refused = tx.run(() => tx.db.execute(sql`commit`));
    expect(await outcomeOf(refused)).toBe('statement_refused');
  });

  test('a prepared query belongs to the scope it was prepared in', async () => {
    const tx = await transactions(1);
    const prepared = await tx.run(async (t) => {
      const all = t.client.select().from(note).prepare('all_notes');
      await add(tx, 'a');
      expect(await all.execute()).toEqual([{ value: 'a' }]);
      return all;
    });
    expect(await outcomeOf(prepared.execute())).toBe('scope_ended');
  });

  test('the pool cannot be had by way of the handle', async () => {
    const pool = new Pool({ connectionString: onPg.database.url });
    const tx = createTransactions(drizzleDriver(drizzle(pool), pgDriver));
    expect(tx.db.$client).toBe(pool);
    expect(await outcomeOf(tx.run((t) => t.client.$client.query('select 1')))).toBe('statement_refused');
    await pool.end();
  });

  test('refuses what is no database with a pool', () => {
    const { url } = onPg.database;
    const single = drizzle(new Client({ connectionString: url }));
    // @ts-expect-error -- a single client is no pool
    expect(() => drizzleDriver(single, pgDriver)).toThrow(/config_invalid: pgDriver needs a Pool/);
    // @ts-expect-error -- a mock has no pool
    expect(() => drizzleDriver(drizzle.mock(), pgDriver)).toThrow(/config_invalid/);
    // @ts-expect-error -- nothing has no pool
    expect(() => drizzleDriver(undefined, pgDriver)).toThrow(/config_invalid: drizzleDriver needs/);
    expect(() => drizzleDriver(drizzle(url), mysql2Driver)).toThrow(/config_invalid: mysql2Driver needs/);
  });
});

describe('what is special to Drizzle over mysql2', () => {
  const { transactions, add, expectStored } = worldOf(onMysql2);

  test('takes the pool of callbacks as well', async () => {
    const pool = createCallbackPool({ uri: onMysql2.database.url });
    const tx = createTransactions(drizzleDriver(drizzleMysql2(pool), mysql2Driver));
    await tx.run(() => tx.db.insert(mysqlNote).values({ value: 'a' }));
    await expectStored('a');
    await pool.promise().end();
  });

  test('iterator() is refused: it cannot wait for its turn', async () => {
    const tx = await transactions(1);
    const ran = tx.run(async () => {
      await add(tx, 'a');
      for await (const row of tx.db.select().from(mysqlNote).iterator()) expect.fail(row.value);
    });
    expect(await outcomeOf(ran)).toBe('statement_refused');
  });
});
