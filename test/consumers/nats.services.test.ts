import { setTimeout } from 'node:timers/promises';
import { AckPolicy, jetstream, jetstreamManager } from '@nats-io/jetstream';
import { connect, headers, type NatsConnection } from '@nats-io/transport-node';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { consumeNats, type NatsConsumerOptions } from '../../lib/src/consumer/consumers/nats.ts';
import type { Handled, IncomingMessage } from '../../lib/src/consumer/incoming.ts';
import { natsPublisher } from '../../lib/src/relay/publishers/nats.ts';
import { natsServer, testNats } from '../services/nats.ts';
import { postgresDatabase } from '../services/postgres.ts';
import { everyMessageOnce, type Sent } from './killed.ts';
import { Scripted } from './scripted.ts';

const nats = testNats();
const database = postgresDatabase();
let connection: NatsConnection;
let made = 0;

beforeAll(async () => {
  connection = await connect({ servers: nats.url });
});
afterAll(() => connection.close());

const handled: Handled = { kind: 'handled', duplicate: false };

async function newStream(consumer: { readonly ackWaitMs?: number } = {}): Promise<string> {
  const stream = nats.name(String((made += 1)));
  const manager = await jetstreamManager(connection);
  await manager.streams.add({ name: stream, subjects: [stream] });
  await manager.consumers.add(stream, {
    durable_name: 'work',
    ack_policy: AckPolicy.Explicit,
    ack_wait: (consumer.ackWaitMs ?? 2_000) * 1e6,
  });
  return stream;
}

async function send(stream: string, messages: readonly Sent[]): Promise<void> {
  const publisher = natsPublisher({
    connection,
    jetstream: jetstream(connection),
    headers,
    perKey: 'in-flight',
  });
  const outgoing = messages.map(({ id, key, payload }) => ({
    id,
    key,
    payload,
    type: 'thing.done',
    version: 1,
    address: stream,
    contentType: 'application/json' as const,
    headers: {},
    createdAtMs: 0,
    attempt: 1,
  }));
  const results = await publisher.publish(outgoing, AbortSignal.timeout(30_000));
  expect(results.filter(({ kind }) => kind !== 'published')).toEqual([]);
}

function sent(key: string, n: number): Sent {
  return { id: `${key}-${n}`, key, payload: JSON.stringify({ n }) };
}

function consume(
  stream: string,
  options: Partial<NatsConsumerOptions> & Pick<NatsConsumerOptions, 'handle'>,
) {
  return consumeNats({
    jetstream: jetstream(connection),
    stream,
    durable: 'work',
    onTrouble: () => undefined,
    onDisconnect: () => undefined,
    ...options,
  });
}

async function info(stream: string) {
  return await (await jetstreamManager(connection)).consumers.info(stream, 'work');
}

