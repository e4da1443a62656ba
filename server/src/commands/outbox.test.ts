import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { isSettleError } from 'settle/core';
import { createTransactions } from 'settle/local';
import { nodeSqliteDriver } from 'settle/local/node-sqlite';
import { createOutbox, defineMessages, message } from 'settle/outbox';
import { createRelay, sqlRelayStore } from 'settle/relay';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { exitCodeOf } from '../exit-codes.ts';
import { outboxCommand } from './outbox.ts';

let dir = '';
let file = '';
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'settle-outbox-'));
  file = join(dir, 'orders.db');
});
afterEach(() => rmSync(dir, { recursive: true }));

describe('settle outbox on a database with dead letters', () => {
  beforeEach(async () => {
    await settle('migrate');
    await send('o-1', 'o-2', 'o-3');
    await relay(() => ({ kind: 'poison', reason: 'too large\u001B[2J' }));
    await send('o-4');
  });

  it('lists them as a table in which nothing steers the terminal', async () => {
    const lines = (await settle('list')).split('\n');
    expect(lines[0]).toMatch(/^id +type +key +destination +died +cause +attempts +reason$/);
    expect(lines[1]).toMatch(/^o-1 +order\.placed +c-1 +broker:orders +\S+Z +poison +\d+ +too large \[2J$/);
    expect(lines).toHaveLength(4);
  });

  it('lists them in pages, as JSON, by id, type and cause', async () => {
    const first = await parsed('list', '--limit=2');
    expect(first.items?.map(({ id }) => id)).toEqual(['o-1', 'o-2']);
    expect(first.items?.[0]).toMatchObject({ payload: '{"id":"o-1"}', destination: 'broker:orders' });
    const second = await parsed('list', `--cursor=${first.next}`);
    expect(second).toMatchObject({ items: [{ id: 'o-3' }], next: null });
    expect((await parsed('list', '--id=o-2,o-3')).items).toHaveLength(2);
    expect((await parsed('list', '--id=o-2', '--id=o-3')).items).toHaveLength(2);
    expect((await parsed('list', '--type=order.paid')).items).toEqual([]);
    expect((await parsed('list', '--cause=crash')).items).toEqual([]);
  });

  it('says with which cursor to go on, and when there is nothing', async () => {
    expect(await settle('list', '--limit=1')).toMatch(/there are more: --cursor \S+$/);
    expect(await settle('list', '--type=order.paid')).toBe('no dead letters');
  });

  it('replays those that are named: they are published again, and dead no more', async () => {
    expect(await settle('replay', '--id=o-1')).toBe('1 dead letter put back');
    expect(await relay(() => ({ kind: 'published' }))).toEqual(['o-1', 'o-4']);
    expect(await parsed('replay', '--cause=poison')).toEqual({ replayed: 2 });
    expect(await parsed('replay', '--all')).toEqual({ replayed: 0 });
    expect((await parsed('stats')).pending).toBe(2);
  });

  it('deletes those that are named, for good', async () => {
    expect(await settle('purge', '--type=order.placed', '--yes')).toBe('3 dead letters deleted');
    expect(await relay(() => ({ kind: 'published' }))).toEqual(['o-4']);
  });

  it('counts what waits, what died and who relays', async () => {
    expect(await settle('stats')).toMatch(
      /^pending {2}1, the oldest for \d+ ms\ndelayed {2}0\ndead {5}3\nrelays {3}0\nlanes {4}0 of 64 held$/,
    );
    expect(await parsed('stats')).toMatchObject({ pending: 1, delayed: 0, dead: 3, relays: 0, lanes: 64 });
  });

  it('takes the database from the environment', async () => {
    process.env['SETTLE_OUTBOX_DATABASE'] = `sqlite:${file}`;
    try {
      expect(await run(['stats', '--json'])).toContain('"dead": 3');
    } finally {
      delete process.env['SETTLE_OUTBOX_DATABASE'];
    }
  });
});

describe('settle outbox does nothing, and says why,', () => {
  it.each([
    ['without a verb', [], 'needs to be told what to do'],
    ['for a verb that is none', ['lst'], 'Did you mean list?'],
    ['without a database', ['list'], '--database is missing'],
    [
      'for a database it does not know',
      ['list', '--database=redis://secret'],
      '--database must be postgres://',
    ],
    ['when replay is not told which', ['replay', '--database=sqlite:x.db'], '--all for every one'],
    ['when purge is not told which', ['purge', '--database=sqlite:x.db', '--yes'], '--all for every one'],
    ['when purge is not sure', ['purge', '--database=sqlite:x.db', '--all'], '--yes is missing'],
    ['for all of some', ['replay', '--database=sqlite:x.db', '--all', '--id=a'], '--all goes with none'],
    ['for a flag of another verb', ['stats', '--database=sqlite:x.db', '--yes'], '--yes is not an option'],
    [
      'for a cause that is none',
      ['list', '--database=sqlite:x.db', '--cause=bad'],
      'poison, attempts, crash',
    ],
    ['when sql is not told for what', ['sql'], '--dialect is missing'],
  ])('%s', async (_, argv, says) => {
    const { code, text } = await failure(argv);
    expect(text).toContain(says);
    expect(text).not.toContain('secret');
    expect(code).toBe(2);
  });

  it('where the file is missing, and makes none', async () => {
    expect(await failure(['stats', `--database=sqlite:${file}`])).toEqual({
      code: 4,
      text: expect.stringMatching(/^unavailable: there is no file/) as string,
    });
    expect(existsSync(file)).toBe(false);
  });

  it('where the tables are missing', async () => {
    new DatabaseSync(file).close();
    const { code, text } = await failure(['list', `--database=sqlite:${file}`]);
    expect(text).toMatch(/^tables_missing: .*settle outbox migrate creates the tables$/);
    expect(code).toBe(4);
  });

  it.each(['list', 'stats', 'replay --all', 'purge --all --yes', 'migrate'])(
    'where the tables are of a newer version: %s',
    async (command) => {
      await settle('migrate');
      const db = new DatabaseSync(file);
      db.exec('update settle_schema set version = 99');
      db.close();
      const { code, text } = await failure([...command.split(' '), `--database=sqlite:${file}`]);
      expect(text).toMatch(/^store_newer: /);
      expect(code).toBe(4);
    },
  );

  it('for a cursor that is none', async () => {
    await settle('migrate');
    expect(await failure(['list', '--cursor=abc', `--database=sqlite:${file}`])).toMatchObject({ code: 2 });
  });
});

it('what settle outbox sql prints makes the tables', async () => {
  const db = new DatabaseSync(file);
  db.exec(await run(['sql', '--dialect=sqlite']));
  db.close();
  expect((await parsed('stats')).pending).toBe(0);
});

it('settle outbox sql has statements for MariaDB, which are those for MySQL', async () => {
  const mariadb = await run(['sql', '--dialect=mariadb']);
  expect(mariadb).toBe(await run(['sql', '--dialect=mysql']));
  expect(mariadb).toMatch(/^create table if not exists settle_schema[^;]+;\n\n/);
  expect(mariadb).toContain('\n  lane int not null,\n');
});

async function run(argv: readonly string[]): Promise<string> {
  const printed: string[] = [];
  expect(await outboxCommand(argv, (text) => printed.push(text))).toBe(0);
  return printed.join('\n');
}

function settle(kind: string, ...flags: readonly string[]): Promise<string> {
  return run([kind, ...flags, `--database=sqlite:${file}`]);
}

interface Parsed {
  readonly items?: readonly { readonly id: string }[];
  readonly next?: string | null;
  readonly pending?: number;
}

async function parsed(kind: string, ...flags: readonly string[]): Promise<Parsed> {
  return JSON.parse(await settle(kind, ...flags, '--json')) as Parsed;
}

async function failure(argv: readonly string[]): Promise<{ readonly code: number; readonly text: string }> {
  try {
    await run(argv);
  } catch (error) {
    if (!isSettleError(error)) throw error;
    return { code: exitCodeOf(error), text: `${error.message}. ${error.next}` };
  }
  throw new Error('it was done');
}

const messages = defineMessages({
  'order.placed': message<{ id: string }>({ destination: 'broker:orders', key: () => 'c-1' }),
});

async function send(...ids: readonly string[]): Promise<void> {
  const db = new DatabaseSync(file);
  const tx = createTransactions(nodeSqliteDriver(db));
  const outbox = createOutbox(tx, messages);
  for (const id of ids) await tx.run(() => outbox.send('order.placed', { id }, { id }));
  db.close();
}

/** Publishes what there is; gives back the ids that were offered, sorted. */
async function relay(
  answer: () => { readonly kind: 'published' } | { readonly kind: 'poison'; readonly reason: string },
): Promise<readonly string[]> {
  const db = new DatabaseSync(file);
  const offered: string[] = [];
  const relay = createRelay({
    store: sqlRelayStore(nodeSqliteDriver(db)),
    publishers: [
      {
        name: 'broker',
        order: 'each-alone',
        publish: (batch) => {
          offered.push(...batch.map(({ id }) => id));
          return Promise.resolve(batch.map(answer));
        },
      },
    ],
  });
  await relay.runOnce();
  db.close();
  return offered.toSorted();
}
