import { connect } from 'node:net';
import { setTimeout } from 'node:timers/promises';
import { Producer } from '@platformatic/kafka';
import { Kafka, logLevel } from 'kafkajs';
import { describe, expect, it, test } from 'vitest';
import { kafkaBroker, testKafka } from '../../../../test/services/kafka.ts';
import { publisherContract, type BrokerNeeds, type ReceivedMessage } from '../publisher-contract.ts';
import type { OutgoingMessage, Publisher } from '../publisher.ts';
import { kafkaPublisher } from './kafka.ts';
import type { KafkaPublisherOptions } from './kafka-batches.ts';
import { platformaticKafkaPublisher } from './platformatic-kafka.ts';

const kafka = testKafka();
let made = 0;

interface Opened {
  readonly publisher: Publisher;
  readonly close: () => Promise<unknown>;
}

type Open = (brokers: string[], options: KafkaPublisherOptions) => Promise<Opened>;

const clients: Record<string, Open> = {
  async kafkajs(brokers, options) {
    const producer = kafkajs(brokers).producer();
    await producer.connect();
    return { publisher: kafkaPublisher({ producer, ...options }), close: () => producer.disconnect() };
  },
  platformatic: (brokers, options) => openPlatformatic(brokers, options, {}),
  'platformatic, idempotent': (brokers, options) =>
    openPlatformatic(brokers, options, { idempotent: true, retries: 3 }),
};

async function openPlatformatic(
  brokers: string[],
  options: KafkaPublisherOptions,
  how: { readonly idempotent?: boolean; readonly retries?: number },
): Promise<Opened> {
  const producer = new Producer({
    clientId: 'settle-test',
    bootstrapBrokers: brokers,
    retryDelay: 200,
    ...how,
  });
  return {
    publisher: platformaticKafkaPublisher({ producer, ...options }),
    close: () => producer.close(),
  };
}

function kafkajs(brokers: string[]): Kafka {
  return new Kafka({ brokers, logLevel: logLevel.NOTHING, retry: { initialRetryTime: 50, retries: 5 } });
}

/** A topic whose partitions all have their leaders: right after it is made, requests still fail for a moment. */
async function ready(brokers: string[], topic: string): Promise<string> {
  const admin = kafkajs(brokers).admin();
  await admin.connect();
  for (let tries = 0; ; tries += 1) {
    try {
      await admin.fetchTopicOffsets(topic);
      break;
    } catch (error) {
      if (tries === 100) throw error;
      await setTimeout(50);
    }
  }
  await admin.disconnect();
  return topic;
}

async function received(brokers: string[], topic: string): Promise<readonly ReceivedMessage[]> {
  await ready(brokers, topic);
  const client = kafkajs(brokers);
  const admin = client.admin();
  await admin.connect();
  const ends = await admin.fetchTopicOffsets(topic);
  await admin.disconnect();
  const total = ends.reduce((sum, { high }) => sum + Number(high), 0);
  const messages: ReceivedMessage[] = [];
  if (total === 0) return messages;
  const consumer = client.consumer({ groupId: `${topic}-${(made += 1)}` });
  await consumer.connect();
  await consumer.subscribe({ topic, fromBeginning: true });
  const { promise, resolve } = Promise.withResolvers<void>();
  await consumer.run({
    eachMessage: async ({ message }) => {
      const headers = Object.fromEntries(
        Object.entries(message.headers ?? {}).map(([name, value]) => [name, String(value)]),
      );
      const isEvent = headers['ce_specversion'] === '1.0';
      messages.push({
        id: headers[isEvent ? 'ce_id' : 'settle-id'],
        type: headers[isEvent ? 'ce_type' : 'settle-type'],
        version: headers[isEvent ? 'ce_dataversion' : 'settle-version'],
        key: message.key?.toString(),
        contentType: headers['content-type'],
        payload: String(message.value),
        headers,
      });
      if (messages.length === total) resolve();
    },
  });
  await promise;
  await consumer.disconnect();
  return messages;
}

for (const [name, openClient] of Object.entries(clients)) {
  publisherContract({ describe, it }, `Kafka, ${name}`, async ({ format, killable }: BrokerNeeds) => {
    if (!killable) {
      const name = await kafka.createTopic(String((made += 1)), { partitions: 3 });
      const address = await ready(kafka.brokers, name);
      const { publisher, close } = await openClient(kafka.brokers, { format });
      return {
        publisher,
        address,
        unknownAddress: kafka.name('nobody'),
        tooLargeBytes: 1_100_000,
        received: () => received(kafka.brokers, address),
        dispose: async () => void (await close()),
      };
    }
    const broker = await kafkaBroker();
    const address = await ready(broker.brokers, await broker.createTopic('orders', { partitions: 3 }));
    const { publisher, close } = await openClient(broker.brokers, { format });
    return {
      publisher,
      address,
      received: () => received(broker.brokers, address),
      kill: () => broker.kill(),
      restart: () => broker.restart(),
      async dispose() {
        await close();
        await broker.stop();
      },
    };
  });
}

