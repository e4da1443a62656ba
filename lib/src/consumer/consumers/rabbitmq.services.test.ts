import amqplib, { type ConfirmChannel, type ChannelModel } from 'amqplib';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Desk, firstOutOfOrder, handled } from '../../../../test/consumer/desk.ts';
import { rabbitServer, testRabbit } from '../../../../test/services/rabbit.ts';
import type { OutgoingMessage } from '../../relay/publisher.ts';
import { rabbitPublisher } from '../../relay/publishers/rabbitmq.ts';
import type { HandleMessage } from '../incoming.ts';
import { consumeRabbit, type RabbitConsumerOptions } from './rabbitmq.ts';

const broker = testRabbit();
let made = 0;
let connection: ChannelModel;
let channel: ConfirmChannel;

beforeAll(async () => {
  connection = await amqplib.connect(broker.url);
  channel = await connection.createConfirmChannel();
});

afterAll(async () => {
  await connection.close();
});

async function newQueue(): Promise<string> {
  const queue = broker.name(`q${made++}`);
  await channel.assertQueue(queue, { durable: true });
  return queue;
}

async function put(queue: string, ...ids: readonly string[]): Promise<void> {
  for (const id of ids) {
    const headers = id.startsWith('-') ? {} : { 'settle-key': id.slice(0, 1) };
    channel.sendToQueue(queue, Buffer.from('{}'), {
      messageId: id,
      type: 'placed',
      headers,
      persistent: true,
    });
  }
  await channel.waitForConfirms();
}

async function left(queue: string): Promise<number> {
  return (await channel.checkQueue(queue)).messageCount;
}

function consume(queue: string, handle: HandleMessage, options: Partial<RabbitConsumerOptions> = {}) {
  return consumeRabbit({
    connection: () => amqplib.connect(broker.url),
    queue,
    handle,
    reconnectMs: { min: 10, max: 100 },
    onDisconnect: () => undefined,
    onTrouble: () => undefined,
    ...options,
  });
}

