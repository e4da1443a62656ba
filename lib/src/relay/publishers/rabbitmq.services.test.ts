import amqplib, { type Channel, type ChannelModel } from 'amqplib';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { PrivateBroker } from '../../../../test/services/broker.ts';
import { rabbitServer, testRabbit } from '../../../../test/services/rabbit.ts';
import { cloudEventsAttributes as attributes, headerStyles } from '../../outbox/broker-headers.ts';
import { publisherContract, type ReceivedMessage } from '../publisher-contract.ts';
import type { OutgoingMessage } from '../publisher.ts';
import { rabbitPublisher, type RabbitPublisher } from './rabbitmq.ts';

const shared = testRabbit();
/** One for all facts that kill it. */
let own: PrivateBroker | undefined;
let made = 0;

/** What RabbitMQ takes by default before its version 4; since then it is less. */
const tooLargeBytes = 134_217_728;

afterAll(async () => {
  await own?.stop();
});

publisherContract({ describe, it }, 'RabbitMQ', async ({ format, killable }) => {
  const broker = killable ? (own ??= await rabbitServer()) : undefined;
  if (broker !== undefined) await broker.restart();
  const url = broker?.url ?? shared.url;
  const [queue, exchange] = names();
  await declared(url, async (channel) => {
    await channel.assertQueue(queue, { durable: true });
    await channel.assertExchange(exchange, 'topic', { durable: true });
    await channel.bindQueue(queue, exchange, '#');
  });
  const publisher = rabbitPublisher({ connection: () => amqplib.connect(url), format });
  return {
    publisher,
    address: exchange,
    unknownAddress: `${exchange}-nowhere`,
    tooLargeBytes,
    received: (count) => received(url, queue, count),
    ...(broker === undefined ? {} : { kill: () => broker.kill(), restart: () => broker.restart() }),
    dispose: () => publisher.close(),
  };
});

function names(): [queue: string, exchange: string] {
  made++;
  return [shared.name(`queue-${made}`), shared.name(`exchange-${made}`)];
}

async function declared(url: string, declare: (channel: Channel) => Promise<unknown>): Promise<void> {
  const connection = await amqplib.connect(url);
  await declare(await connection.createChannel());
  await connection.close();
}

/** All that is in the queue: with confirms, what was published is there already. */
async function received(url: string, queue: string, count: number): Promise<readonly ReceivedMessage[]> {
  const messages: ReceivedMessage[] = [];
  await declared(url, async (channel) => {
    for (;;) {
      const message = await channel.get(queue, { noAck: true });
      if (message === false) break;
      const { messageId, type, contentType, headers = {} } = message.properties;
      const header = (name: string): string | undefined => headers[name] as string | undefined;
      const prefix = headerStyles.amqp.cloudEventsPrefix;
      messages.push({
        id: messageId as string | undefined,
        type: type as string | undefined,
        version: header('settle-version') ?? header(prefix + attributes.version),
        key: header('settle-key') ?? header(prefix + attributes.key),
        payload: message.content.toString(),
        contentType: contentType as string | undefined,
        headers,
      });
    }
  });
  expect(messages.length).toBeGreaterThanOrEqual(count);
  return messages;
}

