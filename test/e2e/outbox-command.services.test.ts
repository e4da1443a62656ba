// `settle outbox` as it is built, on the databases that it says it works on.
import { createPool } from 'mysql2/promise';
import { Pool } from 'pg';
import { createTransactions, type Driver } from 'settle/local';
import { mysql2Driver } from 'settle/local/mysql2';
import { pgDriver } from 'settle/local/pg';
import { createOutbox, defineMessages, message } from 'settle/outbox';
import { createRelay, sqlRelayStore } from 'settle/relay';
import { describe, expect, it } from 'vitest';
import { mariadbDatabase } from '../services/mariadb.ts';
import { postgresDatabase } from '../services/postgres.ts';
import { runSettle } from './settle-process.ts';

const postgres = postgresDatabase();
const mariadb = mariadbDatabase();

const subjects = [
  {
    name: 'PostgreSQL',
    url: () => postgres.url,
    refused: 'password authentication failed|does not exist',
    open: () => {
      const pool = new Pool({ connectionString: postgres.url });
      return { driver: pgDriver(pool) as Driver<unknown>, close: () => pool.end() };
    },
  },
  {
    name: 'MariaDB',
    url: () => mariadb.url.replace(/^mysql:/, 'mariadb:'),
    refused: 'Access denied',
    open: () => {
      const pool = createPool(mariadb.url);
      return { driver: mysql2Driver(pool) as Driver<unknown>, close: () => pool.end() };
    },
  },
];

describe.each(subjects)('settle outbox on $name', ({ url, refused, open }) => {
  const settle = (...args: readonly string[]) =>
    runSettle(['outbox', ...args], { SETTLE_OUTBOX_DATABASE: url() });

  it('makes the tables, lists, replays and deletes dead letters, and counts', async () => {
    expect(await settle('list')).toMatchObject({
      code: 4,
      stderr: expect.stringContaining('settle: tables_missing') as string,
    });
    expect(await settle('migrate')).toMatchObject({ code: 0, stderr: '' });
    expect(await settle('migrate')).toMatchObject({ code: 0 });
    await buryTwo(open());

    expect((await settle('list')).stdout).toMatch(/^o-1 .* poison .* too large\no-2 .*\n$/m);
    expect(JSON.parse((await settle('list', '--id=o-2', '--json')).stdout)).toMatchObject({
      items: [{ id: 'o-2', payload: '{"id":"o-2"}', destination: 'broker:orders' }],
      next: null,
    });
    expect(await settle('replay', '--id=o-1')).toMatchObject({ code: 0, stdout: '1 dead letter put back\n' });
    expect(JSON.parse((await settle('stats', '--json')).stdout)).toMatchObject({ pending: 1, dead: 1 });
    expect(await settle('purge', '--cause=poison')).toMatchObject({ code: 2 });
    expect(await settle('purge', '--cause=poison', '--yes')).toMatchObject({
      code: 0,
      stdout: '1 dead letter deleted\n',
    });
    expect((await settle('stats')).stdout).toMatch(/^pending {2}1, .*\ndelayed {2}0\ndead {5}0\n/);
  });

  it('names what keeps it out, and never the password', async () => {
    const stranger = new URL(url());
    stranger.username = 'nobody_here';
    stranger.password = 'guessed';
    const unwanted = await settle('stats', `--database=${stranger.href}`);
    expect(unwanted).toMatchObject({ code: 4, stdout: '' });
    expect(unwanted.stderr).toMatch(new RegExp(`^settle: database_access_denied: .*(${refused})`));

    const nowhere = new URL(url());
    nowhere.port = '1';
    const missing = await settle('stats', `--database=${nowhere.href}`);
    expect(missing).toMatchObject({ code: 4, stdout: '' });
    expect(missing.stderr).toMatch(/^settle: unavailable: .*ECONNREFUSED.*correct --database/);
    expect(unwanted.stderr + missing.stderr).not.toContain('guessed');
  });

  it('refuses tables of a newer version', async () => {
    const { driver, close } = open();
    const setVersion = async (version: number): Promise<void> => {
      const connection = await driver.acquire({ readOnly: false });
      await connection.query?.(`update settle_schema set version = ${version} where name = 'outbox'`, []);
      await connection.release('reuse');
    };
    try {
      await settle('migrate');
      await setVersion(99);
      expect(await settle('list')).toMatchObject({
        code: 4,
        stderr: expect.stringContaining('settle: store_newer') as string,
      });
      await setVersion(1);
    } finally {
      await close();
    }
  });
});

const messages = defineMessages({
  'order.placed': message<{ id: string }>({ destination: 'broker:orders', key: () => 'c-1' }),
});

async function buryTwo({
  driver,
  close,
}: {
  readonly driver: Driver<unknown>;
  readonly close: () => Promise<void>;
}): Promise<void> {
  try {
    const tx = createTransactions(driver);
    const outbox = createOutbox(tx, messages);
    for (const id of ['o-1', 'o-2']) await tx.run(() => outbox.send('order.placed', { id }, { id }));
    const relay = createRelay({
      store: sqlRelayStore(driver),
      publishers: [
        {
          name: 'broker',
          order: 'each-alone',
          publish: (batch) => Promise.resolve(batch.map(() => ({ kind: 'poison', reason: 'too large' }))),
        },
      ],
    });
    await relay.runOnce();
  } finally {
    await close();
  }
}
