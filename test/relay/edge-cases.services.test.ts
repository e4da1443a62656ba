// Cases of the edge list (edge-list.test.ts) that need a whole relay over a real database.
import { setTimeout as sleep } from 'node:timers/promises';
import { Pool } from 'pg';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { pgDriver } from '../../lib/src/local/adapters/pg.ts';
import { migrateOutbox } from '../../lib/src/outbox/index.ts';
import { laneOf } from '../../lib/src/outbox/message.ts';
import { createRelay, type Relay, type RelayOptions, type RelayStore } from '../../lib/src/relay/index.ts';
import { sqlRelayStore } from '../../lib/src/relay/sql-store/index.ts';
import { postgresDatabase } from '../services/postgres.ts';
import { Recorder } from './recorder.ts';

const database = postgresDatabase();
let pool: Pool;
let store: RelayStore;
let relays: Relay[] = [];

beforeAll(async () => {
  pool = new Pool({ connectionString: database.url, max: 10 });
  const driver = pgDriver(pool);
  store = sqlRelayStore(driver);
  await migrateOutbox(driver);
});
beforeEach(async () => {
  await pool.query('truncate settle_outbox, settle_outbox_delayed, settle_outbox_dead, settle_outbox_relays');
  await pool.query('update settle_outbox_lanes set owner = null, lease_until = null');
});
afterEach(async () => {
  vi.restoreAllMocks();
  await Promise.all(relays.map((relay) => relay.stop()));
  relays = [];
});
afterAll(() => pool.end());

function relay(publisher: Recorder, options: Partial<RelayOptions> = {}): Relay {
  const made = createRelay({ store, publishers: [publisher], ...options });
  relays.push(made);
  return made;
}

/** Writes so many messages `<key>-0` and so on, in one statement. */
async function write(key: string, count: number, { from = 0, bytes = 2, lane = laneOf(key) } = {}) {
  await pool.query(
    `insert into settle_outbox (lane, id, target, aggregatetype, aggregateid, type, version, payload, headers)
     select $1, $2 || '-' || n, 'test', 'orders', $2, 'placed', 1, rpad('""', $5, ' '), '{}'
     from generate_series($3::int, $4::int) n order by n`,
    [lane, key, from, from + count - 1, bytes],
  );
}

function ids(key: string, count: number): readonly string[] {
  return Array.from({ length: count }, (_, n) => `${key}-${n}`);
}

/** Compares without printing a hundred thousand lines. */
function firstDifference(given: readonly string[], expected: readonly string[]): string | undefined {
  if (given.length !== expected.length) return `${given.length} came, not ${expected.length}`;
  const at = given.findIndex((id, i) => id !== expected[i]);
  return at === -1 ? undefined : `${given[at]} came as number ${at}, not ${expected[at]}`;
}

/** Another key of the same lane. */
function neighbourOf(key: string): string {
  for (let n = 0; ; n++) if (laneOf(`n${n}`) === laneOf(key)) return `n${n}`;
}

describe('a backlog of one key', () => {
  const count = 100_000;

  it('of 100,000 messages is published, each once and in order', async () => {
    await write('hot', count);
    const test = new Recorder();
    expect(await relay(test).runOnce()).toEqual({ published: count, failed: 0, dead: 0 });
    expect(firstDifference(test.ids, ids('hot', count))).toBeUndefined();
  });

  it('whose first message fails holds up no other key of its lane, and is not overtaken by its own', async () => {
    await write('hot', count);
    const other = neighbourOf('hot');
    await write(other, 50);
    const test = new Recorder();
    let isBroken = true;
    test.fails = ({ id }) => isBroken && id === 'hot-0';
    await relay(test, { retry: { baseMs: 10, maxMs: 100, attemptsMax: 1_000 } }).start();
    await test.count.reached(50, 30_000);
    expect(test.ids).toEqual(ids(other, 50));
    isBroken = false;
    await test.count.reached(50 + count, 50_000);
    expect(firstDifference(test.ids.slice(50), ids('hot', count))).toBeUndefined();
  });
});

it('messages that fail first hold up none behind them where there is no order, however many they are', async () => {
  await write('bad', 5_000);
  await write('good', 100);
  const test = new Recorder('each-alone');
  let isBroken = true;
  test.fails = ({ id }) => isBroken && id.startsWith('bad');
  const options: Partial<RelayOptions> = {
    ordering: 'none',
    // Nothing comes again by itself while this test runs.
    retry: { baseMs: 600_000, maxMs: 600_000 },
    random: () => 1,
  };
  expect(await relay(test, options).runOnce()).toEqual({ published: 100, failed: 5_000, dead: 0 });
  isBroken = false;
  await pool.query('update settle_outbox_delayed set due_at = 0');
  expect(await relay(test, options).runOnce()).toEqual({ published: 5_000, failed: 0, dead: 0 });
  expect(new Set(test.ids)).toEqual(new Set([...ids('good', 100), ...ids('bad', 5_000)]));
});

