// A process that consumes, for tests which kill it. Each message takes effect in PostgreSQL, once, by the inbox.
import { once } from 'node:events';
import { createServer } from 'node:http';
import { setTimeout } from 'node:timers/promises';
import { jetstream } from '@nats-io/jetstream';
import { connect } from '@nats-io/transport-node';
import { Consumer as PlatformaticConsumer } from '@platformatic/kafka';
import amqplib from 'amqplib';
import { Redis } from 'ioredis';
import { Kafka, logLevel } from 'kafkajs';
import { Pool } from 'pg';
import { createConsumer } from '../../lib/src/consumer/consumer.ts';
import { consumeKafka } from '../../lib/src/consumer/consumers/kafka.ts';
import { webhookConsumer } from '../../lib/src/consumer/consumers/http.ts';
import { consumeNats } from '../../lib/src/consumer/consumers/nats.ts';
import { consumePlatformaticKafka } from '../../lib/src/consumer/consumers/platformatic-kafka.ts';
import { consumeRabbit } from '../../lib/src/consumer/consumers/rabbitmq.ts';
import { consumeRedis } from '../../lib/src/consumer/consumers/redis.ts';
import type { HandleMessage, RunningConsumer } from '../../lib/src/consumer/incoming.ts';
import { createInbox } from '../../lib/src/inbox/index.ts';
import { pgDriver } from '../../lib/src/local/adapters/pg.ts';
import { createTransactions } from '../../lib/src/local/manager.ts';
import { nodeHandler } from '../../lib/src/participant/glue/node.ts';
import { brokersOf } from '../../scripts/services/kafka.mjs';
import { sessionTimeoutMs, type MemberPlan } from './crowd.ts';

const plan = JSON.parse(process.argv[2] ?? '{}') as MemberPlan;
const pool = new Pool({ connectionString: plan.database, max: 8 });
pool.on('error', () => undefined);
const inbox = createInbox(createTransactions(pgDriver(pool)));

const { handle } = createConsumer({
  name: plan.group,
  inbox,
  storePositions: plan.storesPositions,
  handle: async (payload, { tx, message }) => {
    await tx.client.query('insert into effect (key, payload, member) values ($1, $2, $3)', [
      message.key,
      JSON.stringify(payload),
      process.pid,
    ]);
    // So that a kill finds work half done.
    await setTimeout(Math.random() * 4);
  },
});

const running = await consume(handle);
process.on('SIGTERM', () => {
  void running.stop().then(async () => {
    await pool.end();
    process.exit(0);
  });
});
running.ended.catch((error: unknown) => {
  console.error(error);
  process.exit(1);
});

async function consume(handle: HandleMessage): Promise<RunningConsumer> {
  const { broker, url, source, group } = plan;
  const quiet = { onTrouble: () => undefined, onDisconnect: () => undefined };
  const positions = plan.storesPositions ? { stored: inbox.positions, consumer: group } : undefined;
  const common = { topics: [source], handle, ...quiet, ...(positions === undefined ? {} : { positions }) };
  switch (broker) {
    case 'kafkajs':
      return consumeKafka({
        ...common,
        kafka: new Kafka({ brokers: brokersOf(url), logLevel: logLevel.NOTHING }),
        groupId: group,
        sessionTimeoutMs,
      });
    case 'platformatic':
      return consumePlatformaticKafka({
        ...common,
        consumer: () =>
          new PlatformaticConsumer({
            clientId: group,
            bootstrapBrokers: brokersOf(url),
            groupId: group,
            sessionTimeout: sessionTimeoutMs,
            heartbeatInterval: 500,
          }),
      });
    case 'nats': {
      const connection = await connect({ servers: url, maxReconnectAttempts: -1 });
      return consumeNats({
        jetstream: jetstream(connection),
        stream: source,
        durable: group,
        handle,
        ...quiet,
      });
    }
    case 'rabbitmq':
      return consumeRabbit({
        connection: () => amqplib.connect(url),
        queue: source,
        handle,
        reconnectMs: { min: 10, max: 100 },
        ...quiet,
      });
    case 'redis':
      return consumeRedis({
        reader: new Redis(url),
        client: new Redis(url),
        stream: source,
        group,
        consumer: plan.consumer ?? String(process.pid),
        claimIdleMs: 1_000,
        handle,
        ...quiet,
      });
    case 'http': {
      const webhook = webhookConsumer({ secrets: 'none', handle });
      const server = createServer(nodeHandler(webhook)).listen(Number(source), '127.0.0.1');
      return { stop: () => webhook.stop(), ended: once(server, 'close').then(() => undefined) };
    }
  }
}
