// The brokers of the harness: each works with the clients that users have, lives through a kill, and files do not meet.
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { jetstreamManager, type StreamAPI } from '@nats-io/jetstream';
import { connect as connectToNats } from '@nats-io/transport-node';
import { connect as connectToRabbit } from 'amqplib';
import { Kafka, logLevel } from 'kafkajs';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { findWay } from '../../scripts/services/find.mjs';
import { brokersOf } from '../../scripts/services/kafka.mjs';
import { makeBase, removeBase } from '../../scripts/services/leftovers.mjs';
import { services } from '../../scripts/services/services.mjs';
import { start } from '../../scripts/services/start.mjs';
import { Line } from './ask.ts';
import type { PrivateBroker, SharedBroker, TestBroker } from './broker.ts';
import {
  type BrokerClient,
  kafkajsClient,
  natsClient,
  platformaticClient,
  rabbitClient,
} from './broker-clients.ts';
import { createTopic, kafkaBroker, sharedKafka, testKafka } from './kafka.ts';
import { natsServer, sharedNats, testNats } from './nats.ts';
import { rabbitServer, sharedRabbit, testRabbit } from './rabbit.ts';

interface Kind {
  readonly shared: SharedBroker;
  readonly ofThisFile: TestBroker;
  readonly startOwn: () => Promise<PrivateBroker>;
  /** Makes what keeps messages there: a stream, a queue, a topic. */
  readonly make: (url: string, name: string) => Promise<unknown>;
  /** Which of these are there. */
  readonly among: (url: string, names: readonly string[]) => Promise<readonly string[]>;
  readonly clients: Readonly<Record<string, (url: string) => Promise<BrokerClient>>>;
}

const nats = testNats();
const rabbit = testRabbit();
const kafka = testKafka();

const kinds: Record<string, Kind> = {
  NATS: {
    shared: sharedNats,
    ofThisFile: nats,
    startOwn: natsServer,
    make: makeStream,
    among: streamsAmong,
    clients: { '@nats-io/jetstream': natsClient },
  },
  RabbitMQ: {
    shared: sharedRabbit,
    ofThisFile: rabbit,
    startOwn: rabbitServer,
    make: makeQueue,
    among: queuesAmong,
    clients: { amqplib: rabbitClient },
  },
  Kafka: {
    shared: sharedKafka,
    ofThisFile: kafka,
    startOwn: kafkaBroker,
    make: createTopic,
    among: topicsAmong,
    clients: { kafkajs: kafkajsClient, '@platformatic/kafka': platformaticClient },
  },
};

describe.each(Object.entries(kinds))(
  '%s',
  (_name, { shared, ofThisFile, startOwn, make, among, clients }) => {
    const eachClient = Object.entries(clients);
    const { probe } = services[shared.service];

    test.each(eachClient)('gives what %s puts to who takes it', async (client, connectTo) => {
      const name = ofThisFile.name(labelOf(client));
      await make(ofThisFile.url, name);
      await withClient(connectTo, ofThisFile.url, async (client) => {
        await client.put(name, 'one');
        await client.put(name, 'two');
        expect(await client.take(name, 2)).toEqual(['one', 'two']);
      });
    });

    test('is rid of what a file has left, and of nothing else', async () => {
      const names = ['mine', 'also-mine', 'yours'].map((label) => ofThisFile.name(label));
      for (const name of names) await make(ofThisFile.url, name);
      const [mine = '', alsoMine = '', yours = ''] = names;
      await shared.cleanUp(ofThisFile.url, { prefix: mine, names: [mine] });
      expect(await among(ofThisFile.url, names)).toEqual([alsoMine, yours]);
    });

    describe('of a file alone', () => {
      let broker: PrivateBroker;
      beforeAll(async () => {
        broker = await startOwn();
      });
      afterAll(() => broker.stop());

      test('is another than the one that all share', async () => {
        expect(broker.url).not.toBe(ofThisFile.url);
        const name = ofThisFile.name('elsewhere');
        await make(broker.url, name);
        expect(await among(broker.url, [name])).toEqual([name]);
        expect(await among(ofThisFile.url, [name])).toEqual([]);
      });

      test.each(eachClient)(
        'still has what %s has put when it starts again after a kill',
        async (client, connectTo) => {
          const name = labelOf(client);
          await make(broker.url, name);
          await withClient(connectTo, broker.url, (client) => client.put(name, 'kept'));
          await broker.kill();
          await expect(probe(broker.url)).rejects.toThrow(/refused|Cannot connect/i);
          await broker.restart();
          await withClient(connectTo, broker.url, async (client) => {
            expect(await client.take(name, 1)).toEqual(['kept']);
          });
        },
      );

      test('answers nobody while it is paused', async () => {
        await broker.pause();
        let hasAnswered = false;
        const answer = probe(broker.url).then(() => (hasAnswered = true));
        // The same question takes as long elsewhere.
        for (let round = 0; round < 3; round += 1) await probe(ofThisFile.url);
        expect(hasAnswered).toBe(false);
        await broker.resume();
        expect(await answer).toBe(true);
      });
    });
  },
);