describe('publishing to RabbitMQ', () => {
  let connection: ChannelModel;
  let channel: Channel;
  let publisher: RabbitPublisher;

  beforeAll(async () => {
    connection = await amqplib.connect(shared.url);
    channel = await connection.createChannel();
  });

  afterAll(async () => {
    await connection.close();
  });

  beforeEach(() => {
    publisher = rabbitPublisher({ connection: () => amqplib.connect(shared.url) });
  });

  afterEach(async () => {
    await publisher.close();
  });

  // covers E2
  it('never calls published what no queue took, and publishes its neighbours', async () => {
    const [queue, exchange] = names();
    await channel.assertQueue(queue);
    await channel.assertExchange(exchange, 'direct');
    await channel.bindQueue(queue, exchange, 'known');
    const results = await publish([
      { address: `${exchange}/known` },
      { address: `${exchange}/unknown` },
      { address: `${exchange}/known` },
    ]);
    expect(results).toEqual([
      { kind: 'published' },
      { kind: 'retriable', reason: 'no queue took it: 312 NO_ROUTE' },
      { kind: 'published' },
    ]);
    expect(await channel.checkQueue(queue)).toMatchObject({ messageCount: 2 });
  });

  it('publishes straight to a queue', async () => {
    const [queue] = names();
    await channel.assertQueue(queue);
    expect(await publish([{ address: `/${queue}` }])).toEqual([{ kind: 'published' }]);
    expect(await channel.checkQueue(queue)).toMatchObject({ messageCount: 1 });
  });

  it('lets an exchange that was deleted be declared again', async () => {
    const [queue, exchange] = names();
    const declare = async (): Promise<void> => {
      await channel.assertExchange(exchange, 'fanout');
      await channel.bindQueue(queue, exchange, '');
    };
    await channel.assertQueue(queue);
    await declare();
    expect(await publish([{ address: exchange }])).toEqual([{ kind: 'published' }]);
    await channel.deleteExchange(exchange);
    const [lost] = await publish([{ address: exchange }]);
    expect(lost).toMatchObject({ kind: 'retriable', reason: expect.stringContaining('404') });
    await declare();
    expect(await publish([{ address: exchange }])).toEqual([{ kind: 'published' }]);
  });

  it('calls retriable what goes to an exchange that it may not publish to', async () => {
    const [queue, exchange] = names();
    await channel.assertQueue(queue);
    await channel.assertExchange(exchange, 'fanout', { internal: true });
    expect(await publish([{ address: exchange }, { address: `/${queue}` }])).toMatchObject([
      { kind: 'retriable', reason: expect.stringContaining('403') },
      { kind: 'published' },
    ]);
  });

  it('calls retriable what a full queue refuses', async () => {
    const [queue] = names();
    await channel.assertQueue(queue, { maxLength: 1, overflow: 'reject-publish' });
    const address = `/${queue}`;
    expect(await publish([{ address }])).toEqual([{ kind: 'published' }]);
    await expect.poll(async () => (await publish([{ address }]))[0]?.kind).toBe('retriable');
  });

  it('publishes more than the buffer of its channel holds, in order', async () => {
    const [queue] = names();
    await channel.assertQueue(queue);
    const messages = Array.from({ length: 3_000 }, (_, index) => ({
      address: `/${queue}`,
      payload: JSON.stringify({ index }),
    }));
    const results = await publish(messages);
    expect(new Set(results.map(({ kind }) => kind))).toEqual(new Set(['published']));
    const kept = await received(shared.url, queue, 3_000);
    expect(kept.map(({ payload }) => payload)).toEqual(messages.map(({ payload }) => payload));
  });

  it('calls poison what AMQP has no room for, and publishes its neighbours', async () => {
    const [queue] = names();
    await channel.assertQueue(queue);
    const address = `/${queue}`;
    const results = await publish([
      { address },
      { address, id: 'x'.repeat(256) },
      { address, headers: { long: 'x'.repeat(70_000) } },
      { address: `/${'x'.repeat(256)}` },
      { address },
    ]);
    expect(results.map(({ kind }) => kind)).toEqual(['published', 'poison', 'poison', 'poison', 'published']);
  });

  it('is unavailable when it is not let in, and says so', async () => {
    const url = new URL(shared.url);
    url.password = 'wrong';
    const refused = rabbitPublisher({ connection: () => amqplib.connect(url.href) });
    const [result] = await refused.publish([message({ address: 'any' })], AbortSignal.timeout(10_000));
    expect(result).toMatchObject({ kind: 'unavailable', reason: expect.stringContaining('ACCESS') });
  });

  it('multiplies nothing while RabbitMQ does not confirm', async () => {
    const broker = (own ??= await rabbitServer());
    await broker.restart();
    const paused = rabbitPublisher({ connection: () => amqplib.connect(broker.url) });
    const [queue] = names();
    await declared(broker.url, (its) => its.assertQueue(queue, { durable: true }));
    const again = { id: 'once', address: `/${queue}` };
    const first = await paused.publish([message({ address: `/${queue}` })], AbortSignal.timeout(10_000));
    await broker.pause();
    const unconfirmed = await paused.publish([message(again)], AbortSignal.timeout(200));
    const repeats = [
      await paused.publish([message(again)], AbortSignal.timeout(200)),
      await paused.publish([message(again)], AbortSignal.timeout(200)),
    ].flat();
    await broker.resume();
    expect([...first, ...unconfirmed, ...repeats].map(({ kind }) => kind)).toEqual([
      'published',
      'unknown',
      'unavailable',
      'unavailable',
    ]);
    await expect
      .poll(() => paused.publish([message(again)], AbortSignal.timeout(1_000)))
      .toEqual([{ kind: 'published' }]);
    const kept = await received(broker.url, queue, 3);
    expect(kept.filter(({ id }) => id === 'once')).toHaveLength(2);
    await paused.close();
  });

  function publish(messages: readonly Partial<OutgoingMessage>[]) {
    return publisher.publish(messages.map(message), AbortSignal.timeout(10_000));
  }
});

function message(fields: Partial<OutgoingMessage>): OutgoingMessage {
  return {
    id: `m${made++}`,
    type: 'order.placed',
    version: 1,
    address: '',
    key: undefined,
    payload: '{}',
    contentType: 'application/json',
    headers: {},
    createdAtMs: 1_763_000_000_000,
    attempt: 1,
    ...fields,
  };
}
