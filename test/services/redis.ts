import { Redis } from 'ioredis';
import { inject } from 'vitest';
import { type PrivateBroker, privateBroker } from './broker.ts';
import { type DatabaseServer, databaseOfThisFile, type TestDatabase } from './database.ts';

/** An empty numbered database of Redis for this test file; a connection left open fails the file. */
export function redisDatabase(): TestDatabase {
  return databaseOfThisFile(() => openRedis(inject('services').redis));
}

/** A Redis of one's own, which has on disk what it has answered (`appendfsync always`). */
export async function redisServer(): Promise<PrivateBroker> {
  const server = await privateBroker('privateRedis');
  await syncing(server.url);
  return {
    ...server,
    async restart() {
      await server.restart();
      await syncing(server.url);
    },
  };
}

/** Not a setting of all test servers: on a slow disk every write would wait for it. */
async function syncing(url: string): Promise<void> {
  const client = new Redis(url, { lazyConnect: true });
  await client.connect();
  await client.config('SET', 'appendfsync', 'always');
  await client.quit();
}

/** Who is at work in which database; it ends by itself where a killed run could not give it back. */
const leaseMs = 30 * 60_000;
const leaseOf = (name: string) => `settle:test:lease:${name}`;
/** The databases that were empty when we took them: only in these may we delete anything. */
const ours = 'settle:test:ours';

export async function openRedis(url: string): Promise<DatabaseServer> {
  const admin = new Redis(url, { lazyConnect: true });
  await admin.connect();
  const own = admin.options.db ?? 0;

  async function inDatabase<T>(name: string, use: (client: Redis) => Promise<T>): Promise<T> {
    const client = admin.duplicate({ db: Number(name), lazyConnect: true });
    await client.connect();
    try {
      return await use(client);
    } finally {
      await client.quit();
    }
  }

  /** False when somebody else has it, or keeps data there that is not a test's. */
  async function take(name: string, label: string): Promise<boolean> {
    if ((await admin.set(leaseOf(name), label, 'PX', leaseMs, 'NX')) === null) return false;
    const isFree = await inDatabase(name, async (client) => {
      if ((await client.dbsize()) > 0) {
        if ((await admin.sismember(ours, name)) === 0) return false;
        await client.flushdb();
      }
      await admin.sadd(ours, name);
      return true;
    });
    if (!isFree) await admin.del(leaseOf(name));
    return isFree;
  }

  async function connectionsTo(name: string) {
    const list = (await admin.client('LIST')) as string;
    return list
      .trim()
      .split('\n')
      .map((line) => new Map(line.split(' ').map((pair) => pair.split('=', 2) as [string, string])))
      .filter((client) => client.get('db') === name)
      .map((client) => ({ id: Number(client.get('id')), lastQuery: client.get('cmd') }));
  }

  return {
    async create(label) {
      const [, count = '16'] = await admin.config('GET', 'databases');
      for (let number = 0; number < Number(count); number += 1) {
        const name = String(number);
        if (number === own || !(await take(name, label))) continue;
        const database = new URL(url);
        database.pathname = `/${name}`;
        return { name, url: database.href };
      }
      throw new Error(`no empty database is left in Redis, of ${count}; start one for tests only`);
    },
    connectionsTo,
    async drop(name) {
      for (const { id } of await connectionsTo(name)) await admin.client('KILL', 'ID', id);
      await inDatabase(name, (client) => client.flushdb());
      await admin.srem(ours, name);
      await admin.del(leaseOf(name));
    },
    async close() {
      await admin.quit();
    },
  };
}