it('a transaction that reads all the while holds up nothing, though what is deleted cannot be cleaned away', async () => {
  const reader = await pool.connect();
  const test = new Recorder();
  const made = relay(test);
  try {
    await reader.query('begin isolation level repeatable read read only');
    const seen = () => reader.query('select count(*)::int as n from settle_outbox');
    expect((await seen()).rows).toEqual([{ n: 0 }]);
    for (let round = 0; round < 20; round++) {
      await write('k', 500, { from: round * 500 });
      expect(await made.runOnce()).toEqual({ published: 500, failed: 0, dead: 0 });
      await pool.query('vacuum settle_outbox');
    }
    expect((await seen()).rows).toEqual([{ n: 0 }]);
  } finally {
    await reader.query('rollback');
    reader.release();
  }
  expect(firstDifference(test.ids, ids('k', 10_000))).toBeUndefined();
});

it('payloads of 8 MB are published in order although memory may hold two of them', async () => {
  const bytes = 8 * 2 ** 20;
  await write('huge', 12, { bytes });
  await write('small', 20);
  const test = new Recorder();
  await relay(test, { limits: { bytesMax: 2 * bytes } }).runOnce();
  const huge = test.published.filter(({ key }) => key === 'huge');
  expect(huge.map(({ id, payload }) => [id, payload.length])).toEqual(
    ids('huge', 12).map((id) => [id, bytes]),
  );
  expect(test.ids.filter((id) => id.startsWith('small'))).toEqual(ids('small', 20));
});

it.each([3_600_000, -3_600_000])(
  'a relay whose clock is off by %i ms tries again, and publishes what was delayed, when it is due',
  async (offMs) => {
    const now = Date.now.bind(Date);
    vi.spyOn(Date, 'now').mockImplementation(() => now() + offMs);
    const test = new Recorder();
    const attempts: string[] = [];
    test.fails = ({ id, attempt }) => {
      attempts.push(`${id}: ${attempt}`);
      return id === 'k-0' && attempt < 3;
    };
    await write('k', 2);
    await write('later', 1);
    await pool.query(
      `with moved as (delete from settle_outbox where aggregateid = 'later' returning *)
       insert into settle_outbox_delayed (lane, id, target, aggregatetype, aggregateid, type, version, payload, headers, due_at)
       select lane, id, target, aggregatetype, aggregateid, type, version, payload, headers,
         (extract(epoch from clock_timestamp()) * 1000)::bigint + 1500 from moved`,
    );
    const began = performance.now();
    await relay(test, { retry: { baseMs: 100, maxMs: 200 }, random: () => 1 }).start();
    await test.count.reached(2, 10_000);
    expect(test.ids).toEqual(['k-0', 'k-1']);
    expect(attempts.filter((one) => one.startsWith('k-0'))).toEqual(['k-0: 1', 'k-0: 2', 'k-0: 3']);
    await test.count.reached(3, 10_000);
    expect(performance.now() - began).toBeGreaterThan(1_400);
  },
);

it('a relay that stops under load finishes what it has begun, and the other one has its lanes at once', async () => {
  const keys = Array.from({ length: 40 }, (_, n) => `k${n}`);
  for (const key of keys) await write(key, 100);
  const test = new Recorder();
  test.before = () => sleep(5);
  // Longer than this test: lanes are free before only if they are given back.
  const limits = { leaseTtlMs: 600_000, batchMax: 10 };
  const first = relay(test, { name: 'first', limits });
  await first.start();
  await test.count.reached(500, 30_000);
  await first.stop();
  expect(await first.stats()).toMatchObject({ relays: 0, lanesHeld: 0 });
  const sofar = test.published.length;
  expect(await first.stats()).toMatchObject({ pending: 4_000 - sofar });
  const second = relay(test, { name: 'second', limits });
  expect(await second.runOnce()).toEqual({ published: 4_000 - sofar, failed: 0, dead: 0 });
  for (const key of keys) expect(test.ids.filter((id) => id.startsWith(`${key}-`))).toEqual(ids(key, 100));
});

it('a relay that has never heard of a type or a target publishes the one, and leaves the other to those that have', async () => {
  await write('k', 3);
  await pool.query("update settle_outbox set type = 'order.invented', version = 9 where id = 'k-1'");
  await pool.query("update settle_outbox set target = 'new' where id = 'k-2'");
  const test = new Recorder();
  const made = relay(test);
  expect(await made.runOnce()).toEqual({ published: 2, failed: 0, dead: 0 });
  expect(test.published.map(({ id, type, version }) => [id, type, version])).toEqual([
    ['k-0', 'placed', 1],
    ['k-1', 'order.invented', 9],
  ]);
  expect(await made.stats()).toMatchObject({ pending: 1, dead: 0 });
  const newer = Object.assign(new Recorder(), { name: 'new' as 'test' });
  expect(await relay(newer).runOnce()).toEqual({ published: 1, failed: 0, dead: 0 });
});

describe('after a failover to a copy of the database that is some moments behind', () => {
  // Not kept yet: messages are settled by their numbers alone. Turns red when it is mended; then take `.fails` away.
  it.fails('nothing is deleted there for what bore the same number before', async () => {
    await write('k', 1);
    const test = new Recorder();
    const { promise: gate, resolve: open } = Promise.withResolvers<void>();
    const { promise: begun, resolve: begin } = Promise.withResolvers<void>();
    test.before = () => {
      begin();
      return gate;
    };
    await relay(test).start();
    await begun;
    // What the copy did not get is gone there, and its number is given again.
    await pool.query("update settle_outbox set id = 'other', payload = '2' where id = 'k-0'");
    open();
    await test.count.reached(2, 3_000);
    expect(test.ids).toEqual(['k-0', 'other']);
  });
});
