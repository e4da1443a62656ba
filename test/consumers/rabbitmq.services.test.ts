import amqplib, { type ChannelModel } from 'amqplib';
import { afterAll, beforeAll, describe, test } from 'vitest';
import { postgresDatabase } from '../services/postgres.ts';
import { testRabbit } from '../services/rabbit.ts';
import { everyMessageOnce, type Sent } from './killed.ts';

const broker = testRabbit();
const database = postgresDatabase();
let connection: ChannelModel;

beforeAll(async () => {
  connection = await amqplib.connect(broker.url);
});
afterAll(() => connection.close());

async function send(queue: string, messages: readonly Sent[]): Promise<void> {
  const channel = await connection.createConfirmChannel();
  for (const { id: messageId, key, payload } of messages) {
    const headers = { 'settle-key': key };
    channel.sendToQueue(queue, Buffer.from(payload), { messageId, type: 'done', headers, persistent: true });
  }
  await channel.waitForConfirms();
  await channel.close();
}

describe('consumers of a queue of RabbitMQ, killed 10 times', () => {
  // covers E4
  test('handle every message once and each key in order', { timeout: 180_000 }, async () => {
    const queue = broker.name('work');
    const channel = await connection.createChannel();
    await channel.assertQueue(queue, { durable: true, arguments: { 'x-single-active-consumer': true } });
    await everyMessageOnce({
      plan: {
        broker: 'rabbitmq',
        url: broker.url,
        source: queue,
        group: 'work',
        database: database.url,
        storesPositions: false,
      },
      members: 2,
      kills: 10,
      keys: 7,
      perKey: 60,
      keepsOrder: true,
      send: (messages) => send(queue, messages),
    });
  });
});
