// The brokers that a test kills, each with its publisher and its consumer as their users set them up.
import { AckPolicy, jetstream, jetstreamManager } from '@nats-io/jetstream';
import { connect as connectToNats, headers } from '@nats-io/transport-node';
import { Consumer, Producer } from '@platformatic/kafka';
import amqplib from 'amqplib';
import { Redis } from 'ioredis';
import { Kafka, logLevel } from 'kafkajs';
import { consumeKafka } from '../../../lib/src/consumer/consumers/kafka.ts';
import { consumeNats } from '../../../lib/src/consumer/consumers/nats.ts';
import { consumePlatformaticKafka } from '../../../lib/src/consumer/consumers/platformatic-kafka.ts';
import { consumeRabbit } from '../../../lib/src/consumer/consumers/rabbitmq.ts';
import { consumeRedis } from '../../../lib/src/consumer/consumers/redis.ts';
import type { HandleMessage, RunningConsumer } from '../../../lib/src/consumer/index.ts';
import type { Publisher } from '../../../lib/src/relay/index.ts';
import { kafkaPublisher } from '../../../lib/src/relay/publishers/kafka.ts';
import { natsPublisher } from '../../../lib/src/relay/publishers/nats.ts';
import { platformaticKafkaPublisher } from '../../../lib/src/relay/publishers/platformatic-kafka.ts';
import { rabbitPublisher } from '../../../lib/src/relay/publishers/rabbitmq.ts';
import { redisPublisher } from '../../../lib/src/relay/publishers/redis.ts';
import type { PrivateBroker } from '../../services/broker.ts';
import { kafkaBroker } from '../../services/kafka.ts';
import { natsServer } from '../../services/nats.ts';
import { rabbitServer } from '../../services/rabbit.ts';
import { redisServer } from '../../services/redis.ts';

export interface MortalBroker {
  readonly server: PrivateBroker;
  readonly publisher: Publisher;
  readonly destination: `${string}:${string}`;
  consume(handle: HandleMessage): RunningConsumer;
  /** Ends its clients, and then the server. */
  close(): Promise<void>;
}

const quiet = {
  reconnectMs: { min: 20, max: 500 },
  onTrouble: () => undefined,
  onDisconnect: () => undefined,
};
/** The least that Kafka allows. */
const sessionTimeoutMs = 6_000;

export async function mortalNats(): Promise<MortalBroker> {
  const server = await natsServer();
  const connect = () =>
    connectToNats({ servers: server.url, maxReconnectAttempts: -1, reconnectTimeWait: 50 });
  const [publishing, consuming] = [await connect(), await connect()];
  const manager = await jetstreamManager(consuming);
  await manager.streams.add({ name: 'orders', subjects: ['orders'] });
  await manager.consumers.add('orders', {
    durable_name: 'shop',
    ack_policy: AckPolicy.Explicit,
    ack_wait: 2_000 * 1e6,
  });
  return {
    server,
    publisher: natsPublisher({
      connection: publishing,
      jetstream: jetstream(publishing),
      headers,
      ackTimeoutMs: 2_000,
    }),
    destination: 'nats:orders',
    consume: (handle) =>
      consumeNats({ jetstream: jetstream(consuming), stream: 'orders', durable: 'shop', handle, ...quiet }),
    async close() {
      await Promise.all([publishing.close(), consuming.close()]);
      await server.stop();
    },
  };
}

export async function mortalRabbit(): Promise<MortalBroker> {
  const server = await rabbitServer();
  const connection = () => amqplib.connect(server.url);
  const setUp = await connection();
  await (await setUp.createChannel()).assertQueue('orders', { durable: true });
  await setUp.close();
  const publisher = rabbitPublisher({ connection });
  return {
    server,
    publisher,
    destination: 'rabbitmq:/orders',
    consume: (handle) => consumeRabbit({ connection, queue: 'orders', handle, ...quiet }),
    async close() {
      await publisher.close();
      await server.stop();
    },
  };
}

export async function mortalRedis(): Promise<MortalBroker> {
  const server = await redisServer();
  const connect = async (): Promise<Redis> => {
    const client = new Redis(server.url, { lazyConnect: true, retryStrategy: () => 50 });
    client.on('error', () => undefined);
    await client.connect();
    return client;
  };
  const [publishing, reader, client] = [await connect(), await connect(), await connect()];
  return {
    server,
    publisher: redisPublisher({ client: publishing }),
    destination: 'redis:orders',
    consume: (handle) =>
      consumeRedis({ reader, client, stream: 'orders', group: 'shop', consumer: 'one', handle, ...quiet }),
    async close() {
      for (const one of [publishing, reader, client]) one.disconnect();
      await server.stop();
    },
  };
}

export async function mortalKafkaJs(): Promise<MortalBroker> {
  const server = await kafkaBroker();
  const topic = await server.createTopic('orders', { partitions: 3 });
  const kafka = new Kafka({
    brokers: server.brokers,
    logLevel: logLevel.NOTHING,
    retry: { initialRetryTime: 50, retries: 5 },
  });
  const producer = kafka.producer();
  await producer.connect();
  return {
    server,
    publisher: kafkaPublisher({ producer }),
    destination: `kafka:${topic}`,
    consume: (handle) =>
      consumeKafka({ kafka, groupId: 'shop', topics: [topic], sessionTimeoutMs, handle, ...quiet }),
    async close() {
      await producer.disconnect();
      await server.stop();
    },
  };
}

export async function mortalPlatformaticKafka(): Promise<MortalBroker> {
  const server = await kafkaBroker();
  const topic = await server.createTopic('orders', { partitions: 3 });
  const at = { clientId: 'settle-test', bootstrapBrokers: server.brokers };
  const producer = new Producer({ ...at, retryDelay: 200 });
  const consumer = () =>
    new Consumer({ ...at, groupId: 'shop', sessionTimeout: sessionTimeoutMs, heartbeatInterval: 500 });
  return {
    server,
    publisher: platformaticKafkaPublisher({ producer }),
    destination: `kafka:${topic}`,
    consume: (handle) => consumePlatformaticKafka({ consumer, topics: [topic], handle, ...quiet }),
    async close() {
      await producer.close();
      await server.stop();
    },
  };
}
