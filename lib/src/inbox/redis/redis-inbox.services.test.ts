import { Redis } from 'ioredis';
import { createClient } from '@redis/client';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { InstantClock } from '../../../../test/consumer/instant-clock.ts';
import { redisDatabase } from '../../../../test/services/redis.ts';
import { createConsumer } from '../../consumer/consumer.ts';
import { isSettleError } from '../../util/errors.ts';
import { resultBytesMax } from '../kept-result.ts';
import { messageIdBytesMax } from '../message-key.ts';
import { exhume } from './scripts.ts';
import { redisInbox, type RedisInbox, type RedisLease } from './index.ts';

const database = redisDatabase();
let redis: Redis;
let inbox: RedisInbox;

beforeAll(async () => {
  redis = new Redis(database.url, { lazyConnect: true });
  await redis.connect();
});
afterAll(() => redis.quit());
beforeEach(async () => {
  await redis.flushdb();
  inbox = redisInbox(redis);
});

async function codeOf(failing: Promise<unknown>): Promise<string> {
  const error: unknown = await failing.then(
    () => new Error('it succeeded'),
    (thrown: unknown) => thrown,
  );
  return isSettleError(error) ? error.code : String(error);
}

/** Work that goes on until it is told to end. */
class Work {
  readonly begun: Promise<RedisLease>;
  readonly run: (lease: RedisLease) => Promise<string>;
  end: (result: string) => void = () => {};

  constructor() {
    const begun = Promise.withResolvers<RedisLease>();
    const ended = Promise.withResolvers<string>();
    this.begun = begun.promise;
    this.end = ended.resolve;
    this.run = (lease) => {
      begun.resolve(lease);
      return ended.promise;
    };
  }
}

/** As time that passes for Redis: what it holds then ends. */
async function endLeases(): Promise<void> {
  for (const key of await redis.keys('settle:inbox:message:*')) await redis.hset(key, 'until', 0);
}

async function turns(clock: InstantClock): Promise<void> {
  await redis.ping();
  for (let n = 0; n < 5; n++) await clock.turn();
}

