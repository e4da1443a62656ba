import { setImmediate } from 'node:timers/promises';
import { jetstream, type JetStreamManager, jetstreamManager } from '@nats-io/jetstream';
import { connect, headers, type MsgHdrs, type NatsConnection } from '@nats-io/transport-node';
import { afterAll, beforeAll, describe, expect, it, test } from 'vitest';
import { natsServer, testNats } from '../../../../test/services/nats.ts';
import { percentDecoded } from '../../outbox/broker-headers.ts';
import { publisherContract, type BrokerNeeds, type ReceivedMessage } from '../publisher-contract.ts';
import type { OutgoingMessage } from '../publisher.ts';
import { natsPublisher, type NatsPublisherOptions } from './nats.ts';

const nats = testNats();
let connection: NatsConnection;
let manager: JetStreamManager;
let made = 0;

beforeAll(async () => {
  connection = await connect({ servers: nats.url });
  manager = await jetstreamManager(connection);
});
afterAll(() => connection.close());

/** A stream of this test's own; gives back its name, which is its subject too. */
async function newStream(config: object = {}, of: JetStreamManager = manager): Promise<string> {
  const name = nats.name(String((made += 1)));
  await of.streams.add({ name, subjects: [name], ...config });
  return name;
}

function publisherOver(connection: NatsConnection, options: Partial<NatsPublisherOptions<MsgHdrs>> = {}) {
  return natsPublisher({ connection, jetstream: jetstream(connection), headers, ...options });
}

async function received(connection: NatsConnection, stream: string): Promise<readonly ReceivedMessage[]> {
  const { state } = await (await jetstreamManager(connection)).streams.info(stream);
  if (state.messages === 0) return [];
  const consumer = await jetstream(connection).consumers.get(stream);
  const messages: ReceivedMessage[] = [];
  for await (const message of await consumer.fetch({ max_messages: state.messages, expires: 10_000 })) {
    const own: Record<string, string> = {};
    for (const name of message.headers?.keys() ?? []) own[name] = message.headers?.get(name) ?? '';
    const field = (...names: string[]) => {
      const value = names.map((name) => own[name]).find((text) => text !== undefined);
      return value === undefined ? undefined : percentDecoded(value);
    };
    const isEvent = own['ce-specversion'] === '1.0';
    messages.push({
      id: isEvent ? field('ce-id') : field('Nats-Msg-Id'),
      type: isEvent ? field('ce-type') : field('settle-type'),
      version: isEvent ? field('ce-dataversion') : field('settle-version'),
      key: isEvent ? field('ce-partitionkey') : field('settle-key'),
      contentType: isEvent ? field('ce-datacontenttype') : field('content-type'),
      payload: message.string(),
      headers: own,
    });
  }
  return messages;
}

publisherContract({ describe, it }, 'NATS JetStream', (needs) => open(needs, 'one-by-one'));
publisherContract({ describe, it }, 'NATS JetStream, in-flight', (needs) => open(needs, 'in-flight'), {
  'publishes nothing of a key behind a message that failed': 'what in-flight gives away for speed',
});

async function open({ format, killable }: BrokerNeeds, perKey: 'one-by-one' | 'in-flight') {
  if (!killable) {
    const address = await newStream();
    return {
      publisher: publisherOver(connection, { format, perKey }),
      address,
      unknownAddress: nats.name('nobody'),
      tooLargeBytes: connection.info?.max_payload ?? 0,
      received: () => received(connection, address),
    };
  }
  const server = await natsServer();
  const own = await connect({ servers: server.url, maxReconnectAttempts: -1, reconnectTimeWait: 50 });
  const address = await newStream({}, await jetstreamManager(own));
  return {
    publisher: publisherOver(own, { format, perKey, ackTimeoutMs: 2_000 }),
    address,
    received: () => received(own, address),
    kill: () => server.kill(),
    restart: () => server.restart(),
    async dispose() {
      // A client that is closed while it notices the end of its connection lets the error of a late write escape.
      await setImmediate();
      await own.close();
      await server.stop();
    },
  };
}

function message(address: string, change: Partial<OutgoingMessage> = {}): OutgoingMessage {
  made += 1;
  return {
    id: `m-${made}-${Date.now()}`,
    type: 'order.placed',
    version: 1,
    address,
    key: 'k',
    payload: '{}',
    contentType: 'application/json',
    headers: {},
    createdAtMs: 0,
    attempt: 1,
    ...change,
  };
}

const inTime = () => AbortSignal.timeout(10_000);

describe('publishing to JetStream', () => {
  test('tells of a message that the stream has already, and where it is', async () => {
    const stream = await newStream();
    const publisher = publisherOver(connection);
    const same = message(stream);
    expect(await publisher.publish([same], inTime())).toEqual([{ kind: 'published', ref: `${stream}@1` }]);
    expect(await publisher.publish([same], inTime())).toEqual([
      { kind: 'published', ref: `${stream}@1`, duplicate: true },
    ]);
  });

  test('names the subject that no stream takes', async () => {
    const subject = nats.name('nowhere');
    const [result] = await publisherOver(connection).publish([message(subject)], inTime());
    expect(result).toMatchObject({ kind: 'retriable', reason: expect.stringContaining(subject) });
  });

  test('takes a message larger than the stream allows for poison', async () => {
    const stream = await newStream({ max_msg_size: 1_000 });
    const large = message(stream, { payload: JSON.stringify('x'.repeat(1_000)) });
    expect(await publisherOver(connection).publish([large], inTime())).toMatchObject([{ kind: 'poison' }]);
  });

  test('takes a header that NATS cannot carry, and a subject that is none, for poison', async () => {
    const stream = await newStream();
    const results = await publisherOver(connection).publish(
      [message(stream, { headers: { note: 'two\r\nlines' } }), message('no subject')],
      inTime(),
    );
    expect(results.map(({ kind }) => kind)).toEqual(['poison', 'poison']);
  });

  test('waits while a stream that refuses what is new is full', async () => {
    const stream = await newStream({ max_msgs: 1, discard: 'new' });
    const results = await publisherOver(connection).publish(
      [message(stream, { key: 'a' }), message(stream, { key: 'b' })],
      inTime(),
    );
    expect(results.map(({ kind }) => kind)).toEqual(['published', 'unavailable']);
  });

  test('sends nothing of a key behind a message that failed', async () => {
    const stream = await newStream({ max_msg_size: 1_000 });
    const results = await publisherOver(connection).publish(
      [
        message(stream, { key: 'a' }),
        message(stream, { key: 'a', payload: JSON.stringify('x'.repeat(1_000)) }),
        message(stream, { key: 'a' }),
        message(stream, { key: 'b' }),
      ],
      inTime(),
    );
    expect(results.map(({ kind }) => kind)).toEqual(['published', 'poison', 'retriable', 'published']);
    expect(await received(connection, stream)).toHaveLength(2);
  });
});
