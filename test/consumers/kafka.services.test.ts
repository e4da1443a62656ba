import { setTimeout } from 'node:timers/promises';
import { Consumer } from '@platformatic/kafka';
import { type Admin, Kafka, logLevel, type Producer as KafkaJsProducer } from 'kafkajs';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { consumeKafka } from '../../lib/src/consumer/consumers/kafka.ts';
import type { KafkaConsumerOptions } from '../../lib/src/consumer/consumers/kafka-work.ts';
import { consumePlatformaticKafka } from '../../lib/src/consumer/consumers/platformatic-kafka.ts';
import type { Handled, RunningConsumer } from '../../lib/src/consumer/incoming.ts';
import { kafkaBroker, testKafka } from '../services/kafka.ts';
import { postgresDatabase } from '../services/postgres.ts';
import { sessionTimeoutMs, until } from './crowd.ts';
import { everyMessageOnce, type Sent } from './killed.ts';
import { Scripted } from './scripted.ts';

const broker = testKafka();
const databases = { kafkajs: postgresDatabase(), platformatic: postgresDatabase() };
const databaseOfPositions = postgresDatabase();
let kafka: Kafka;
let admin: Admin;
let producer: KafkaJsProducer;
let made = 0;

beforeAll(async () => {
  kafka = new Kafka({ brokers: broker.brokers, logLevel: logLevel.NOTHING });
  admin = kafka.admin();
  producer = kafka.producer();
  await Promise.all([admin.connect(), producer.connect()]);
});
afterAll(async () => {
  await Promise.all([admin.disconnect(), producer.disconnect()]);
});

const handled: Handled = { kind: 'handled', duplicate: false };

type Consume = (group: string, options: KafkaConsumerOptions, brokers?: string[]) => RunningConsumer;

const clients: Record<'kafkajs' | 'platformatic', Consume> = {
  kafkajs: (groupId, options, brokers = broker.brokers) =>
    consumeKafka({
      kafka: new Kafka({ brokers, logLevel: logLevel.NOTHING }),
      groupId,
      sessionTimeoutMs,
      onDisconnect: () => undefined,
      ...options,
    }),
  platformatic: (groupId, options, brokers = broker.brokers) =>
    consumePlatformaticKafka({
      consumer: () =>
        new Consumer({
          clientId: 'settle-test',
          bootstrapBrokers: brokers,
          groupId,
          sessionTimeout: sessionTimeoutMs,
          heartbeatInterval: 500,
        }),
      onDisconnect: () => undefined,
      ...options,
    }),
};

async function newTopic(partitions = 1): Promise<string> {
  const topic = await broker.createTopic(String((made += 1)), { partitions });
  await until(
    async () => (await admin.fetchTopicOffsets(topic).catch(() => [])).length === partitions,
    10_000,
    () => `${topic} has no leaders`,
  );
  return topic;
}

function sent(key: string, n: number): Sent {
  return { id: `${key}-${n}`, key, payload: JSON.stringify({ n }) };
}

async function send(topic: string, messages: readonly Sent[]): Promise<void> {
  await producer.send({
    topic,
    acks: -1,
    messages: messages.map(({ id, key, payload }) => ({
      key,
      value: payload,
      headers: { 'settle-id': id, 'settle-type': 'thing.done', 'settle-version': '1' },
    })),
  });
}

/** What the group has committed for the first partition; -1 for nothing. */
async function committed(group: string, topic: string): Promise<number> {
  const [offsets] = await admin.fetchOffsets({ groupId: group, topics: [topic] });
  return Number(offsets?.partitions.find(({ partition }) => partition === 0)?.offset ?? -1);
}

