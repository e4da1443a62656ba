// The clients that users have, as far as facts about brokers need them: what was put is durable once its promise resolves.
import { AckPolicy, jetstream, jetstreamManager } from '@nats-io/jetstream';
import { connect as connectToNats } from '@nats-io/transport-node';
import { type Message, ProduceAcks, Consumer, Producer } from '@platformatic/kafka';
import { connect as connectToRabbit } from 'amqplib';
import { Kafka, logLevel } from 'kafkajs';
import { brokersOf } from '../../scripts/services/kafka.mjs';

export interface BrokerClient {
  put(to: string, value: string): Promise<void>;
  /** Takes so many of what was put there, and acknowledges each. */
  take(from: string, count: number): Promise<readonly string[]>;
  close(): Promise<void>;
}

export async function natsClient(url: string): Promise<BrokerClient> {
  const connection = await connectToNats({ servers: url });
  const client = jetstream(connection);
  return {
    async put(stream, value) {
      await client.publish(`${stream}.fact`, value);
    },
    async take(stream, count) {
      const manager = await jetstreamManager(connection);
      await manager.consumers.add(stream, { durable_name: 'facts', ack_policy: AckPolicy.Explicit });
      const consumer = await client.consumers.get(stream, 'facts');
      const values: string[] = [];
      for await (const message of await consumer.fetch({ max_messages: count, expires: 10_000 })) {
        values.push(message.string());
        await message.ackAck();
      }
      return values;
    },
    close: () => connection.close(),
  };
}

export async function rabbitClient(url: string): Promise<BrokerClient> {
  const connection = await connectToRabbit(url);
  const channel = await connection.createConfirmChannel();
  await channel.prefetch(1);
  return {
    async put(queue, value) {
      channel.sendToQueue(queue, Buffer.from(value), { persistent: true, mandatory: true });
      await channel.waitForConfirms();
    },
    async take(queue, count) {
      const values: string[] = [];
      const { promise, resolve } = Promise.withResolvers<void>();
      const { consumerTag } = await channel.consume(queue, (message) => {
        if (message === null) return;
        values.push(message.content.toString());
        channel.ack(message);
        if (values.length === count) resolve();
      });
      await promise;
      await channel.cancel(consumerTag);
      return values;
    },
    close: () => connection.close(),
  };
}

export async function kafkajsClient(url: string): Promise<BrokerClient> {
  const kafka = new Kafka({ brokers: brokersOf(url), logLevel: logLevel.NOTHING });
  const producer = kafka.producer();
  await producer.connect();
  return {
    async put(topic, value) {
      await producer.send({ topic, acks: -1, messages: [{ value }] });
    },
    async take(topic, count) {
      const consumer = kafka.consumer({ groupId: `${topic}-kafkajs` });
      await consumer.connect();
      await consumer.subscribe({ topic, fromBeginning: true });
      const values: string[] = [];
      const { promise, resolve } = Promise.withResolvers<void>();
      await consumer.run({
        eachMessage: async ({ message }) => {
          values.push(String(message.value));
          if (values.length === count) resolve();
        },
      });
      await promise;
      await consumer.disconnect();
      return values;
    },
    close: () => producer.disconnect(),
  };
}

export async function platformaticClient(url: string): Promise<BrokerClient> {
  const where = { clientId: 'facts', bootstrapBrokers: brokersOf(url) };
  const producer = new Producer(where);
  return {
    async put(topic, value) {
      await producer.send({ acks: ProduceAcks.ALL, messages: [{ topic, value: Buffer.from(value) }] });
    },
    async take(topic, count) {
      const consumer = new Consumer({ ...where, groupId: `${topic}-platformatic` });
      const stream = await consumer.consume({ topics: [topic], mode: 'earliest', autocommit: false });
      const values: string[] = [];
      for await (const message of stream as AsyncIterable<Message>) {
        values.push(message.value.toString());
        await message.commit();
        if (values.length === count) break;
      }
      await consumer.close(true);
      return values;
    },
    close: () => producer.close(),
  };
}
