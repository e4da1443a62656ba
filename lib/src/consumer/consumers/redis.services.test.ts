import { createClient } from '@redis/client';
import { Redis } from 'ioredis';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Desk, firstOutOfOrder, handled } from '../../../../test/consumer/desk.ts';
import { redisDatabase, redisServer } from '../../../../test/services/redis.ts';
import type { OutgoingMessage } from '../../relay/publisher.ts';
import { redisPublisher } from '../../relay/publishers/redis.ts';
import { redisCommands } from '../../util/redis-commands.ts';
import type { HandleMessage, RunningConsumer } from '../incoming.ts';
import { consumeRedis, type RedisConsumerOptions, type RedisReader } from './redis.ts';

const database = redisDatabase();
let made = 0;

interface Clients {
  readonly reader: RedisReader;
  readonly client: RedisReader;
  readonly close: () => unknown;
}

const kinds: Record<string, (url: string) => Promise<Clients>> = {
  async ioredis(url) {
    const [reader, client] = [await ioredis(url), await ioredis(url)];
    return { reader, client, close: () => [reader, client].forEach((one) => one.disconnect()) };
  },
  async 'node-redis'(url) {
    const [reader, client] = [createClient({ url }), createClient({ url })];
    for (const one of [reader, client]) await one.on('error', () => undefined).connect();
    return { reader, client, close: () => [reader, client].forEach((one) => one.destroy()) };
  },
  async 'node-redis over RESP2'(url) {
    const [reader, client] = [createClient({ url, RESP: 2 }), createClient({ url, RESP: 2 })];
    for (const one of [reader, client]) await one.on('error', () => undefined).connect();
    return { reader, client, close: () => [reader, client].forEach((one) => one.destroy()) };
  },
};

async function ioredis(url: string): Promise<Redis> {
  const client = new Redis(url, { lazyConnect: true, retryStrategy: () => 50 });
  client.on('error', () => undefined);
  await client.connect();
  return client;
}

