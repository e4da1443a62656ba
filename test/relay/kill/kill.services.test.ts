// Relays and writers that are killed at any moment: a message reaches the broker if and only if its order is committed, and
// those of a key in order, save for repeats.
import { setTimeout as sleep } from 'node:timers/promises';
import { Pool } from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { pgDriver } from '../../../lib/src/local/adapters/pg.ts';
import { migrateOutbox } from '../../../lib/src/outbox/index.ts';
import { postgresDatabase } from '../../services/postgres.ts';
import { BrokerInTest } from './broker-in-test.ts';
import { MortalProcess } from './mortal-process.ts';
import { moments } from './relay-process-moments.ts';

const kills = Number(process.env['SETTLE_RELAY_KILLS'] ?? 20);
const database = postgresDatabase();
let pool: Pool;

beforeAll(async () => {
  pool = new Pool({ connectionString: database.url, max: 4 });
  await migrateOutbox(pgDriver(pool));
  await pool.query('create table orders (id text primary key, key text not null, n int not null)');
});
afterAll(() => pool.end());

async function committed(): Promise<string[]> {
  const { rows } = await pool.query<{ id: string }>('select id from orders order by key, n');
  return rows.map(({ id }) => id);
}

/** Waits until the table is empty, which only relays that live can bring about. */
async function drained(): Promise<void> {
  for (let i = 0; i < 300; i++) {
    const { rows } = await pool.query<{ left: number }>('select count(*)::int as left from settle_outbox');
    if (rows[0]?.left === 0) return;
    await sleep(100);
  }
  throw new Error('messages are left after 30 s');
}

/** What came to the broker against what is committed. */
async function judge(broker: BrokerInTest): Promise<void> {
  const orders = await committed();
  const came = broker.firsts;
  const place = new Map(came.map((id, i) => [id, i]));
  expect(orders.filter((id) => !place.has(id))).toEqual([]);
  const known = new Set(orders);
  expect(came.filter((id) => !known.has(id))).toEqual([]);
  const overtaken = orders.filter((id, i) => {
    const before = orders[i - 1];
    return (
      before?.split('/')[0] === id.split('/')[0] && Number(place.get(before ?? '')) > Number(place.get(id))
    );
  });
  expect(overtaken).toEqual([]);
}

describe('kill -9', () => {
  it(
    `of two relays and a writer, ${kills} times at random: nothing lost, nothing made up, keys in order`,
    { timeout: 60_000 + kills * 5_000 },
    async () => {
      const broker = await BrokerInTest.start();
      const { url } = database;
      const relay = { url, port: broker.port };
      const all = [
        new MortalProcess('relay-process.ts', relay),
        new MortalProcess('relay-process.ts', relay),
        new MortalProcess('writer-process.ts', { url, name: 'w', keys: 8 }),
      ];
      try {
        for (let i = 0; i < kills; i++) {
          // However slow the machine is: something is under way at every kill.
          await broker.hasMore(20);
          await sleep(Math.random() * 300);
          const victim = all[Math.floor(Math.random() * all.length)];
          await victim?.kill();
          victim?.restart();
        }
        await all[2]?.kill();
        await drained();
        await judge(broker);
        const repeats = broker.received.length - broker.firsts.length;
        console.info(`${broker.firsts.length} messages over ${kills} kills, ${repeats} repeats`);
        expect(broker.firsts.length).toBeGreaterThan(kills * 10);
      } finally {
        for (const one of all) await one.kill();
        await broker.stop();
      }
    },
  );

  // covers A20
  it.each(moments)(
    'of a relay, with another one beside it, at the moment: %s',
    { timeout: 60_000 },
    async (dieAt) => {
      const broker = await BrokerInTest.start();
      const { url } = database;
      const writer = new MortalProcess('writer-process.ts', { url, name: dieAt, keys: 4 });
      const dying = new MortalProcess('relay-process.ts', { url, port: broker.port, dieAt });
      const other = new MortalProcess('relay-process.ts', { url, port: broker.port });
      const before = await committed();
      try {
        await dying.died();
        expect(dying.errors).toBe('');
        await sleep(500);
        await writer.kill();
        await drained();
        broker.received.push(...before);
        await judge(broker);
      } finally {
        for (const one of [writer, dying, other]) await one.kill();
        await broker.stop();
      }
    },
  );
});