describe('a consumer of NATS JetStream', () => {
  test('acknowledges what is handled, and gives back what has not begun when it stops', async () => {
    const stream = await newStream();
    await send(stream, [sent('a', 0), sent('a', 1), sent('b', 0)]);
    const script = new Scripted();
    const running = consume(stream, { handle: script.handle, confirmAcks: true });
    const first = await script.begun('a-0');
    const other = await script.begun('b-0');
    first.end(handled);
    other.end(handled);
    const second = await script.begun('a-1');
    await send(stream, [sent('a', 2)]);
    const stopped = running.stop(200);
    second.end(handled);
    await stopped;
    expect(script.order).toEqual(['a-0', 'b-0', 'a-1']);
    const left = new Scripted();
    const again = consume(stream, { handle: left.handle, confirmAcks: true });
    (await left.begun('a-2')).end(handled);
    await again.stop();
    expect(left.order).toEqual(['a-2']);
    expect((await info(stream)).ack_floor.stream_seq).toBe(4);
  });

  test('keeps a message for itself for as long as it is at work', async () => {
    const stream = await newStream({ ackWaitMs: 300 });
    await send(stream, [sent('a', 0), sent('a', 1)]);
    const script = new Scripted();
    const running = consume(stream, { handle: script.handle });
    const long = await script.begun('a-0');
    await setTimeout(1_000);
    long.end(handled);
    (await script.begun('a-1')).end(handled);
    await running.stop();
    expect(script.order).toEqual(['a-0', 'a-1']);
    expect((await info(stream)).num_redelivered).toBe(0);
  });

  test('tries a message again where it is, and those behind it with its key wait', async () => {
    const stream = await newStream();
    await send(stream, [sent('a', 0), sent('a', 1), sent('b', 0)]);
    const script = new Scripted();
    const running = consume(stream, { handle: script.handle });
    (await script.begun('a-0')).end({ kind: 'not-handled', reason: 'the database is away' });
    (await script.begun('b-0')).end(handled);
    (await script.begun('a-0')).end(handled);
    (await script.begun('a-1')).end(handled);
    await running.stop();
    expect(script.order).toEqual(['a-0', 'b-0', 'a-0', 'a-1']);
    expect((await info(stream)).num_ack_pending).toBe(0);
  });

  test('names a message of somebody else, who gave it no id, by its place', async () => {
    const stream = await newStream();
    await jetstream(connection).publish(stream, new Uint8Array([0xff, 0xfe]));
    const script = new Scripted();
    const running = consume(stream, { handle: script.handle });
    const { message, end } = await script.begun(`nats:${stream}@1`);
    end({ kind: 'dead', reason: 'unreadable' });
    await running.stop();
    expect(message).toMatchObject({
      type: '',
      version: 1,
      key: undefined,
      source: stream,
      ref: `${stream}@1`,
    });
    expect((await info(stream)).num_ack_pending).toBe(0);
  });

  test('reads CloudEvents that the publisher wrote', async () => {
    const stream = await newStream();
    const publisher = natsPublisher({
      connection,
      jetstream: jetstream(connection),
      headers,
      format: 'cloudevents',
    });
    const traceparent = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01';
    await publisher.publish(
      [
        {
          id: 'an id',
          key: 'Zoë',
          payload: '{}',
          type: 'thing.done',
          version: 3,
          address: stream,
          contentType: 'application/json',
          headers: { traceparent },
          createdAtMs: 0,
          attempt: 1,
        },
      ],
      AbortSignal.timeout(5_000),
    );
    const script = new Scripted();
    const running = consume(stream, { handle: script.handle });
    const { message, end } = await script.begun('an id');
    end(handled);
    await running.stop();
    const expected: Partial<IncomingMessage> = {
      key: 'Zoë',
      type: 'thing.done',
      version: 3,
      contentType: 'application/json',
    };
    expect(message).toMatchObject(expected);
    expect(message.headers).toMatchObject({ traceparent });
  });

  test('refuses a durable consumer that acknowledges all before', async () => {
    const stream = nats.name(String((made += 1)));
    const manager = await jetstreamManager(connection);
    await manager.streams.add({ name: stream, subjects: [stream] });
    await manager.consumers.add(stream, { durable_name: 'work', ack_policy: AckPolicy.All });
    const { promise: told, resolve } = Promise.withResolvers<Error>();
    const running = consume(stream, { handle: new Scripted().handle, onDisconnect: resolve });
    expect((await told).message).toContain('config_invalid');
    await running.stop();
  });

  test('goes on by itself after the server was killed', async () => {
    const server = await natsServer();
    const own = await connect({ servers: server.url, maxReconnectAttempts: -1, reconnectTimeWait: 50 });
    const manager = await jetstreamManager(own);
    await manager.streams.add({ name: 'orders', subjects: ['orders'] });
    await manager.consumers.add('orders', {
      durable_name: 'work',
      ack_policy: AckPolicy.Explicit,
      ack_wait: 2e9,
    });
    const put = async (id: string): Promise<void> => {
      for (let tries = 0; ; tries += 1) {
        try {
          await jetstream(own).publish('orders', '{}', { msgID: id });
          return;
        } catch (error) {
          if (tries === 100) throw error;
          await setTimeout(50);
        }
      }
    };
    const script = new Scripted();
    const running = consumeNats({
      jetstream: jetstream(own),
      stream: 'orders',
      durable: 'work',
      handle: script.handle,
      onDisconnect: () => undefined,
      reconnectMs: { min: 50, max: 200 },
    });
    await put('before');
    (await script.begun('before')).end(handled);
    await put('meanwhile');
    const meanwhile = await script.begun('meanwhile');
    await server.kill();
    meanwhile.end(handled);
    await server.restart();
    await put('after');
    // Acknowledgements that the server had not written down were for nothing.
    script.endAll(handled);
    await script.begun('after');
    await running.stop();
    await own.close();
    await server.stop();
  });

  test(
    'handles every message once and each key in order when it is killed 10 times',
    { timeout: 180_000 },
    async () => {
      const stream = await newStream({ ackWaitMs: 1_500 });
      await everyMessageOnce({
        plan: {
          broker: 'nats',
          url: nats.url,
          source: stream,
          group: 'work',
          database: database.url,
          storesPositions: false,
        },
        members: 1,
        kills: 10,
        keys: 7,
        perKey: 60,
        keepsOrder: true,
        send: (messages) => send(stream, messages),
      });
    },
  );
});
