import { createClient } from '@redis/client';
import { Redis } from 'ioredis';
import { afterAll, afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { PrivateBroker } from '../../../../test/services/broker.ts';
import { redisDatabase, redisServer } from '../../../../test/services/redis.ts';
import { cloudEventsAttributes as attributes, headerStyles } from '../../outbox/broker-headers.ts';
import type { RedisStreamClient } from '../../util/redis-commands.ts';
import { type ContractBroker, publisherContract, type ReceivedMessage } from '../publisher-contract.ts';
import type { OutgoingMessage } from '../publisher.ts';
import { redisPublisher, type RedisPublisherOptions } from './redis.ts';

const database = redisDatabase();
/** One for all facts that kill it. */
let own: PrivateBroker | undefined;
let made = 0;

afterAll(async () => {
  await own?.stop();
});

interface Opened {
  readonly client: RedisStreamClient;
  readonly close: () => Promise<unknown>;
}

const clients: Record<string, (url: string) => Promise<Opened>> = {
  async ioredis(url) {
    const client = await ioredis(url);
    return { client, close: async () => client.disconnect() };
  },
  async 'node-redis'(url) {
    const client = createClient({ url });
    client.on('error', () => undefined);
    await client.connect();
    return { client, close: async () => client.destroy() };
  },
};

/** A client whose errors go where its commands go. */
async function ioredis(url: string): Promise<Redis> {
  const client = new Redis(url, { lazyConnect: true, retryStrategy: () => 50 });
  client.on('error', () => undefined);
  await client.connect();
  return client;
}

for (const [name, open] of Object.entries(clients)) {
  publisherContract(
    { describe, it },
    `Redis Streams over ${name}`,
    async ({ format, killable }): Promise<ContractBroker> => {
      const broker = killable ? (own ??= await redisServer()) : undefined;
      if (broker !== undefined) await broker.restart();
      const url = broker?.url ?? database.url;
      const { client, close } = await open(url);
      const stream = `orders-${made++}`;
      const noStream = `no-${stream}`;
      await inspect(url, (admin) => admin.set(noStream, 'a text'));
      return {
        publisher: redisPublisher({ client, format, payloadBytesMax: 100_000 }),
        address: stream,
        unknownAddress: noStream,
        tooLargeBytes: 100_000,
        received: () => inspect(url, (admin) => entriesOf(admin, stream)),
        ...(broker === undefined ? {} : { kill: () => broker.kill(), restart: () => broker.restart() }),
        dispose: async () => void (await close()),
      };
    },
  );
}

async function inspect<T>(url: string, look: (admin: Redis) => Promise<T>): Promise<T> {
  const admin = await ioredis(url);
  try {
    return await look(admin);
  } finally {
    await admin.quit();
  }
}

async function entriesOf(admin: Redis, stream: string): Promise<readonly ReceivedMessage[]> {
  const entries = await admin.xrange(stream, '-', '+');
  return entries.map(([, flat]) => {
    const fields: Record<string, string> = {};
    for (let at = 0; at < flat.length; at += 2) fields[flat[at] ?? ''] = flat[at + 1] ?? '';
    const prefix = headerStyles.redis.cloudEventsPrefix;
    const { payload = '', ...headers } = fields;
    return {
      id: headers['settle-id'] ?? headers[prefix + attributes.id],
      type: headers['settle-type'] ?? headers[prefix + attributes.type],
      version: headers['settle-version'] ?? headers[prefix + attributes.version],
      key: headers['settle-key'] ?? headers[prefix + attributes.key],
      contentType: headers['content-type'],
      payload,
      headers,
    };
  });
}

describe('publishing to Redis Streams', () => {
  let admin: Redis;
  let stream: string;

  beforeEach(async () => {
    admin = await ioredis(database.url);
    stream = `orders-${made++}`;
  });

  afterEach(async () => {
    await admin.quit();
  });

  it('tells where the message is', async () => {
    const [result] = await publish([{}]);
    const [[id] = []] = await admin.xrange(stream, '-', '+');
    expect(result).toEqual({ kind: 'published', ref: `${stream}@${id}` });
  });

  it('adds nothing of a key behind a message that is poison', async () => {
    const results = await publish(
      [{ key: 'a' }, { key: 'a', payload: '"too large"' }, { key: 'a' }, { key: 'b' }, {}],
      { payloadBytesMax: 5 },
    );
    expect(results.map(({ kind }) => kind)).toEqual([
      'published',
      'poison',
      'retriable',
      'published',
      'published',
    ]);
    expect(await admin.xlen(stream)).toBe(3);
  });

  it('calls poison a header that would hide the payload', async () => {
    expect(await publish([{ headers: { payload: 'x' } }])).toMatchObject([{ kind: 'poison' }]);
  });

  it('trims the stream when asked to', async () => {
    const many = Array.from({ length: 500 }, () => ({}));
    await publish(many, { maxLength: 10 });
    expect(await admin.xlen(stream)).toBeLessThan(300);
  });

  it('runs its script again that Redis has forgotten', async () => {
    await publish([{}]);
    await admin.script('FLUSH');
    expect(await publish([{}])).toMatchObject([{ kind: 'published' }]);
  });

  it('is unavailable where replicas do not have it, as it is told to wait for', async () => {
    const [result] = await publish([{}], { wait: { replicas: 1, timeoutMs: 20 } });
    expect(result).toEqual({ kind: 'unavailable', reason: 'only 0 of 1 replicas have it so far' });
  });

  it('is unavailable where Redis does not know IDMP', async () => {
    const [result] = await publish([{}], { idempotent: { producer: 'orders' } });
    expect(result).toMatchObject({ kind: 'unavailable', reason: expect.stringContaining('IDMP') });
  });

  it('is unavailable while its client is not connected', async () => {
    const client = createClient({ url: database.url });
    const publisher = redisPublisher({ client });
    const results = await publisher.publish([message({ address: stream })], AbortSignal.timeout(10_000));
    expect(results).toEqual([{ kind: 'unavailable', reason: 'Redis is not connected' }]);
  });

  it('refuses limits that are none', () => {
    expect(() => redisPublisher({ client: admin, maxLength: 0 })).toThrow('config_invalid: maxLength is 0');
  });

  function publish(
    messages: readonly Partial<OutgoingMessage>[],
    options: Partial<RedisPublisherOptions> = {},
  ) {
    const publisher = redisPublisher({ client: admin, ...options });
    const batch = messages.map((fields) => message({ address: stream, ...fields }));
    return publisher.publish(batch, AbortSignal.timeout(10_000));
  }
});

describe('a Redis that takes nothing', () => {
  const refusals: [what: string, code: string, setUp: (admin: Redis) => Promise<unknown>][] = [
    ['is full', 'OOM', (admin) => admin.config('SET', 'maxmemory', '1')],
    ['is a replica', 'READONLY', (admin) => admin.replicaof('127.0.0.1', 1)],
    ['does not let us in', 'NOAUTH', (admin) => admin.config('SET', 'requirepass', 'secret')],
  ];

  it.each(refusals)('because it %s is unavailable', async (_what, code, setUp) => {
    const server = await redisServer();
    const client = new Redis(server.url, { enableReadyCheck: false, lazyConnect: true });
    client.on('error', () => undefined);
    try {
      await inspect(server.url, setUp);
      const publisher = redisPublisher({ client });
      const results = await publisher.publish([message({ address: 'orders' })], AbortSignal.timeout(10_000));
      expect(results).toMatchObject([{ kind: 'unavailable', reason: expect.stringContaining(code) }]);
    } finally {
      client.disconnect();
      await server.stop();
    }
  });
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
