import Knex from 'knex';
import { createPool } from 'mysql2';
import { Client, Pool } from 'pg';
import { describe, expect, expectTypeOf, test, vi } from 'vitest';
import { knexDriver } from '../../lib/src/local/adapters/knex.ts';
import { createTransactions } from '../../lib/src/local/manager.ts';
import { localContract } from './contract.ts';
import { mariadbNotes, postgresNotes, type NoteDatabase } from './databases.ts';
import type { Subject } from './subject.ts';
import { outcomeOf, turn, worldOf } from './world.ts';

const log = { warn() {} };

function subjectOn(client: 'pg' | 'mysql2', database: NoteDatabase): Subject<Knex.Knex> {
  return {
    name: `Knex over ${client}`,
    database,
    open(connectionsMax, url) {
      const knex = Knex({ client, connection: url, pool: { min: 0, max: connectionsMax }, log });
      return Promise.resolve({ driver: knexDriver(knex), close: () => knex.destroy() });
    },
    insert: (knex, value) => knex('note').insert({ value }),
    values: (knex) => knex('note').orderBy('value').pluck('value'),
    raw: (knex, text): unknown => knex.raw(text),
  };
}

const onPg = subjectOn('pg', postgresNotes());
const onMysql2 = subjectOn('mysql2', mariadbNotes());

localContract(onPg);
localContract(onMysql2);

describe('what is special to Knex over pg', () => {
  const { transactions, add, insert, expectStored } = worldOf(onPg);

  test('the handle has the type of the instance, and every way to say a statement goes through it', async () => {
    const tx = await transactions(1);
    expectTypeOf(tx.db).toEqualTypeOf<Knex.Knex>();
    await tx.run(async (t) => {
      const knex = t.client;
      expectTypeOf(knex).toEqualTypeOf<Knex.Knex>();
      expect(knex.isTransaction).toBe(true);
      await knex('note').insert({ value: 'a' });
      await knex.insert({ value: 'b' }).into('note');
      await knex.batchInsert('note', [{ value: 'c' }, { value: 'd' }], 1);
      await knex.raw('insert into ?? values (?)', ['note', 'e']);
      await knex.withUserParams({ who: 'me' })('note').insert({ value: 'f' });
      await knex.schema.table('note', (table) => void table.string('more'));
      await knex.with('w', knex('note')).select('*').from('w');
      expect(
        await knex('note')
          .where('value', knex.raw('?', ['a']))
          .first(),
      ).toMatchObject({ value: 'a' });
      expect(await onPg.values(knex)).toEqual(['a', 'b', 'c', 'd', 'e', 'f']);
      t.setRollbackOnly();
    });
    await expectStored();
  });

  test('listeners of the instance are told of the statements, and of what begins and ends the transaction', async () => {
    const knex = Knex({ client: 'pg', connection: onPg.database.url });
    const told: string[] = [];
    knex.on('query', ({ sql }: { readonly sql: string }) => told.push(sql));
    const tx = createTransactions(knexDriver(knex));
    await tx.run(() => add(tx, 'a'));
    expect(told).toEqual(['begin', 'insert into "note" ("value") values ($1)', 'commit']);
    await knex.destroy();
  });

  test('transacting() makes a query of the instance part of the transaction', async () => {
    const knex = Knex({ client: 'pg', connection: onPg.database.url });
    const tx = createTransactions(knexDriver(knex));
    await tx.run(async (t) => {
      await knex('note')
        .insert({ value: 'a' })
        .transacting(t.client as Knex.Knex.Transaction);
      t.setRollbackOnly();
    });
    await expectStored();
    await knex.destroy();
  });

  test('its own transaction(work) is a nested scope: what fails in it is undone alone', async () => {
    const tx = await transactions(1);
    await tx.run(async () => {
      await add(tx, 'outer');
      const inner = tx.db.transaction(async (own) => {
        expect(tx.current()?.role).toBe('nested');
        await own('note').insert({ value: 'inner' });
        throw new Error('inner');
      });
      expect(await outcomeOf(inner)).toBe('inner');
      await tx.db.transaction((own) => insert(own, 'second'));
    });
    await expectStored('outer', 'second');
  });

  test.each<[string, (knex: Knex.Knex) => unknown, string]>([
    [
      'an isolation',
      (knex) => knex.transaction(async () => {}, { isolationLevel: 'snapshot' }),
      'option_conflict',
    ],
    ['transaction() without a function', (knex) => knex.transaction(), 'statement_refused'],
    ['transactionProvider()', (knex) => knex.transactionProvider()(), 'statement_refused'],
    ['commit()', (knex) => knex.transaction((own) => own.commit()), 'statement_refused'],
    ['rollback()', (knex) => knex.transaction((own) => own.rollback()), 'statement_refused'],
    ['destroy()', (knex) => knex.destroy(), 'statement_refused'],
    ['a COMMIT', (knex) => knex.raw('commit'), 'statement_refused'],
    ['a stream', async (knex) => await readAll(knex('note').stream()), 'statement_refused'],
  ])('refuses %s in a transaction', async (_, call, code) => {
    const tx = await transactions(1);
    expect(await outcomeOf(tx.run(async (t) => void (await call(t.client))))).toBe(code);
    await tx.run(() => add(tx, 'the connection is whole'));
  });

  test.each([
    ['and is not to be cancelled', {}],
    ['and is to be cancelled', { cancel: true }],
  ] as const)(
    'a query whose timeout is over while it waits for its turn is not run, %s',
    async (_, options) => {
      const tx = await transactions(1);
      await tx.run(async () => {
        const first = tx.db.raw('select pg_sleep(0.2)').then(() => 'slept');
        const second = insertWithin(tx.db, 'late', 20, options);
        expect(await outcomeOf(second)).toMatch(/^Defined query timeout of 20ms exceeded/);
        expect(await first).toBe('slept');
        await add(tx, 'after');
      });
      await expectStored('after');
    },
  );

  test('a query whose timeout is over is cancelled on the server, where it is asked to be', async () => {
    const tx = await transactions(1);
    const ran = tx.run(async () => {
      await tx.db.raw('select pg_sleep(10)').timeout(50, { cancel: true });
    });
    expect(await outcomeOf(ran)).toMatch(/timeout of 50ms exceeded/);
    await vi.waitFor(async () => expect(await onPg.database.busyConnections()).toBe(0));
    await tx.run(() => add(tx, 'next'));
    await expectStored('next');
  });

  test('an error of ours comes as it is, one of the database with the statement before it, as Knex has it', async () => {
    const tx = await transactions(1);
    const kept = await tx.run(async (t) => {
      await add(tx, 'a');
      return t.client;
    });
    expect(await outcomeOf(insert(kept, 'late'))).toBe('scope_ended');
    const twice = tx.run(() => add(tx, 'a'));
    expect(await outcomeOf(twice)).toMatch(/^insert into "note" .* - duplicate key/);
  });

  test('a connection that is given up is ended at once, and not when the pool next looks at it', async () => {
    const tx = await transactions(1);
    const observer = new Client({ connectionString: onPg.database.url });
    await observer.connect();
    const named = async (): Promise<number> => {
      const { rows } = await observer.query(
        "select from pg_stat_activity where application_name = 'given up'",
      );
      return rows.length;
    };
    await tx.run(async () => {
      await tx.db.raw("set application_name = 'given up'");
      expect(await named()).toBe(1);
    });
    await vi.waitFor(async () => expect(await named()).toBe(0));
    await observer.end();
  });

  test('a connection of a pool that was handed to Knex may break while idle in a transaction', async () => {
    const pool = new Pool({ connectionString: onPg.database.url, max: 1 });
    pool.on('error', () => {});
    const knex = Knex({ client: 'pg', connectionPool: pool, log });
    const tx = createTransactions(knexDriver(knex));
    const ran = tx.run(async () => {
      await add(tx, 'a');
      await onPg.database.killConnections();
      await vi.waitFor(async () => expect(await outcomeOf(add(tx, 'b'))).not.toBe('returns undefined'));
    });
    expect(await outcomeOf(ran)).toBe('unexpected_rollback');
    await tx.run(() => add(tx, 'next'));
    await expectStored('next');
    await pool.end();
  });

  test.each([
    ['nothing', undefined],
    ['an instance without a pool', Knex({ client: 'pg' })],
    ['a pool', new Pool()],
  ])('refuses %s', (_, given) => {
    // @ts-expect-error -- some of them are no instance
    expect(() => knexDriver(given)).toThrow(/config_invalid: knexDriver needs/);
  });

  test('refuses one of its transactions', async () => {
    const knex = Knex({ client: 'pg', connection: onPg.database.url });
    await knex.transaction(async (own) => {
      expect(() => knexDriver(own)).toThrow(/config_invalid/);
      await turn();
    });
    await knex.destroy();
  });
});