describe('consuming from RabbitMQ', () => {
  it.each(['plain', 'cloudevents'] as const)('reads what the publisher sent as %s', async (format) => {
    const queue = await newQueue();
    const publisher = rabbitPublisher({ connection: () => amqplib.connect(broker.url), format });
    const sent: OutgoingMessage = {
      id: `Zoë ${format}`,
      type: 'order.placed',
      version: 3,
      address: `/${queue}`,
      key: 'Zoë',
      payload: '{"sku":"£"}',
      contentType: 'application/json',
      headers: { tenant: 'north', 'correlation-id': 'c1' },
      createdAtMs: 0,
      attempt: 1,
    };
    await publisher.publish([sent], AbortSignal.timeout(10_000));
    const desk = new Desk();
    const running = consume(queue, desk.handle);
    await desk.begun(1);
    desk.answer(0);
    await running.stop();
    await publisher.close();
    const { id, type, version, key, payload, contentType } = sent;
    expect(desk.seen).toMatchObject([
      {
        id,
        type,
        version,
        key,
        payload,
        contentType,
        headers: { tenant: 'north', 'correlation-id': 'c1' },
        source: queue,
        ref: `${queue}@1`,
      },
    ]);
    expect(await left(queue)).toBe(0);
  });

  it('handles messages of one key one after the other, others side by side', async () => {
    const queue = await newQueue();
    await put(queue, 'a1', 'a2', 'b1', '-1', '-2');
    const desk = new Desk();
    const running = consume(queue, desk.handle);
    expect(await desk.begun(4)).toEqual(['a1', 'b1', '-1', '-2']);
    desk.answer(0);
    expect((await desk.begun(5)).at(-1)).toBe('a2');
    for (const number of [1, 2, 3, 4]) desk.answer(number);
    await running.stop();
    expect(await left(queue)).toBe(0);
  });

  it('acknowledges what is handled and what is dead, and gives back the rest when it stops', async () => {
    const queue = await newQueue();
    await put(queue, 'a1', 'b1', 'c1', 'a2', 'a3');
    const desk = new Desk();
    const running = consume(queue, desk.handle);
    await desk.begun(3);
    const stopped = running.stop();
    desk.answer(0);
    desk.answer(1, { kind: 'dead', reason: 'refused' });
    desk.answer(2, { kind: 'not-handled', reason: 'stopping' });
    await stopped;
    await running.ended;
    expect(desk.seen).toHaveLength(3);
    // c1, a2 and a3, in the order they were.
    const back = [];
    for (;;) {
      const message = await channel.get(queue, { noAck: true });
      if (message === false) break;
      back.push(message.properties.messageId as string);
    }
    expect(back).toEqual(['c1', 'a2', 'a3']);
  });

  it('lets nothing overtake a message that was not handled', async () => {
    const queue = await newQueue();
    await put(queue, 'a1', 'a2', 'a3', 'b1');
    const order: string[] = [];
    const told: Error[] = [];
    const done = Promise.withResolvers<void>();
    const running = consume(
      queue,
      ({ id }) => {
        order.push(id);
        if (order.filter((one) => one === 'a1').length < 3 && id === 'a1') {
          return Promise.resolve({ kind: 'not-handled', reason: 'the database is down' });
        }
        if (id === 'a3') done.resolve();
        return Promise.resolve(handled);
      },
      { onTrouble: (error) => told.push(error) },
    );
    await done.promise;
    await running.stop();
    expect(order.filter((id) => id !== 'b1')).toEqual(['a1', 'a1', 'a1', 'a2', 'a3']);
    expect(told).toHaveLength(2);
    expect(told[0]?.message).toContain('the database is down');
    expect(await left(queue)).toBe(0);
  });

  it('hands on what nobody can read, each under an id of its own', async () => {
    const queue = await newQueue();
    channel.sendToQueue(queue, Buffer.from([0xff, 0xfe]), {
      headers: { number: 7, table: { a: [1] }, long: 2 ** 50, at: { '!': 'timestamp', value: 1 } },
    });
    channel.sendToQueue(queue, Buffer.alloc(0));
    await channel.waitForConfirms();
    const desk = new Desk();
    const running = consume(queue, desk.handle, {
      identify() {
        throw new Error('it cannot either');
      },
    });
    const ids = await desk.begun(2);
    expect(new Set(ids).size).toBe(2);
    expect(desk.seen).toMatchObject([
      { type: '', version: 1, key: undefined, headers: { number: '7', table: '{"a":[1]}' } },
      { type: '', payload: '' },
    ]);
    desk.answer(0);
    desk.answer(1);
    await running.stop();
  });

  it('believes its owner about messages of others', async () => {
    const queue = await newQueue();
    channel.sendToQueue(queue, Buffer.from('{"no":4}'), { type: 'theirs' });
    await channel.waitForConfirms();
    const desk = new Desk();
    const running = consume(queue, desk.handle, {
      identify: ({ content }) => ({ id: `order-${content.toString()}`, key: 'k' }),
    });
    await desk.begun(1);
    desk.answer(0);
    await running.stop();
    expect(desk.seen).toMatchObject([{ id: 'order-{"no":4}', key: 'k', type: 'theirs' }]);
  });

  it('goes on when its queue was deleted and is there again', async () => {
    const queue = await newQueue();
    const told: string[] = [];
    const desk = new Desk();
    const running = consume(queue, desk.handle, { onDisconnect: ({ message }) => told.push(message) });
    await put(queue, 'a1');
    await desk.begun(1);
    desk.answer(0);
    await expect.poll(() => left(queue)).toBe(0);
    await channel.deleteQueue(queue);
    await expect.poll(() => told.length).toBeGreaterThan(1);
    expect(told[0]).toBe(`RabbitMQ ended consuming ${queue}`);
    expect(told[1]).toContain('404');
    await channel.assertQueue(queue);
    await put(queue, 'a2');
    expect(await desk.begun(2)).toEqual(['a1', 'a2']);
    desk.answer(1);
    await running.stop();
  });

  it('ends with what happened when a connection that was handed in ends', async () => {
    const own = await amqplib.connect(broker.url);
    const queue = await newQueue();
    await put(queue, 'a1');
    const desk = new Desk();
    const running = consume(queue, desk.handle, { connection: own });
    await desk.begun(1);
    const closed = own.close();
    // It cannot be acknowledged any more, and comes again.
    desk.answer(0);
    await closed;
    await expect(running.ended).rejects.toThrow(/closed|closing/);
    expect(await left(queue)).toBe(1);
    await running.stop();
  });

  it('refuses limits that are none', () => {
    const { handle } = new Desk();
    expect(() => consume('q', handle, { concurrency: 0 })).toThrow('config_invalid');
    expect(() => consume('q', handle, { prefetch: 3 })).toThrow('config_invalid: prefetch is 3');
  });

  it('stops in time when the broker hangs', async () => {
    const server = await rabbitServer();
    const its = await amqplib.connect(server.url);
    const setUp = await its.createConfirmChannel();
    await setUp.assertQueue('orders', { durable: true });
    setUp.sendToQueue('orders', Buffer.from('{}'), { messageId: 'm1', type: 'placed' });
    await setUp.waitForConfirms();
    await its.close();
    const desk = new Desk();
    const running = consume('orders', desk.handle, { connection: () => amqplib.connect(server.url) });
    await desk.begun(1);
    await server.pause();
    const began = performance.now();
    const stopped = running.stop(100);
    desk.answer(0);
    await stopped;
    expect(performance.now() - began).toBeLessThan(10_000);
    await server.stop();
  });

  it('handles all that is confirmed through a kill and a restart of the broker', async () => {
    const server = await rabbitServer();
    const publisher = rabbitPublisher({ connection: () => amqplib.connect(server.url) });
    const setUp = await amqplib.connect(server.url);
    await (await setUp.createChannel()).assertQueue('orders', { durable: true });
    await setUp.close();
    const seen = new Set<string>();
    const handle: HandleMessage = ({ id }) => {
      seen.add(id);
      return Promise.resolve(handled);
    };
    const running = consume('orders', handle, { connection: () => amqplib.connect(server.url) });
    const published = new Set<string>();
    const publish = async (count: number): Promise<void> => {
      const batch = Array.from({ length: count }, () => outgoing('/orders'));
      const results = await publisher.publish(batch, AbortSignal.timeout(5_000));
      batch.forEach(({ id }, index) => results[index]?.kind === 'published' && published.add(id));
    };
    await publish(200);
    const during = publish(200);
    await server.kill();
    await during;
    await server.restart();
    await publish(100);
    expect(published.size).toBeGreaterThanOrEqual(200);
    await expect.poll(() => [...published].filter((id) => !seen.has(id)), { timeout: 20_000 }).toEqual([]);
    await running.stop();
    expect(firstOutOfOrder(seen)).toBeUndefined();
    await publisher.close();
    await server.stop();
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
