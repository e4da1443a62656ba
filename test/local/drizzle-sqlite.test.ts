import Database from 'better-sqlite3';
import { sql } from 'drizzle-orm';
import { drizzle, type BetterSQLite3Database } from 'drizzle-orm/better-sqlite3';
import { sqliteTable, text } from 'drizzle-orm/sqlite-core';
import { describe, expect, test } from 'vitest';
import { betterSqliteDriver } from '../../lib/src/local/adapters/better-sqlite3.ts';
import { drizzleDriver } from '../../lib/src/local/adapters/drizzle.ts';
import { localContract } from './contract.ts';
import { sqliteNotes } from './databases.ts';
import type { Subject } from './subject.ts';
import { outcomeOf, thrownBy, worldOf } from './world.ts';

const note = sqliteTable('note', { value: text().primaryKey() });

const subject: Subject<BetterSQLite3Database<{ note: typeof note }>> = {
  name: 'Drizzle over better-sqlite3',
  database: sqliteNotes((path) => new Database(path)),
  open(_, url) {
    const client = new Database(url, { timeout: 0 });
    const db = drizzle(client, { schema: { note } });
    return Promise.resolve({
      driver: drizzleDriver(db, betterSqliteDriver),
      close: () => Promise.resolve(void client.close()),
    });
  },
  insert: (db, value) => db.insert(note).values({ value }).run(),
  values: (db) =>
    db
      .select()
      .from(note)
      .orderBy(note.value)
      .all()
      .map(({ value }) => value),
  raw: (db, text) => db.run(sql.raw(text)),
};

localContract(subject);

describe('what is special to Drizzle over better-sqlite3', () => {
  const { transactions, add, expectStored } = worldOf(subject);

  test('statements answer at once, in a transaction and outside of one', async () => {
    const tx = await transactions();
    await tx.run(() => {
      expect(tx.db.insert(note).values({ value: 'a' }).run()).toMatchObject({ changes: 1 });
      expect(tx.db.query.note.findFirst().sync()).toEqual({ value: 'a' });
      expect(tx.db.select().from(note).get()).toEqual({ value: 'a' });
    });
    expect(tx.db.select().from(note).values()).toEqual([['a']]);
  });

  test('its own transaction() is refused in a transaction: it would commit at the first await', async () => {
    const tx = await transactions();
    const ran = tx.run(() => tx.db.transaction(() => 'never'));
    expect(await thrownBy(ran)).toMatchObject({ code: 'statement_refused' });
  });

  test('its own transaction() is refused outside of one: it could not wait for the others', async () => {
    const tx = await transactions();
    expect(() => tx.db.transaction(() => 'never')).toThrow(/statement_refused/);
  });

  test('a statement outside of an open transaction is refused, and does not become part of it', async () => {
    const tx = await transactions();
    await tx.run(async () => {
      await add(tx, 'inside');
      expect(await outcomeOf(tx.exit(() => add(tx, 'outside')))).toBe('scope_busy');
    });
    await expectStored('inside');
  });
});
