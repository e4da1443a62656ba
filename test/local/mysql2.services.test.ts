import { createPool as createCallbackPool } from 'mysql2';
import { createPool, type Pool, type RowDataPacket } from 'mysql2/promise';
import { describe, expect, test } from 'vitest';
import { mysql2Driver, type Mysql2Handle } from '../../lib/src/local/adapters/mysql2.ts';
import { createTransactions } from '../../lib/src/local/manager.ts';
import { localContract } from './contract.ts';
import { mariadbNotes } from './databases.ts';
import type { Subject } from './subject.ts';
import { outcomeOf, worldOf } from './world.ts';

const database = mariadbNotes();

const subject: Subject<Mysql2Handle<Pool>> = {
  name: 'mysql2',
  database,
  async open(connectionsMax, uri) {
    const pool = createPool({ uri, connectionLimit: connectionsMax });
    return { driver: mysql2Driver(pool), close: () => pool.end() };
  },
  insert: (client, value) => client.execute('insert into note values (?)', [value]),
  async values(client) {
    const [rows] = await client.query<RowDataPacket[]>('select value from note order by value');
    return rows.map((row) => String(row['value']));
  },
  raw: (client, sql) => client.query(sql),
};

localContract(subject, 1_000);

describe('what is special to mysql2', () => {
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

  test('a COMMIT hidden among several statements is found out', async () => {
    const pool = createPool({ uri: database.url, multipleStatements: true });
    try {
      const tx = createTransactions(mysql2Driver(pool));
      const hidden = "insert into note values ('a'); commit; select 1";
      expect(await outcomeOf(tx.run((t) => t.client.query(hidden)))).toBe('implicit_commit');
      await expectStored('a');
    } finally {
      await pool.end();
    }
  });

  test('a column called serverStatus is not taken for the server saying so', async () => {
    const tx = await transactions(1);
    await tx.run(async (t) => {
      await add(tx, 'a');
      await t.client.query('select 0 as serverStatus');
      await t.client.query({ sql: 'select 0 as serverStatus', rowsAsArray: true });
      await add(tx, 'b');
    });
    await expectStored('a', 'b');
  });

  test('takes the pool of callbacks, and gives a handle of promises', async () => {
    const pool = createCallbackPool({ uri: database.url, connectionLimit: 3 });
    try {
      const driver = mysql2Driver(pool);
      expect(driver.connectionsMax).toBe(3);
      const tx = createTransactions(driver);
      await tx.run((t) => t.client.execute('insert into note values (?)', ['a']));
      const [rows] = await tx.db.query<RowDataPacket[]>('select value from note');
      expect(rows).toEqual([{ value: 'a' }]);
    } finally {
      await pool.promise().end();
    }
  });

  test('a timeout of one query ends the transaction: the statement goes on on the server', async () => {
    const tx = await transactions(1);
    const ran = tx.run(async (t) => {
      await add(tx, 'gone');
      await t.client.query({ sql: 'select sleep(10)', timeout: 50 });
    });
    expect(await outcomeOf(ran)).toBe('connection_lost');
    await tx.run(() => add(tx, 'next'));
    await expectStored('next');
  });

  test.each([
    ['nothing', undefined],
    ['a URL', 'mysql://127.0.0.1'],
    ['a connection', { query: () => {}, execute: () => {} }],
  ])('refuses %s', (_, given) => {
    // @ts-expect-error -- it is no pool
    expect(() => mysql2Driver(given)).toThrow(/config_invalid: mysql2Driver needs a pool/);
  });
});
