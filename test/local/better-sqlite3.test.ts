import Database from 'better-sqlite3';
import { describe, expect, test } from 'vitest';
import { betterSqliteDriver } from '../../lib/src/local/adapters/better-sqlite3.ts';
import type { SqliteHandle } from '../../lib/src/local/adapters/sqlite.ts';
import { createTransactions } from '../../lib/src/local/manager.ts';
import { localContract } from './contract.ts';
import { sqliteNotes } from './databases.ts';
import type { Subject } from './subject.ts';
import { outcomeOf, worldOf } from './world.ts';

const database = sqliteNotes((path) => new Database(path));

const subject: Subject<SqliteHandle<Database.Database>> = {
  name: 'better-sqlite3',
  database,
  async open() {
    const db = new Database(database.url, { timeout: 0 });
    return { driver: betterSqliteDriver(db), close: () => Promise.resolve(db.close()).then(() => {}) };
  },
  insert: (client, value) => client.prepare('insert into note values (?)').run(value),
  values: (client) =>
    client
      .prepare<[], { value: string }>('select value from note order by value')
      .all()
      .map(({ value }) => value),
  raw: (client, sql) => client.exec(sql),
};

localContract(subject);

describe('what is special to better-sqlite3', () => {
  const { transactions, add, expectStored } = worldOf(subject);

  test('statements keep their types, pluck() and raw() their own statement', async () => {
    const tx = await transactions();
    await tx.run(({ client }) => {
      client.prepare('insert into note values (?)').run('a');
      const read = 'select value from note';
      expect(client.prepare<[], string>(read).pluck().all()).toEqual(['a']);
      expect(client.prepare(read).raw().get()).toEqual(['a']);
      expect(client.prepare(read).all()).toEqual([{ value: 'a' }]);
      expect([...client.prepare(read).iterate()]).toEqual([{ value: 'a' }]);
      expect(client.prepare(read).reader).toBe(true);
    });
  });

  test('a statement kept beyond its scope is refused', async () => {
    const tx = await transactions();
    const kept = await tx.run(({ client }) => client.prepare('insert into note values (?)'));
    expect(() => kept.run('late')).toThrow(/^scope_ended/);
    await expectStored();
  });

  test('its own transaction() has no place in the handle: it would commit at the first await', async () => {
    const tx = await transactions();
    await tx.run(({ client }) => expect(client).not.toHaveProperty('transaction'));
  });

  test('ON CONFLICT ROLLBACK ends the whole transaction, and nothing goes on in it', async () => {
    const tx = await transactions();
    await tx.run(() => add(tx, 'taken'));
    const ran = tx.run(async ({ client }) => {
      await add(tx, 'gone');
      const insert = client.prepare('insert or rollback into note values (?)');
      expect(() => insert.run('taken')).toThrow(/UNIQUE/);
      expect(await outcomeOf(add(tx, 'after'))).toBe('transaction_aborted');
    });
    expect(await outcomeOf(ran)).toBe('unexpected_rollback');
    await expectStored('taken');
  });

  test('a COMMIT hidden among several statements is found out', async () => {
    const tx = await transactions();
    const hidden = "insert into note values ('a'); commit; select 1";
    expect(await outcomeOf(tx.run(({ client }) => void client.exec(hidden)))).toBe('implicit_commit');
    const failing = "insert into note values ('b'); commit; nonsense";
    expect(await outcomeOf(tx.run(({ client }) => void client.exec(failing)))).toBe('implicit_commit');
    await expectStored('a', 'b');
  });

  test('a COMMIT that is refused leaves no transaction behind', async () => {
    const db = new Database(':memory:');
    db.pragma('foreign_keys = on');
    db.exec('create table parent (id integer primary key)');
    db.exec('create table child (id integer references parent (id) deferrable initially deferred)');
    const tx = createTransactions(betterSqliteDriver(db));
    const ran = tx.run(({ client }) => client.prepare('insert into child values (1)').run());
    expect(await outcomeOf(ran)).toBe('FOREIGN KEY constraint failed');
    expect(db.inTransaction).toBe(false);
    expect(db.prepare('select * from child').all()).toEqual([]);
    db.close();
  });

  test.each([
    ['nothing', undefined],
    ['a path', 'notes.sqlite'],
  ])('refuses %s', (_, given) => {
    // @ts-expect-error -- it is no database
    expect(() => betterSqliteDriver(given)).toThrow(/^config_invalid/);
  });

  test('refuses a database of node:sqlite, which says otherwise whether a transaction is open', async () => {
    const { DatabaseSync } = await import('node:sqlite');
    const db = new DatabaseSync(':memory:');
    // @ts-expect-error -- it has no inTransaction
    expect(() => betterSqliteDriver(db)).toThrow(/^config_invalid/);
    db.close();
  });
});