describe('the inbox in Redis', () => {
  test('runs the work of a message once, and gives its result to a repeat', async () => {
    let runs = 0;
    const once = () => inbox.once('mailer', 'm1', () => ({ run: ++runs, text: 'žluťoučký 🐴' }));
    const result = { run: 1, text: 'žluťoučký 🐴' };
    expect(await once()).toEqual({ duplicate: false, result });
    expect(await once()).toEqual({ duplicate: true, result });
    expect(await inbox.once('mailer', 'm2', () => {})).toEqual({ duplicate: false, result: undefined });
    expect(await inbox.once('mailer', 'm2', () => {})).toEqual({ duplicate: true, result: undefined });
  });

  test('does the same over node-redis', async () => {
    const client = createClient({ url: database.url });
    await client.connect();
    try {
      const other = redisInbox(client);
      expect(await other.once('mailer', 'm1', () => 'ž')).toEqual({ duplicate: false, result: 'ž' });
      expect(await inbox.once('mailer', 'm1', () => '')).toEqual({ duplicate: true, result: 'ž' });
      await other.dead.add({ ...letter('m1') });
      expect((await other.dead.list({ consumer: 'mailer' }, { limit: 5 })).items).toMatchObject([
        letter('m1'),
      ]);
    } finally {
      await client.close();
    }
  });

  test('gives a message whose work failed to the next one, at once and with a greater token', async () => {
    const tokens: number[] = [];
    const failing = inbox.once('mailer', 'm1', ({ token }) => {
      tokens.push(token);
      throw new Error('no mail');
    });
    await expect(failing).rejects.toThrow('no mail');
    await inbox.once('mailer', 'm1', ({ token }) => void tokens.push(token));
    expect(tokens).toEqual([1, 2]);
  });

  test('refuses a duplicate while the first is at work', async () => {
    const work = new Work();
    const first = inbox.once('mailer', 'm1', work.run);
    await work.begun;
    const refused: unknown = await inbox.once('mailer', 'm1', () => '').catch((error: unknown) => error);
    expect(refused).toMatchObject({ code: 'unavailable', retryAfterMs: expect.any(Number) });
    work.end('sent');
    await first;
    expect(await inbox.once('mailer', 'm1', () => '')).toEqual({ duplicate: true, result: 'sent' });
  });

  test('lets one of 64 duplicates work', async () => {
    let runs = 0;
    const settled = await Promise.allSettled(
      Array.from({ length: 64 }, () =>
        inbox.once('mailer', 'm1', async () => void (await redis.ping(String(++runs)))),
      ),
    );
    expect(runs).toBe(1);
    const done = settled.flatMap((one) => (one.status === 'fulfilled' ? [one.value] : []));
    expect(done.filter(({ duplicate }) => !duplicate)).toHaveLength(1);
  });

  test('prolongs its lease while the work goes on', async () => {
    const clock = new InstantClock();
    const work = new Work();
    const first = redisInbox(redis, { clock, leaseMs: 30_000 }).once('mailer', 'm1', work.run);
    const { signal } = await work.begun;
    await endLeases();
    clock.pass(10_000);
    await turns(clock);
    expect(Number(await redis.hget('settle:inbox:message:mailer:m1', 'until'))).toBeGreaterThan(Date.now());
    expect(signal.aborted).toBe(false);
    work.end('sent');
    expect(await first).toEqual({ duplicate: false, result: 'sent' });
    expect(clock.pending).toBe(0);
  });

  test('writes nothing for a work that was taken over: its lease is lost', async () => {
    const work = new Work();
    const stalled = inbox.once('mailer', 'm1', work.run);
    await work.begun;
    await endLeases();
    expect(await inbox.once('mailer', 'm1', ({ token }) => token)).toEqual({ duplicate: false, result: 2 });
    work.end('too late');
    expect(await codeOf(stalled)).toBe('lease_lost');
    expect(await inbox.once('mailer', 'm1', () => 0)).toEqual({ duplicate: true, result: 2 });
  });

  test('does not take the end of a work that was taken over for the end of the one that took it', async () => {
    const [stalledWork, work] = [new Work(), new Work()];
    const stalled = codeOf(inbox.once('mailer', 'm1', stalledWork.run));
    await stalledWork.begun;
    await endLeases();
    const second = inbox.once('mailer', 'm1', work.run);
    await work.begun;
    stalledWork.end('too late');
    expect(await stalled).toBe('lease_lost');
    expect(await codeOf(inbox.once('mailer', 'm1', () => ''))).toBe('unavailable');
    work.end('sent');
    expect(await second).toEqual({ duplicate: false, result: 'sent' });
  });

  test('tells the work as soon as it finds the lease lost', async () => {
    const clock = new InstantClock();
    const work = new Work();
    const stalled = redisInbox(redis, { clock }).once('mailer', 'm1', work.run);
    const { signal } = await work.begun;
    await endLeases();
    await inbox.once('mailer', 'm1', () => '');
    const code = codeOf(stalled);
    clock.pass(10_000);
    expect(await code).toBe('lease_lost');
    expect(signal.aborted).toBe(true);
    work.end('');
  });

  test('keeps the lease of work that goes on after its time, until that ends', async () => {
    const clock = new InstantClock();
    const own = redisInbox(redis, { clock });
    const work = new Work();
    const slow = codeOf(own.once('mailer', 'm1', work.run, { timeoutMs: 5_000 }));
    const { signal } = await work.begun;
    clock.pass(5_000);
    expect([await slow, signal.aborted]).toEqual(['transaction_timeout', true]);
    expect(await codeOf(own.once('mailer', 'm1', () => ''))).toBe('unavailable');
    work.end('late');
    await turns(clock);
    expect(await own.once('mailer', 'm1', () => 'again')).toEqual({ duplicate: false, result: 'again' });
    expect(clock.pending).toBe(0);
  });

  test('ends work by the signal of the call', async () => {
    const stopping = new AbortController();
    const work = new Work();
    const cancelled = codeOf(inbox.once('mailer', 'm1', work.run, { signal: stopping.signal }));
    await work.begun;
    stopping.abort();
    expect(await cancelled).toBe('transaction_cancelled');
    work.end('');
  });

  test('forgets a message after the redelivery window', async () => {
    await redisInbox(redis, { redeliveryWindowMs: 5_000 }).once('mailer', 'm1', () => {});
    const ttl = await redis.pttl('settle:inbox:message:mailer:m1');
    expect([ttl > 4_000, ttl <= 5_000]).toEqual([true, true]);
  });

  test('says that Redis does not answer', async () => {
    const gone = new Redis(database.url, { lazyConnect: true, enableOfflineQueue: false });
    expect(await codeOf(redisInbox(gone).once('mailer', 'm1', () => {}))).toBe('unavailable');
    gone.disconnect();
  });

  test('refuses what cannot be', async () => {
    expect(await codeOf(inbox.once('mailer', 'x'.repeat(messageIdBytesMax + 1), () => {}))).toBe(
      'message_invalid',
    );
    expect(await codeOf(inbox.once('a b', 'm1', () => {}))).toBe('config_invalid');
    expect(await codeOf(inbox.once('mailer', 'm1', () => 'x'.repeat(resultBytesMax)))).toBe('limit_exceeded');
    const isolated = { isolation: 'serializable' } as object;
    expect(await codeOf(inbox.once('mailer', 'm2', () => {}, isolated))).toBe('config_invalid');
    for (const options of [{ leaseMs: 0 }, { leaseMs: 2 ** 31 }, { redeliveryWindowMs: 0.5 }]) {
      expect(() => redisInbox(redis, options)).toThrow('config_invalid');
    }
  });
});

