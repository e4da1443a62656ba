import BetterSqlite from 'better-sqlite3';
import { DatabaseSync } from 'node:sqlite';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { outcomeOf } from '../../../../test/local/world.ts';
import { createTransactions } from '../manager.ts';
import { betterSqliteDriver } from './better-sqlite3.ts';
import { nodeSqliteDriver } from './node-sqlite.ts';

describe('the one handle of SQLite', () => {
  let database: DatabaseSync;

  beforeEach(() => {
    database = new DatabaseSync(':memory:');
    database.exec('create table note (value)');
  });

  afterEach(() => database.close());

  test('can be written after a read-only transaction that somebody ended behind our back', async () => {
    const tx = createTransactions(nodeSqliteDriver(database));
    const read = tx.run((t) => t.client.exec('select 1; commit'), { readOnly: true });
    // Older Nodes do not tell whether a transaction is open.
    const told = 'isTransaction' in database ? 'implicit_commit' : 'no transaction is active';
    expect(await outcomeOf(read)).toContain(told);
    expect(await outcomeOf(tx.run((t) => t.client.exec('insert into note values (1)')))).toBe(
      'returns undefined',
    );
  });

  test('is not waited for longer than a signal allows', async () => {
    const tx = createTransactions(nodeSqliteDriver(database));
    const abort = new AbortController();
    const release = Promise.withResolvers<void>();
    const first = tx.run(() => release.promise);
    const second = outcomeOf(tx.run(() => {}, { signal: abort.signal }));
    abort.abort();
    expect(await second).toBe('transaction_cancelled');
    release.resolve();
    await first;
    expect(await tx.run(() => 'third')).toBe('third');
  });
});

describe('the handle of better-sqlite3', () => {
  let database: BetterSqlite.Database;

  beforeEach(() => {
    database = new BetterSqlite(':memory:');
    database.exec('create table note (value); insert into note values (1), (2)');
  });

  afterEach(() => database.close());

  test('has no transaction left over from one that could neither be committed nor rolled back', async () => {
    const tx = createTransactions(betterSqliteDriver(database));
    let rows: Iterator<unknown> | undefined;
    const stuck = tx.run((t) => {
      t.client.prepare('insert into note values (3)').run();
      rows = t.client.prepare('select value from note').iterate();
      rows.next();
    });
    expect(await outcomeOf(stuck)).toContain('busy executing a query');
    // Until the iterator is at its end, nothing can be done with the handle.
    expect(await outcomeOf(tx.run((t) => t.client.exec('insert into note values (4)')))).not.toBe(
      'returns undefined',
    );
    rows?.return?.();
    expect(await outcomeOf(tx.run((t) => t.client.exec('insert into note values (5)')))).toContain('returns');
    expect(database.prepare('select value from note').pluck().all()).toEqual([1, 2, 5]);
  });

  test('takes no statement outside of transactions for part of one that was left over', async () => {
    const tx = createTransactions(betterSqliteDriver(database));
    let rows: Iterator<unknown> | undefined;
    const stuck = tx.run((t) => {
      t.client.prepare('insert into note values (3)').run();
      rows = t.client.prepare('select value from note').iterate();
      rows.next();
    });
    await outcomeOf(stuck);
    rows?.return?.();
    tx.db.exec('insert into note values (4)');
    expect(database.inTransaction).toBe(false);
    expect(database.prepare('select value from note').pluck().all()).toEqual([1, 2, 4]);
  });
});