async function smallTopic(): Promise<string> {
  const topic = kafka.name(String((made += 1)));
  const admin = kafkajs(kafka.brokers).admin();
  await admin.connect();
  const configEntries = [{ name: 'max.message.bytes', value: '3000' }];
  await admin.createTopics({ topics: [{ topic, numPartitions: 3, replicationFactor: 1, configEntries }] });
  await admin.disconnect();
  return await ready(kafka.brokers, topic);
}

function batchOf(address: string, payloads: readonly string[]): readonly OutgoingMessage[] {
  return payloads.map((payload, index) => ({
    id: `${address}-${index}`,
    type: 'order.placed',
    version: 1,
    address,
    key: `key ${index % 10}`,
    payload,
    contentType: 'application/json',
    headers: {},
    createdAtMs: 0,
    attempt: 1,
  }));
}

describe.each(Object.entries(clients))('a topic that takes little at a time, %s', (name, openClient) => {
  test('gets a batch in parts', async () => {
    const topic = await smallTopic();
    const { publisher, close } = await openClient(kafka.brokers, {});
    const messages = batchOf(topic, Array(60).fill(JSON.stringify('x'.repeat(500))));
    const results = await publisher.publish(messages, AbortSignal.timeout(20_000));
    await close();
    expect(results.map(({ kind }) => kind)).toEqual(Array(60).fill('published'));
    const ids = (await received(kafka.brokers, topic)).map(({ id }) => id);
    expect(new Set(ids).size).toBe(60);
    for (const key of Array(10).keys()) {
      const sent = messages.filter((message) => message.key === `key ${key}`).map(({ id }) => id);
      const first = [...new Set(ids)].filter((id) => id !== undefined && sent.includes(id));
      expect(first).toEqual(sent);
    }
  });

  // kafkajs tells only the first error of a request, and not which partitions have their part.
  test.skipIf(name === 'kafkajs')('gets nothing twice for one that is too large beside it', async () => {
    const topic = await smallTopic();
    const { publisher, close } = await openClient(kafka.brokers, {});
    const messages = batchOf(
      topic,
      Array(10)
        .fill('{}')
        .with(4, JSON.stringify('x'.repeat(4_000))),
    );
    const results = await publisher.publish(messages, AbortSignal.timeout(20_000));
    await close();
    expect(results.map(({ kind }) => kind)).toEqual(Array(10).fill('published').with(4, 'poison'));
    const ids = (await received(kafka.brokers, topic)).map(({ id }) => id);
    expect(ids).toHaveLength(9);
    expect(new Set(ids)).toEqual(new Set(messages.toSpliced(4, 1).map(({ id }) => id)));
  });
});

describe('an idempotent producer of kafkajs', () => {
  test('is refused', () => {
    const producer = kafkajs(kafka.brokers).producer({ idempotent: true });
    expect(() => kafkaPublisher({ producer })).toThrow('config_invalid');
  });

  test('confirms a message that Kafka does not keep, after another one whose answer was lost', async () => {
    const topic = await ready(kafka.brokers, await kafka.createTopic(String((made += 1))));
    let losesAnswers = false;
    const client = new Kafka({
      brokers: kafka.brokers,
      logLevel: logLevel.NOTHING,
      retry: { retries: 1, initialRetryTime: 20 },
      socketFactory({ host, port, onConnect }) {
        const socket = connect({ host, port }, onConnect);
        const emit = socket.emit.bind(socket);
        socket.emit = (event: string, ...given: unknown[]) => {
          if (event !== 'data' || !losesAnswers) return emit(event, ...given);
          socket.destroy();
          return emit('end');
        };
        return socket;
      },
    });
    const producer = client.producer({ idempotent: true, maxInFlightRequests: 1 });
    await producer.connect();
    const send = (value: string) => producer.send({ topic, acks: -1, messages: [{ value }] });
    await send('first');
    losesAnswers = true;
    await expect(send('its answer is lost')).rejects.toThrow('Closed connection');
    losesAnswers = false;
    const [confirmed] = await send('confirmed');
    await producer.disconnect();
    const kept = (await received(kafka.brokers, topic)).map(({ payload }) => payload);
    expect(confirmed?.errorCode).toBe(0);
    expect(kept).toEqual(['first', 'its answer is lost']);
  });
});
