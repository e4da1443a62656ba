import { createPool, type Pool, type PoolConfig } from 'mariadb';
import { createPool as createCallbackPool } from 'mariadb/callback';
import { describe, expect, test } from 'vitest';
import { mariadbDriver, type MariadbHandle } from '../../lib/src/local/adapters/mariadb.ts';
import { createTransactions } from '../../lib/src/local/manager.ts';
import { cancelGraceMs } from '../../lib/src/local/physical.ts';
import { localContract } from './contract.ts';
import { mariadbNotes } from './databases.ts';
import type { Subject } from './subject.ts';
import { outcomeOf, thrownBy, worldOf } from './world.ts';

const database = mariadbNotes();

const subject: Subject<MariadbHandle<Pool>> = {
  name: 'mariadb',
  database,
  async open(connectionLimit, url) {
    const pool = createPool({ ...serverOf(url), connectionLimit });
    return { driver: mariadbDriver(pool, { connectionLimit }), close: () => pool.end() };
  },
  insert: (client, value) => client.execute('insert into note values (?)', [value]),
  async values(client) {
    const rows = await client.query<{ value: string }[]>('select value from note order by value');
    return rows.map(({ value }) => value);
  },
  raw: (client, sql) => client.query(sql),
};

localContract(subject);

describe('what is special to mariadb', () => {
  const { transactions, add, expectStored } = worldOf(subject);

  test('DDL that fails has committed all the same, and that is said', async () => {
    const tx = await transactions(1);
    const ran = tx.run(async (t) => {
      await add(tx, 'before');
      await t.client.query('create table note (a int)');
    });
    expect(await outcomeOf(ran)).toBe('implicit_commit');
    await expectStored('before');
  });

  test('a batch is one statement of the transaction', async () => {
    const tx = await transactions(1);
    await tx.run(async (t) => {
      await t.client.batch('insert into note values (?)', [['a'], ['b']]);
      expect(await subject.values(t.client)).toEqual(['a', 'b']);
    });
    await expectStored('a', 'b');
  });

  test('a statement is cancelled alone where the pool has a connection to spare', async () => {
    const tx = await transactions(2);
    await tx.run(async (t) => {
      await add(tx, 'outer');
      const slow = tx.run(() => t.client.query('select sleep(10)'), { timeoutMs: 50, propagation: 'nested' });
      expect(await outcomeOf(slow)).toBe('transaction_timeout');
      await add(tx, 'after');
    });
    await expectStored('outer', 'after');
  });

  test('where the pool has none to spare, it is cancelled at once together with its connection', async () => {
    const tx = await transactions(1);
    const beganAtMs = performance.now();
    const slow = tx.run((t) => t.client.query('select sleep(10)'), { timeoutMs: 50 });
    expect(await outcomeOf(slow)).toBe('transaction_timeout');
    // Not only when the manager gives it up.
    expect(performance.now() - beganAtMs).toBeLessThan(cancelGraceMs);
    await tx.run(() => add(tx, 'next'));
    await expectStored('next');
  });

  test('a refused password is told at once, and not when the pool gives up', async () => {
    const pool = createPool({ ...serverOf(database.url), user: 'nobody', password: 'wrong' });
    try {
      const tx = createTransactions(mariadbDriver(pool));
      const thrown = await thrownBy(tx.run((t) => t.client.query('select 1')));
      expect(thrown).toMatchObject({ code: 'database_access_denied' });
    } finally {
      await pool.end();
    }
  });

  const callbackPool = createCallbackPool('mariadb://127.0.0.1:1/none');
  test.each([
    ['nothing', undefined],
    ['a connection', { query: () => {}, execute: () => {}, batch: () => {} }],
    ['a pool of callbacks', callbackPool],
  ])('refuses %s', async (_, given) => {
    // @ts-expect-error -- it is no pool of promises
    expect(() => mariadbDriver(given)).toThrow(/config_invalid: mariadbDriver needs a pool/);
  });
});

function serverOf(url: string): PoolConfig {
  const { hostname, port, username, password, pathname } = new URL(url);
  return { host: hostname, port: Number(port), user: username, password, database: pathname.slice(1) };
}
