/** Clients of brokers, bare and as a publisher of a relay: the same records, and the same wait for the broker's word. */
import { jetstream, jetstreamManager } from '@nats-io/jetstream';
import { connect, headers } from '@nats-io/transport-node';
import { Admin, ProduceAcks, Producer } from '@platformatic/kafka';
import { Kafka, logLevel } from 'kafkajs';
import { kafkaPublisher } from 'settle/relay/kafka';
import { natsPublisher } from 'settle/relay/nats';
import { platformaticKafkaPublisher } from 'settle/relay/platformatic-kafka';
import type { Publisher } from 'settle/relay';
import { brokersOf } from '../../scripts/services/kafka.mjs';

export interface BrokerClient {
  readonly name: string;
  readonly service: 'nats' | 'kafka';
  readonly open: (url: string) => Promise<OpenClient>;
}

export interface OpenClient {
  /** Where messages go. */
  readonly address: string;
  readonly publisher: Publisher;
  /** By the client alone: resolves when the broker has confirmed all. */
  send(batch: readonly BareMessage[]): Promise<unknown>;
  /** Forgets what was published, where it would get in the way. */
  clear(): Promise<void>;
  close(): Promise<void>;
}

export interface BareMessage {
  readonly id: string;
  readonly key: string;
  readonly payload: string;
}

/** What a relay's messages carry beside id, key and payload. */
const type = 'order.placed';
const contentType = 'application/json';

const topic = 'bench';
const partitions = 4;

async function createTopic(url: string): Promise<void> {
  const admin = new Admin({ clientId: 'bench', bootstrapBrokers: brokersOf(url) });
  const topics = await admin.listTopics();
  if (!topics.includes(topic)) await admin.createTopics({ topics: [topic], partitions, replicas: 1 });
  await admin.close();
}

const kafkajs: BrokerClient = {
  name: 'kafkajs',
  service: 'kafka',
  async open(url) {
    await createTopic(url);
    const kafka = new Kafka({ brokers: brokersOf(url), logLevel: logLevel.NOTHING });
    const producer = kafka.producer();
    await producer.connect();
    return {
      address: topic,
      publisher: kafkaPublisher({ producer, name: 'bench' }),
      send: (batch) =>
        producer.send({
          topic,
          acks: -1,
          messages: batch.map(({ id, key, payload }) => ({
            key,
            value: payload,
            headers: {
              'settle-id': id,
              'settle-type': type,
              'settle-version': '1',
              'content-type': contentType,
            },
          })),
        }),
      clear: () => Promise.resolve(),
      close: () => producer.disconnect(),
    };
  },
};

const platformatic: BrokerClient = {
  name: '@platformatic/kafka',
  service: 'kafka',
  async open(url) {
    await createTopic(url);
    const producer = new Producer({ clientId: 'bench', bootstrapBrokers: brokersOf(url) });
    const [idName, typeName, versionName, contentTypeName] = [
      'settle-id',
      'settle-type',
      'settle-version',
      'content-type',
    ].map((name) => Buffer.from(name)) as [Buffer, Buffer, Buffer, Buffer];
    return {
      address: topic,
      publisher: platformaticKafkaPublisher({ producer, name: 'bench' }),
      send: (batch) =>
        producer.send({
          acks: ProduceAcks.ALL,
          messages: batch.map(({ id, key, payload }) => ({
            topic,
            key: Buffer.from(key),
            value: Buffer.from(payload),
            headers: new Map([
              [idName, Buffer.from(id)],
              [typeName, Buffer.from(type)],
              [versionName, Buffer.from('1')],
              [contentTypeName, Buffer.from(contentType)],
            ]),
          })),
        }),
      clear: () => Promise.resolve(),
      close: () => producer.close(),
    };
  },
};

/** Of one key a message waits for the word on the one before it, unless `in-flight`. */
function nats(perKey: 'one-by-one' | 'in-flight'): BrokerClient {
  return {
    name: perKey === 'one-by-one' ? 'nats' : 'nats, perKey: in-flight',
    service: 'nats',
    async open(url) {
      // Otherwise the client takes the stack of every request beforehand, for errors that do not come.
      const connection = await connect({ servers: url, noAsyncTraces: true });
      const manager = await jetstreamManager(connection);
      const stream = 'settle-bench';
      const address = `${stream}.orders`;
      await manager.streams.add({ name: stream, subjects: [`${stream}.>`] });
      const client = jetstream(connection);
      const sendOne = ({ id, key, payload }: BareMessage): Promise<unknown> => {
        const fields = headers();
        fields.set('settle-type', type);
        fields.set('settle-version', '1');
        fields.set('settle-key', key);
        fields.set('content-type', contentType);
        return client.publish(address, payload, { msgID: id, headers: fields });
      };
      return {
        address,
        publisher: natsPublisher({ connection, jetstream: client, headers, perKey, name: 'bench' }),
        send: (batch) =>
          perKey === 'in-flight' ? Promise.all(batch.map(sendOne)) : keyByKey(batch, sendOne),
        async clear() {
          await manager.streams.purge(stream);
        },
        async close() {
          await manager.streams.delete(stream);
          await connection.close();
        },
      };
    },
  };
}

async function keyByKey(
  batch: readonly BareMessage[],
  sendOne: (message: BareMessage) => Promise<unknown>,
): Promise<void> {
  const byKey = new Map<string, Promise<unknown>>();
  for (const message of batch) {
    const before = byKey.get(message.key);
    byKey.set(message.key, before === undefined ? sendOne(message) : before.then(() => sendOne(message)));
  }
  await Promise.all(byKey.values());
}

export const brokerClients: readonly BrokerClient[] = [
  nats('one-by-one'),
  nats('in-flight'),
  kafkajs,
  platformatic,
];
