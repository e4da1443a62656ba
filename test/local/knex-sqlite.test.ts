import BetterSqlite from 'better-sqlite3';
import Knex from 'knex';
import { describe, expect, test } from 'vitest';
import { knexDriver } from '../../lib/src/local/adapters/knex.ts';
import { createTransactions } from '../../lib/src/local/manager.ts';
import { localContract } from './contract.ts';
import { sqliteNotes } from './databases.ts';
import type { Subject } from './subject.ts';
import { outcomeOf, turn, worldOf } from './world.ts';

const subject: Subject<Knex.Knex> = {
  name: 'Knex over better-sqlite3',
  database: sqliteNotes((path) => new BetterSqlite(path)),
  open(_, filename) {
    const knex = Knex({ client: 'better-sqlite3', connection: { filename }, useNullAsDefault: true });
    return Promise.resolve({ driver: knexDriver(knex), close: () => knex.destroy() });
  },
  insert: (knex, value) => knex('note').insert({ value }),
  values: (knex) => knex('note').orderBy('value').pluck('value'),
  raw: (knex, text): unknown => knex.raw(text),
};

localContract(subject);

describe('what is special to Knex over better-sqlite3', () => {
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
    await add(tx, 'afterwards');
    await expectStored('afterwards', 'inside');
  });

  test('altering a table, for which Knex begins a transaction, is a nested scope', async () => {
    const knex = Knex({
      client: 'better-sqlite3',
      connection: { filename: ':memory:' },
      useNullAsDefault: true,
    });
    const tx = createTransactions(knexDriver(knex));
    await tx.run(async () => {
      await tx.db.schema.createTable('note', (table) => void table.string('value').primary());
      await tx.db.schema.alterTable('note', (table) => void table.string('more'));
      await tx.db('note').insert({ value: 'a', more: 'b' });
      await tx.db.schema.alterTable('note', (table) => void table.dropColumn('more'));
    });
    expect(await tx.db('note')).toEqual([{ value: 'a' }]);
    await knex.destroy();
  });

  test('what is in memory survives a connection that would otherwise be given up', async () => {
    const knex = Knex({
      client: 'better-sqlite3',
      connection: { filename: ':memory:' },
      useNullAsDefault: true,
    });
    const tx = createTransactions(knexDriver(knex));
    await tx.run(async () => {
      await tx.db.raw('create table note (value text)');
      await tx.db.raw('create temporary table session (value text)');
    });
    await tx.run(() => add(tx, 'a'));
    expect(await tx.db('note')).toEqual([{ value: 'a' }]);
    await knex.destroy();
  });
});