function letter(messageId: string) {
  return {
    consumer: 'mailer',
    messageId,
    message: '{"a":"ž"}',
    cause: 'attempts',
    reason: 'no mail',
    attempts: 3,
  } as const;
}

describe('dead letters in Redis', () => {
  test('are listed page by page, oldest first, and purged', async () => {
    const ids = ['m3', 'm1', 'M1', 'm1 ', 'ž', '{m}'];
    for (const id of ids) await inbox.dead.add(letter(id));
    await inbox.dead.add({ ...letter('other'), consumer: 'wallet' });
    const found: string[] = [];
    let cursor: string | undefined;
    for (let pages = 0; pages < 9; pages++) {
      const { items, next } = await inbox.dead.list({ consumer: 'mailer' }, { limit: 2, cursor });
      found.push(...items.map(({ messageId }) => messageId));
      cursor = next;
      if (next === undefined) break;
    }
    expect(new Set(found)).toEqual(new Set(ids));
    expect(found).toHaveLength(ids.length);
    expect(await inbox.dead.purge({ consumer: 'mailer', messageIds: ['m1', 'ž', 'none'] })).toBe(2);
    expect(await inbox.dead.purge({ consumer: 'mailer', diedBeforeMs: 1 })).toBe(0);
    expect(await inbox.dead.purge({ consumer: 'mailer', cause: 'refused' })).toBe(0);
    expect(await inbox.dead.purge({ consumer: 'mailer' }, 3)).toBe(3);
    expect((await inbox.dead.list({ consumer: 'mailer' }, { limit: 9 })).items).toHaveLength(1);
    expect((await inbox.dead.list({ consumer: 'wallet' }, { limit: 9 })).items).toHaveLength(1);
  });

  test('of one moment are all listed', async () => {
    const ids = Array.from({ length: 1_200 }, (_, n) => `m${n}`);
    for (const id of ids) void inbox.dead.add(letter(id));
    await inbox.dead.add(letter('last'));
    await redis.zunionstore('settle:inbox:{mailer}:dead', 1, 'settle:inbox:{mailer}:dead', 'WEIGHTS', 0);
    const { items, next } = await inbox.dead.list({ consumer: 'mailer' }, { limit: 1_000 });
    const rest = await inbox.dead.list({ consumer: 'mailer' }, { limit: 1_000, cursor: next });
    const found = [...items, ...rest.items].map(({ messageId }) => messageId);
    expect([found.length, new Set(found).size, rest.next]).toEqual([1_201, 1_201, undefined]);
  });

  test('that die again are overwritten, and not purged by who saw the earlier one', async () => {
    await inbox.dead.add(letter('m1'));
    await redis.zadd('settle:inbox:{mailer}:dead', 1_000, 'm1');
    await inbox.dead.add({ ...letter('m1'), cause: 'refused', attempts: 9 });
    const { items } = await inbox.dead.list({ consumer: 'mailer' }, { limit: 9 });
    expect(items).toMatchObject([{ cause: 'refused', attempts: 9 }]);
    expect(await inbox.dead.purge({ consumer: 'mailer', diedBeforeMs: 1_001 })).toBe(0);
    await redis.zadd('settle:inbox:{mailer}:dead', 1_000, 'm1');
    const meanwhile = redisInbox({
      status: 'ready',
      async call(command, ...args) {
        if (args[0] === exhume) await inbox.dead.add(letter('m1'));
        return await redis.call(command, ...args);
      },
    });
    expect(await meanwhile.dead.purge({ consumer: 'mailer' })).toBe(0);
  });
});

test('a consumer works over it, and replays its dead letters', async () => {
  let isOpen = false;
  const tokens: number[] = [];
  const mailer = createConsumer({
    name: 'mailer',
    inbox,
    handle(_, { tx }) {
      if (!isOpen) throw new Error('closed');
      tokens.push(tx.token);
    },
    retry: { attemptsMax: 2, baseMs: 1 },
  });
  const message = {
    id: 'm1',
    type: 'mail',
    version: 1,
    key: undefined,
    payload: '{}',
    contentType: undefined,
    headers: {},
    source: 'mails',
    ref: 'mails/1',
  };
  const { signal } = new AbortController();
  expect(await mailer.handle(message, signal)).toEqual({ kind: 'dead', reason: 'closed' });
  isOpen = true;
  expect(await mailer.replayDead()).toEqual({ handled: 1, dead: 0, left: 0 });
  expect(await mailer.handle(message, signal)).toEqual({ kind: 'handled', duplicate: true });
  expect([tokens, (await inbox.dead.list({ consumer: 'mailer' }, { limit: 1 })).items]).toEqual([[3], []]);
});
