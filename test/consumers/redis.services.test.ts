import { Redis } from 'ioredis';
import { afterAll, beforeAll, describe, test } from 'vitest';
import type { TestDatabase } from '../services/database.ts';
import { postgresDatabase } from '../services/postgres.ts';
import { redisDatabase } from '../services/redis.ts';
import type { MemberPlan } from './crowd.ts';
import { everyMessageOnce, type KilledOptions, type Sent } from './killed.ts';

const redis = redisDatabase();
const ofOne = postgresDatabase();
const ofThree = postgresDatabase();
let client: Redis;

beforeAll(async () => {
  client = new Redis(redis.url, { lazyConnect: true });
  await client.connect();
});
afterAll(async () => {
  await client.quit();
});

async function send(stream: string, messages: readonly Sent[]): Promise<void> {
  const entries = messages.map(({ id, key, payload }) =>
    client.call(
      'XADD',
      stream,
      '*',
      'payload',
      payload,
      'settle-id',
      id,
      'settle-type',
      'done',
      'settle-key',
      key,
    ),
  );
  await Promise.all(entries);
}

async function killed(
  { url: databaseUrl }: TestDatabase,
  stream: string,
  options: Pick<KilledOptions, 'members' | 'keepsOrder'> & Pick<MemberPlan, 'consumer'>,
): Promise<void> {
  const { consumer, ...how } = options;
  await everyMessageOnce({
    plan: {
      broker: 'redis',
      url: redis.url,
      source: stream,
      group: stream,
      database: databaseUrl,
      storesPositions: false,
      ...(consumer === undefined ? {} : { consumer }),
    },
    kills: 10,
    keys: 7,
    perKey: 60,
    send: (messages) => send(stream, messages),
    ...how,
  });
}

describe('consumers of a Redis Stream, killed 10 times', () => {
  test(
    'handle every message once, and each key in order where there is one of them',
    { timeout: 180_000 },
    () => killed(ofOne, 'alone', { members: 1, keepsOrder: true, consumer: 'the one' }),
  );

  test('handle every message once where there are three', { timeout: 180_000 }, () =>
    killed(ofThree, 'together', { members: 3, keepsOrder: false }),
  );
});