describe.each(Object.entries(kinds))('consuming a stream over %s', (_name, open) => {
  let clients: Clients;
  let admin: Redis;
  let stream: string;

  beforeEach(async () => {
    clients = await open(database.url);
    admin = await ioredis(database.url);
    stream = `orders-${made++}`;
  });

  afterEach(async () => {
    clients.close();
    await admin.quit();
  });

  function consume(handle: HandleMessage, options: Partial<RedisConsumerOptions> = {}): RunningConsumer {
    return consumeRedis({
      reader: clients.reader,
      client: clients.client,
      stream,
      group: 'g',
      consumer: 'one',
      handle,
      blockMs: 20,
      reconnectMs: { min: 10, max: 100 },
      onDisconnect: () => undefined,
      onTrouble: () => undefined,
      ...options,
    });
  }

  async function put(...ids: readonly string[]): Promise<void> {
    for (const id of ids) {
      const key = id.startsWith('-') ? [] : ['settle-key', id.slice(0, 1)];
      await admin.call(
        'XADD',
        stream,
        '*',
        'payload',
        '{}',
        'settle-id',
        id,
        'settle-type',
        'placed',
        ...key,
      );
    }
  }

  /** How many nobody has acknowledged. */
  async function pending(): Promise<unknown> {
    const [count] = (await admin.xpending(stream, 'g')) as [number];
    return count;
  }

  it.each(['plain', 'cloudevents'] as const)('reads what the publisher sent as %s', async (format) => {
    const publisher = redisPublisher({ client: clients.client, format });
    const sent: OutgoingMessage = {
      id: 'Zoë',
      type: 'order.placed',
      version: 3,
      address: stream,
      key: 'Zoë',
      payload: '{"sku":"£"}',
      contentType: 'application/json',
      headers: { tenant: 'north' },
      createdAtMs: 0,
      attempt: 1,
    };
    const [result] = await publisher.publish([sent], AbortSignal.timeout(10_000));
    const desk = new Desk();
    const running = consume(desk.handle);
    await desk.begun(1);
    desk.answer(0);
    await running.stop();
    const { id, type, version, key, payload, contentType, headers } = sent;
    expect(desk.seen).toMatchObject([
      { id, type, version, key, payload, contentType, headers, source: stream },
    ]);
    expect(result).toEqual({ kind: 'published', ref: desk.seen[0]?.ref });
    expect(await pending()).toBe(0);
  });

  it('handles messages of one key one after the other, others side by side', async () => {
    await put('a1', 'a2', 'b1', '-1', '-2');
    const desk = new Desk();
    const running = consume(desk.handle);
    expect(await desk.begun(4)).toEqual(['a1', 'b1', '-1', '-2']);
    desk.answer(0);
    expect((await desk.begun(5)).at(-1)).toBe('a2');
    for (const number of [1, 2, 3, 4]) desk.answer(number);
    await running.stop();
    expect(await pending()).toBe(0);
  });

  it('lets nothing overtake a message that was not handled', async () => {
    await put('a1', 'a2', 'a3', 'b1');
    const order: string[] = [];
    const done = Promise.withResolvers<void>();
    const running = consume(({ id }) => {
      order.push(id);
      if (id === 'a1' && order.filter((one) => one === id).length < 3) {
        return Promise.resolve({ kind: 'not-handled', reason: 'the database is down' });
      }
      if (id === 'a3') done.resolve();
      return Promise.resolve(handled);
    });
    await done.promise;
    await running.stop();
    expect(order.filter((id) => id !== 'b1')).toEqual(['a1', 'a1', 'a1', 'a2', 'a3']);
    expect(await pending()).toBe(0);
  });

  it('begins with what it had not acknowledged', async () => {
    await put('a1', 'a2', 'a3');
    const first = new Desk();
    const running = consume(first.handle);
    await first.begun(1);
    const stopped = running.stop();
    first.answer(0, { kind: 'not-handled', reason: 'stopping' });
    await stopped;
    await put('a4');
    const second = new Desk();
    const again = consume(second.handle);
    for (const number of [0, 1, 2, 3]) {
      await second.begun(number + 1);
      second.answer(number);
    }
    await again.stop();
    expect(second.seen.map(({ id }) => id)).toEqual(['a1', 'a2', 'a3', 'a4']);
  });

  it('reads again what a connection was given before it was lost, and only then anything new', async () => {
    await put('a1');
    const commands = redisCommands(clients.reader);
    const lost: (() => void)[] = [];
    let isLost = false;
    const reader: RedisReader = {
      status: 'ready',
      async call(name, ...args) {
        const reply = await commands.send(name, ...args);
        if (isLost || args.at(-1) !== '>') return reply;
        isLost = true;
        await put('a2');
        for (const tell of lost) tell();
        // The client has asked again by itself, at a moment when there was nothing.
        return null;
      },
      on: (_event, listener) => lost.push(listener),
    };
    const desk = new Desk();
    const running = consume(desk.handle, { reader });
    expect(await desk.begun(1)).toEqual(['a1']);
    desk.answer(0);
    expect(await desk.begun(2)).toEqual(['a1', 'a2']);
    desk.answer(1);
    await running.stop();
    expect(await pending()).toBe(0);
  });

  it('leaves what it gives back to the others at once', async () => {
    await put('a1', 'a2');
    const first = new Desk();
    const running = consume(first.handle, { claimIdleMs: 3_600_000 });
    await first.begun(1);
    const stopped = running.stop();
    first.answer(0);
    await stopped;
    const second = new Desk();
    const other = consume(second.handle, { consumer: 'two', claimIdleMs: 3_600_000 });
    expect(await second.begun(1)).toEqual(['a2']);
    second.answer(0);
    await other.stop();
    expect(await pending()).toBe(0);
  });

  it('takes over what a dead consumer left behind, and not what another is at work on', async () => {
    await put('a1', 'b1');
    await admin.xgroup('CREATE', stream, 'g', '0');
    // It dies with the first, and the second is read by one that lives.
    await admin.call('XREADGROUP', 'GROUP', 'g', 'dead', 'COUNT', '1', 'STREAMS', stream, '>');
    const [living, taking] = [new Desk(), new Desk()];
    const atWork = consume(living.handle, { consumer: 'living', claimIdleMs: 400 });
    expect(await living.begun(1)).toEqual(['b1']);
    const others = await open(database.url);
    const taker = consume(taking.handle, { ...others, consumer: 'taker', claimIdleMs: 200 });
    expect((await Promise.race([taking.begun(1), living.begun(2)])).at(-1)).toBe('a1');
    taking.answer(0);
    living.answer(0);
    living.answer(1);
    await Promise.all([atWork.stop(), taker.stop()]);
    others.close();
    expect([...living.seen, ...taking.seen].map(({ id }) => id).toSorted()).toEqual(['a1', 'b1']);
    expect(await pending()).toBe(0);
  });

  it('acknowledges what was trimmed before it was handled, and hands on what nobody can read', async () => {
    await put('a1');
    await admin.xgroup('CREATE', stream, 'g', '0');
    await admin.call('XREADGROUP', 'GROUP', 'g', 'one', 'STREAMS', stream, '>');
    await admin.xtrim(stream, 'MAXLEN', 0);
    const id = await admin.xadd(stream, '*', 'anything', 'else');
    const desk = new Desk();
    const running = consume(desk.handle);
    expect(await desk.begun(1)).toEqual([`${stream}@${id}`]);
    expect(desk.seen).toMatchObject([{ type: '', payload: '', headers: { anything: 'else' } }]);
    desk.answer(0, { kind: 'dead', reason: 'unreadable' });
    await running.stop();
    expect(await pending()).toBe(0);
  });

  it('goes on when stream and group were deleted', async () => {
    await put('a1');
    const told: string[] = [];
    const desk = new Desk();
    const running = consume(desk.handle, { onDisconnect: ({ message }) => told.push(message) });
    await desk.begun(1);
    desk.answer(0);
    await expect.poll(pending).toBe(0);
    await admin.del(stream);
    await expect.poll(() => told.length).toBeGreaterThan(0);
    expect(told[0]).toMatch(/NOGROUP|UNBLOCKED/);
    await put('a2');
    expect(await desk.begun(2)).toEqual(['a1', 'a2']);
    desk.answer(1);
    await running.stop();
  });

  it('stops in time when Redis hangs', async () => {
    const server = await redisServer();
    const own = await open(server.url);
    await redisPublisher({ client: own.client }).publish([outgoing('orders')], AbortSignal.timeout(5_000));
    const desk = new Desk();
    const running = consume(desk.handle, { ...own, stream: 'orders' });
    await desk.begun(1);
    await server.pause();
    const began = performance.now();
    const stopped = running.stop(100);
    desk.answer(0);
    await stopped;
    expect(performance.now() - began).toBeLessThan(10_000);
    own.close();
    await server.stop();
  });

  it('handles all that is confirmed through a kill and a restart of Redis', async () => {
    const server = await redisServer();
    const own = await open(server.url);
    const publisher = redisPublisher({ client: own.client });
    const seen = new Set<string>();
    const running = consume(
      ({ id }) => {
        seen.add(id);
        return Promise.resolve(handled);
      },
      { ...own, stream: 'orders' },
    );
    const published = new Set<string>();
    const publish = async (count: number): Promise<void> => {
      const batch = Array.from({ length: count }, () => outgoing('orders'));
      const results = await publisher.publish(batch, AbortSignal.timeout(2_000));
      batch.forEach(({ id }, index) => results[index]?.kind === 'published' && published.add(id));
    };
    for (let round = 0; round < 3; round++) {
      await publish(200);
      const during = publish(200);
      await server.kill();
      await server.restart();
      await during;
    }
    expect(published.size).toBeGreaterThanOrEqual(200);
    await expect.poll(() => [...published].filter((id) => !seen.has(id)), { timeout: 20_000 }).toEqual([]);
    await running.stop();
    expect(firstOutOfOrder(seen)).toBeUndefined();
    own.close();
    await server.stop();
  });

  it('refuses limits that are none', () => {
    const { handle } = new Desk();
    expect(() => consume(handle, { concurrency: 0 })).toThrow('config_invalid');
    expect(() => consume(handle, { blockMs: 0 })).toThrow('config_invalid: blockMs is 0');
  });
});

function outgoing(address: string): OutgoingMessage {
  return {
    id: `k${made % 7}#${made++}`,
    type: 'order.placed',
    version: 1,
    address,
    key: `k${(made - 1) % 7}`,
    payload: '{}',
    contentType: 'application/json',
    headers: {},
    createdAtMs: 0,
    attempt: 1,
  };
}
