// From the outbox of one database to the inbox of another, over a bus that fails in every way brokers do.
import { DatabaseSync } from 'node:sqlite';
import { expect, test } from 'vitest';
import { createInbox, migrateInbox } from '../inbox/index.ts';
import { nodeSqliteDriver } from '../local/adapters/node-sqlite.ts';
import { createTransactions } from '../local/manager.ts';
import { createOutbox, defineMessages, message, migrateOutbox } from '../outbox/index.ts';
import {
  createRelay,
  sqlRelayStore,
  type OutgoingMessage,
  type Publisher,
  type PublishResult,
} from '../relay/index.ts';
import { createConsumer } from './consumer.ts';
import type { HandleMessage } from './incoming.ts';

const messages = defineMessages({
  moved: message<{ account: string; n: number }>({ key: ({ account }) => account, destination: 'bus:moves' }),
});

const accounts = ['a', 'b', 'c'];
const moves = 40;
const roundsMax = 1_000;

/** Numbers from 0 to 1 (mulberry32). */
function randomOf(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** Loses messages, loses acknowledgements, and delivers some twice at the same time. */
function badBus(handle: HandleMessage, random: () => number): Publisher {
  const { signal } = new AbortController();
  const deliver = async ({ address, ...outgoing }: OutgoingMessage): Promise<PublishResult> => {
    if (random() < 0.2) return { kind: 'retriable', reason: 'lost' };
    const incoming = { ...outgoing, source: address, ref: outgoing.id };
    const copies = random() < 0.3 ? 2 : 1;
    const handled = await Promise.all(Array.from({ length: copies }, () => handle(incoming, signal)));
    if (handled.some(({ kind }) => kind === 'not-handled'))
      return { kind: 'retriable', reason: 'not handled' };
    return random() < 0.3 ? { kind: 'unknown', reason: 'no acknowledgement' } : { kind: 'published' };
  };
  return { name: 'bus', order: 'each-alone', publish: (batch) => Promise.all(batch.map(deliver)) };
}

// covers E3
test.each([1, 2, 3, 4])(
  'every message takes effect once and in the order of its key, seed %d',
  async (seed) => {
    const random = randomOf(seed);
    const [from, to] = [new DatabaseSync(':memory:'), new DatabaseSync(':memory:')];
    const [fromDriver, toDriver] = [nodeSqliteDriver(from), nodeSqliteDriver(to)];
    await migrateOutbox(fromDriver);
    await migrateInbox(toDriver);
    const tx = createTransactions(fromDriver);
    const outbox = createOutbox(tx, messages);
    to.exec('create table move (account text, n integer)');

    const { handle } = createConsumer({
      name: 'to',
      inbox: createInbox(createTransactions(toDriver)),
      messages,
      handlers: {
        moved({ account, n }, { tx: t }) {
          t.client.prepare('insert into move values (?, ?)').run(account, n);
          if (random() < 0.2) throw new Error('not yet');
        },
      },
      retry: { attemptsMax: 100, baseMs: 1, maxMs: 1 },
    });

    for (let n = 0; n < moves; n++) {
      for (const account of accounts) {
        const failing = tx.run(async () => {
          await outbox.send('moved', { account, n: -1 });
          throw new Error('rolled back');
        });
        await expect(failing).rejects.toThrow('rolled back');
        await tx.run(() => outbox.send('moved', { account, n }));
      }
    }

    for (let round = 0; round < roundsMax; round++) {
      // Each is a relay of its own, which takes over from the one before.
      const relay = createRelay({
        store: sqlRelayStore(fromDriver),
        publishers: [badBus(handle, random)],
        retry: { attemptsMax: 1_000, baseMs: 1, maxMs: 1 },
        limits: { batchMax: 5 },
      });
      await relay.runOnce();
      const { pending, dead } = await relay.stats();
      expect(dead).toBe(0);
      if (pending === 0) break;
    }

    const inOrder = Array.from({ length: moves }, (_, n) => n);
    for (const account of accounts) {
      const rows = to.prepare('select n from move where account = ? order by rowid').all(account);
      expect(rows.map(({ n }) => n)).toEqual(inOrder);
    }
  },
);

test('replay of a dead letter with the same id: the inbox skips what was delivered after all', async () => {
  const db = new DatabaseSync(':memory:');
  const driver = nodeSqliteDriver(db);
  await migrateOutbox(driver);
  await migrateInbox(driver);
  const tx = createTransactions(driver);
  const outbox = createOutbox(tx, messages);
  const handled: boolean[] = [];
  const { handle } = createConsumer({
    name: 'to',
    inbox: createInbox(tx),
    messages,
    handlers: { moved: () => {} },
    onEvent: (event) => event.kind === 'handled' && handled.push(event.duplicate),
  });
  let isWrong = true;
  const { signal } = new AbortController();
  const bus: Publisher = {
    name: 'bus',
    order: 'each-alone',
    async publish(batch) {
      for (const outgoing of batch) await handle({ ...outgoing, source: 'moves', ref: outgoing.id }, signal);
      return batch.map(() => (isWrong ? { kind: 'poison', reason: 'it says' } : { kind: 'published' }));
    },
  };
  const relay = () => createRelay({ store: sqlRelayStore(driver), publishers: [bus] });
  await tx.run(() => outbox.send('moved', { account: 'a', n: 1 }));
  expect(await relay().runOnce()).toMatchObject({ dead: 1 });
  isWrong = false;
  expect(await relay().dead.replay({})).toBe(1);
  expect(await relay().runOnce()).toMatchObject({ published: 1 });
  expect(handled).toEqual([false, true]);
  db.close();
});