test('a broker of a file alone ends with whoever asked for it', async () => {
  const line = await Line.open();
  const url = await line.askForUrl({ verb: 'own', name: 'privateNats' });
  await services.nats.probe(url);
  line.close();
  await vi.waitFor(() => expect(services.nats.probe(url)).rejects.toThrow('refused'), 10_000);
});

// Only Linux tells what a process that is not ours to wait for was started with.
test.runIf(existsSync('/proc/self/environ'))(
  'RabbitMQ leaves nothing running when it is killed, not even what Erlang starts for itself',
  async () => {
    const base = makeBase();
    const folder = join(base, 'rabbit');
    const service = services.privateRabbitmq;
    const broker = await start(service, await findWay(service), folder);
    expect(processesOf(folder)).not.toEqual([]);
    await broker.kill?.();
    await vi.waitFor(() => expect(processesOf(folder)).toEqual([]));
    removeBase(base);
  },
);

test('RabbitMQ returns a message that no queue takes, and confirms it', async () => {
  const connection = await connectToRabbit(rabbit.url);
  const channel = await connection.createConfirmChannel();
  const returned: string[] = [];
  channel.on('return', (message) => returned.push(message.content.toString()));
  channel.publish('', 'no such queue', Buffer.from('lost'), { mandatory: true });
  await channel.waitForConfirms();
  expect(returned).toEqual(['lost']);
  await connection.close();
});

test('Kafka makes no topic because somebody writes to it', async () => {
  const producer = new Kafka({
    brokers: kafka.brokers,
    logLevel: logLevel.NOTHING,
    retry: { retries: 0 },
  }).producer();
  await producer.connect();
  const send = producer.send({ topic: kafka.name('mistyped'), messages: [{ value: 'lost' }] });
  await expect(send).rejects.toThrow('does not host this topic');
  await producer.disconnect();
});

/** By the home that all which is started there inherits, daemons too. */
function processesOf(folder: string): readonly string[] {
  return readdirSync('/proc').filter((id) => {
    try {
      return readFileSync(`/proc/${id}/environ`, 'utf8').includes(`HOME=${folder}\0`);
    } catch {
      return false;
    }
  });
}

function labelOf(client: string): string {
  return client.replace(/\W/g, '');
}

async function withClient(
  connectTo: (url: string) => Promise<BrokerClient>,
  url: string,
  use: (client: BrokerClient) => Promise<void>,
): Promise<void> {
  const client = await connectTo(url);
  try {
    await use(client);
  } finally {
    await client.close();
  }
}

async function makeStream(url: string, name: string): Promise<void> {
  await withStreams(url, (streams) => streams.add({ name, subjects: [`${name}.>`] }));
}

function streamsAmong(url: string, names: readonly string[]): Promise<readonly string[]> {
  return withStreams(url, async (streams) => {
    const there = new Set<string>();
    for await (const name of streams.names()) there.add(name);
    return names.filter((name) => there.has(name));
  });
}

async function withStreams<T>(url: string, use: (streams: StreamAPI) => Promise<T>): Promise<T> {
  const connection = await connectToNats({ servers: url });
  try {
    return await use((await jetstreamManager(connection)).streams);
  } finally {
    await connection.close();
  }
}

async function makeQueue(url: string, name: string): Promise<void> {
  const connection = await connectToRabbit(url);
  const channel = await connection.createChannel();
  await channel.assertQueue(name, { durable: true });
  await connection.close();
}

/** Asking for a queue that is not there ends the channel. */
async function queuesAmong(url: string, names: readonly string[]): Promise<readonly string[]> {
  const connection = await connectToRabbit(url);
  const there: string[] = [];
  for (const name of names) {
    const channel = await connection.createChannel();
    channel.on('error', () => {});
    await channel.checkQueue(name).then(
      () => there.push(name),
      () => {},
    );
  }
  await connection.close();
  return there;
}

async function topicsAmong(url: string, names: readonly string[]): Promise<readonly string[]> {
  const admin = new Kafka({ brokers: brokersOf(url), logLevel: logLevel.NOTHING }).admin();
  await admin.connect();
  const there = await admin.listTopics();
  await admin.disconnect();
  return names.filter((name) => there.includes(name));
}
