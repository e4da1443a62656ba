import { DatabaseSync } from 'node:sqlite';
import BetterSqlite from 'better-sqlite3';
import { Kysely, sql, SqliteDialect } from 'kysely';
import { describe, expect, test } from 'vitest';
import { betterSqliteDriver } from '../../lib/src/local/adapters/better-sqlite3.ts';
import { kyselyDriver } from '../../lib/src/local/adapters/kysely.ts';
import { nodeSqliteDriver } from '../../lib/src/local/adapters/node-sqlite.ts';
import { localContract } from './contract.ts';
import { sqliteNotes } from './databases.ts';
import type { Subject } from './subject.ts';
import { outcomeOf, thrownBy, turn, worldOf } from './world.ts';

interface Database {
  readonly note: { readonly value: string };
}

const subject: Subject<Kysely<Database>> = {
  name: 'Kysely over better-sqlite3',
  database: sqliteNotes((path) => new BetterSqlite(path)),
  open(_, url) {
    const database = new BetterSqlite(url, { timeout: 0 });
    const db = new Kysely<Database>({ dialect: new SqliteDialect({ database }) });
    return Promise.resolve({
      driver: kyselyDriver(db, betterSqliteDriver(database)),
      close: () => Promise.resolve(void database.close()),
    });
  },
  insert: (db, value) => db.insertInto('note').values({ value }).execute(),
  async values(db) {
    const rows = await db.selectFrom('note').select('value').orderBy('value').execute();
    return rows.map(({ value }) => value);
  },
  raw: (db, text) => sql.raw(text).execute(db),
};

const onNodeSqlite: Subject<Kysely<Database>> = {
  ...subject,
  name: 'Kysely over node:sqlite',
  database: sqliteNotes(),
  open(_, url) {
    const database = new DatabaseSync(url);
    database.exec('pragma busy_timeout = 0');
    const compiling = new BetterSqlite(':memory:');
    // The dialect serves to compile: what runs goes to the driver beneath.
    const db = new Kysely<Database>({ dialect: new SqliteDialect({ database: compiling }) });
    return Promise.resolve({
      driver: kyselyDriver(db, nodeSqliteDriver(database)),
      async close() {
        database.close();
        compiling.close();
      },
    });
  },
};

localContract(subject);
localContract(onNodeSqlite);

describe('what is special to Kysely over better-sqlite3', () => {
  const { transactions, add, insert, expectStored } = worldOf(subject);

  test('a statement of an outer handle waits for the end of the nested scope, and is not part of it', async () => {
    const tx = await transactions();
    await tx.run(async (outer) => {
      const inner = tx.run(
        async () => {
          await add(tx, 'inner');
          await turn();
          throw new Error('inner');
        },
        { propagation: 'nested' },
      );
      const waiting = tx.exit(() => insert(outer.client, 'outer'));
      expect(await outcomeOf(inner)).toBe('inner');
      await waiting;
    });
    await expectStored('outer');
  });

  test('a statement outside of an open transaction is refused, and does not become part of it', async () => {
    const tx = await transactions();
    await tx.run(async () => {
      await add(tx, 'inside');
      expect(await outcomeOf(tx.exit(() => add(tx, 'outside')))).toBe('scope_busy');
    });
    await expectStored('inside');
  });

  test('a transaction that has not run a statement yet holds nobody up', async () => {
    const tx = await transactions();
    await tx.run(async () => {
      await tx.exit(() => add(tx, 'outside'));
      await tx.run(() => add(tx, 'own'), { propagation: 'requiresNew' });
    });
    await expectStored('outside', 'own');
  });

  test('its own transaction() is refused outside of one: it would not wait for the others', async () => {
    const tx = await transactions();
    const own = tx.exit(async () => await tx.db.transaction().execute(() => Promise.resolve()));
    expect(await thrownBy(own)).toMatchObject({ code: 'statement_refused' });
  });

  test('gives generated keys and counts as Kysely does', async () => {
    const tx = await transactions();
    await tx.run(async () => {
      const [inserted] = await tx.db.insertInto('note').values({ value: 'a' }).execute();
      expect(inserted).toMatchObject({ insertId: 1n, numInsertedOrUpdatedRows: 1n });
      const returned = await tx.db.updateTable('note').set({ value: 'b' }).returningAll().execute();
      expect(returned).toEqual([{ value: 'b' }]);
    });
  });
});

describe('what is special to Kysely over node:sqlite', () => {
  const { transactions } = worldOf(onNodeSqlite);

  test('tells how many rows were inserted, and gives them back', async () => {
    const tx = await transactions();
    await tx.run(async () => {
      const inserted = await tx.db.insertInto('note').values({ value: 'kept' }).executeTakeFirst();
      expect(inserted.numInsertedOrUpdatedRows).toBe(1n);
      const returned = await tx.db.updateTable('note').set({ value: 'b' }).returningAll().execute();
      expect(returned).toEqual([{ value: 'b' }]);
    });
  });
});