describe.each(Object.entries(clients))('a consumer of Kafka, %s', (name, consume) => {
  const open = (
    topic: string,
    options: Partial<KafkaConsumerOptions> & Pick<KafkaConsumerOptions, 'handle'>,
  ) =>
    consume(`group-${topic}`, {
      topics: [topic],
      commitEveryMs: 20,
      onTrouble: () => undefined,
      ...options,
    });

  test('commits nothing behind a message that is at work', async () => {
    const topic = await newTopic();
    const group = `group-${topic}`;
    await send(topic, [sent('a', 0), sent('b', 0), sent('c', 0), sent('a', 1)]);
    const script = new Scripted();
    const running = open(topic, { handle: script.handle });
    (await script.begun('a-0')).end(handled);
    const behind = await script.begun('c-0');
    const slow = await script.begun('b-0');
    behind.end(handled);
    (await script.begun('a-1')).end(handled);
    await until(
      async () => (await committed(group, topic)) >= 1,
      10_000,
      () => 'nothing is committed',
    );
    await setTimeout(100);
    expect(await committed(group, topic)).toBe(1);
    slow.end(handled);
    await running.stop();
    expect(await committed(group, topic)).toBe(4);
  });

  test('finishes and commits what is at work when it stops, and leaves the rest to the next one', async () => {
    const topic = await newTopic();
    await send(topic, [sent('a', 0), sent('a', 1), sent('a', 2)]);
    const script = new Scripted();
    const running = open(topic, { handle: script.handle });
    const first = await script.begun('a-0');
    const stopped = running.stop();
    first.end(handled);
    await stopped;
    expect(await committed(`group-${topic}`, topic)).toBe(1);
    const next = new Scripted();
    const again = open(topic, { handle: next.handle });
    (await next.begun('a-1')).end(handled);
    (await next.begun('a-2')).end(handled);
    await again.stop();
    expect(script.order).toEqual(['a-0']);
    expect(next.order).toEqual(['a-1', 'a-2']);
  });

  test('tries a message again where it is, and those behind it with its key wait', async () => {
    const topic = await newTopic();
    await send(topic, [sent('a', 0), sent('a', 1), sent('b', 0)]);
    const script = new Scripted();
    const running = open(topic, { handle: script.handle });
    (await script.begun('a-0')).end({ kind: 'not-handled', reason: 'the database is away' });
    (await script.begun('b-0')).end(handled);
    (await script.begun('a-0')).end(handled);
    (await script.begun('a-1')).end(handled);
    await running.stop();
    expect(script.order).toEqual(['a-0', 'b-0', 'a-0', 'a-1']);
    expect(await committed(`group-${topic}`, topic)).toBe(3);
  });

  test('names a message of somebody else, who gave it no id, by its place', async () => {
    const topic = await newTopic();
    await producer.send({
      topic,
      messages: [{ value: Buffer.from([0xff, 0xfe]) }, { key: 'k', value: null }],
    });
    const script = new Scripted();
    const running = open(topic, { handle: script.handle });
    const unreadable = await script.begun(`kafka:${topic}/0@0`);
    unreadable.end({ kind: 'dead', reason: 'unreadable' });
    const tombstone = await script.begun(`kafka:${topic}/0@1`);
    tombstone.end({ kind: 'dead', reason: 'a tombstone' });
    await running.stop();
    expect(unreadable.message).toMatchObject({ type: '', version: 1, key: undefined, source: topic });
    expect(tombstone.message).toMatchObject({ key: 'k', payload: '' });
    expect(await committed(`group-${topic}`, topic)).toBe(2);
  });

  test('keeps its partitions while one message is at work for longer than a session', async () => {
    const topic = await newTopic();
    await send(topic, [sent('a', 0), sent('a', 1)]);
    const script = new Scripted();
    const running = open(topic, { handle: script.handle, concurrency: 1 });
    const long = await script.begun('a-0');
    await setTimeout(sessionTimeoutMs + 2_000);
    long.end(handled);
    (await script.begun('a-1')).end(handled);
    await running.stop();
    expect(script.order).toEqual(['a-0', 'a-1']);
    expect(await committed(`group-${topic}`, topic)).toBe(2);
  });

  test('begins where its own store says, whatever is committed', async () => {
    const topic = await newTopic();
    await send(topic, [sent('a', 0), sent('b', 0), sent('c', 0)]);
    const stored = { read: async () => new Map([[0, 2n]]) };
    const script = new Scripted();
    const running = open(topic, { handle: script.handle, positions: { stored, consumer: 'work' } });
    (await script.begun('c-0')).end(handled);
    await running.stop();
    expect(script.order).toEqual(['c-0']);
  });

  test('handles the messages of a partition one after the other when positions are stored', async () => {
    const topic = await newTopic();
    await send(topic, [sent('a', 0), sent('b', 0)]);
    const stored = { read: async () => new Map<number, bigint>() };
    const script = new Scripted();
    const running = open(topic, { handle: script.handle, positions: { stored, consumer: 'work' } });
    const first = await script.begun('a-0');
    await setTimeout(200);
    expect(script.order).toEqual(['a-0']);
    first.end(handled);
    (await script.begun('b-0')).end(handled);
    await running.stop();
  });

  test('gives partitions to a second member, and takes them back', async () => {
    const topic = await newTopic(4);
    const script = new Scripted();
    const seen = { first: 0, second: 0 };
    const first = open(topic, {
      handle: async () => {
        seen.first += 1;
        return handled;
      },
    });
    await send(
      topic,
      Array.from({ length: 40 }, (_, n) => sent(`k${n}`, 0)),
    );
    await until(
      async () => seen.first >= 40,
      20_000,
      () => `only ${seen.first} came`,
    );
    const second = open(topic, {
      handle: async () => {
        seen.second += 1;
        return handled;
      },
    });
    let round = 1;
    await until(
      async () => {
        await send(
          topic,
          Array.from({ length: 40 }, (_, n) => sent(`k${n}`, round)),
        );
        round += 1;
        return seen.second > 0;
      },
      30_000,
      () => 'the second member gets nothing',
    );
    await second.stop();
    await until(
      async () => seen.first + seen.second >= 40 * round,
      20_000,
      () => `${seen.first} and ${seen.second} of ${40 * round} came`,
    );
    await first.stop();
    expect(script.order).toEqual([]);
  });

  test('goes on by itself after the broker was killed', { timeout: 180_000 }, async () => {
    const own = await kafkaBroker();
    const ownProducer = new Kafka({ brokers: own.brokers, logLevel: logLevel.NOTHING }).producer();
    await ownProducer.connect();
    const topic = await own.createTopic('orders');
    const put = (id: string) =>
      ownProducer.send({ topic, acks: -1, messages: [{ value: '{}', headers: { 'settle-id': id } }] });
    const script = new Scripted();
    const running = consume(
      'work',
      { topics: [topic], handle: script.handle, onTrouble: () => undefined },
      own.brokers,
    );
    await put('before');
    (await script.begun('before')).end(handled);
    await put('meanwhile');
    const meanwhile = await script.begun('meanwhile');
    await own.kill();
    meanwhile.end(handled);
    await own.restart();
    await put('after');
    script.endAll(handled);
    await script.begun('after');
    await running.stop();
    await ownProducer.disconnect();
    await own.stop();
  });

  test(
    'handles every message once and each key in order while its members are killed',
    { timeout: 240_000 },
    async () => {
      const topic = await newTopic(6);
      const client = name === 'kafkajs' ? 'kafkajs' : 'platformatic';
      await everyMessageOnce({
        plan: {
          broker: client,
          url: broker.url,
          source: topic,
          group: `group-${client}`,
          database: databases[client].url,
          storesPositions: false,
        },
        members: 3,
        kills: 10,
        keys: 30,
        perKey: 40,
        keepsOrder: true,
        send: (messages) => send(topic, messages),
      });
    },
  );
});

test(
  'handles every message once while positions are stored with the work and members are killed',
  { timeout: 240_000 },
  async () => {
    const topic = await newTopic(4);
    await everyMessageOnce({
      plan: {
        broker: 'platformatic',
        url: broker.url,
        source: topic,
        group: 'group-positions',
        database: databaseOfPositions.url,
        storesPositions: true,
      },
      members: 3,
      kills: 4,
      keys: 12,
      perKey: 30,
      keepsOrder: true,
      send: (messages) => send(topic, messages),
    });
  },
);