describe('what is special to Knex over mysql2', () => {
  const { transactions, add, expectStored } = worldOf(onMysql2);

  test('DDL that fails has committed all the same, and that is said', async () => {
    const tx = await transactions(1);
    const ran = tx.run(async () => {
      await add(tx, 'before');
      await tx.db.raw('create table note (a int)');
    });
    expect(await outcomeOf(ran)).toBe('implicit_commit');
    await expectStored('before');
  });

  test('a pool that was handed to it does as well', async () => {
    const pool = createPool({ uri: onMysql2.database.url, connectionLimit: 1 });
    // @ts-expect-error -- Knex takes it, but its types do not know it
    const knex = Knex({ client: 'mysql2', connectionPool: pool, log });
    const tx = createTransactions(knexDriver(knex));
    const inserted = await tx.run(() => tx.db('note').insert({ value: 'pooled' }));
    expect(inserted).toEqual([0]);
    expect(await outcomeOf(tx.run(() => tx.db('note').insert({ value: 'pooled' })))).toMatch(/Duplicate/);
    expect(await tx.db('note').where('value', 'pooled').del()).toBe(1);
    await pool.promise().end();
  });
});

async function insertWithin(
  knex: Knex.Knex,
  value: string,
  timeoutMs: number,
  options: { readonly cancel?: true },
): Promise<void> {
  await knex('note')
    .insert({ value })
    .timeout(timeoutMs, { cancel: false, ...options });
}

async function readAll(rows: AsyncIterable<unknown>): Promise<void> {
  for await (const row of rows) expect(row).toBeUndefined();
}
