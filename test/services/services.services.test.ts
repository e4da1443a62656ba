// The harness itself: every service answers, files do not meet, and what is left open or missing is found.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Redis } from 'ioredis';
import { createConnection } from 'mysql2/promise';
import { Client } from 'pg';
import { describe, expect, inject, test } from 'vitest';
import { findWay } from '../../scripts/services/find.mjs';
import { services } from '../../scripts/services/services.mjs';
import { start, startAll } from '../../scripts/services/start.mjs';
import { checkAndDrop, type DatabaseServer, expectNoConnections } from './database.ts';
import { mariadbDatabase, openMariadb } from './mariadb.ts';
import { openPostgres, postgresDatabase } from './postgres.ts';
import { openRedis, redisDatabase } from './redis.ts';

interface FactClient {
  readonly put: (value: string) => Promise<unknown>;
  /** What every client of this database has put. */
  readonly all: () => Promise<readonly string[]>;
  readonly close: () => Promise<unknown>;
}

interface Kind {
  readonly ofThisFile: { readonly url: string; readonly name: string };
  readonly open: () => Promise<DatabaseServer>;
  readonly connect: (url: string) => Promise<FactClient>;
  /** How the last query of a client that has just put something reads. */
  readonly lastPut: string;
}

const kinds: Record<string, Kind> = {
  PostgreSQL: {
    ofThisFile: postgresDatabase(),
    open: () => openPostgres(inject('services').postgres),
    connect: postgresClient,
    lastPut: 'insert into facts',
  },
  MariaDB: {
    ofThisFile: mariadbDatabase(),
    open: () => openMariadb(inject('services').mariadb),
    connect: mariadbClient,
    lastPut: 'insert into facts',
  },
  Redis: {
    ofThisFile: redisDatabase(),
    open: () => openRedis(inject('services').redis),
    connect: redisClient,
    lastPut: 'rpush',
  },
};

describe.each(Object.entries(kinds))('%s', (_name, { ofThisFile, open, connect, lastPut }) => {
  test('answers in the database of this file', async () => {
    const client = await connect(ofThisFile.url);
    await client.put('a fact');
    expect(await client.all()).toEqual(['a fact']);
    await client.close();
  });

  test('keeps the databases of two files apart', async () => {
    await withServer(open, async (server) => {
      const [one, other] = await Promise.all([server.create('one.file'), server.create('other-file')]);
      expect(one.name).not.toBe(other.name);
      const [client, neighbour] = await Promise.all([connect(one.url), connect(other.url)]);
      await client.put('mine');
      await neighbour.put('yours');
      expect(await client.all()).toEqual(['mine']);
      expect(await neighbour.all()).toEqual(['yours']);
      await Promise.all([client.close(), neighbour.close()]);
      await checkAndDrop(server, one.name);
      await checkAndDrop(server, other.name);
    });
  });

  test('counts the connections that were left open, with the last query of each', async () => {
    await withServer(open, async (server) => {
      const { name, url } = await server.create('leaking');
      const leak = await connect(url);
      const second = await connect(url);
      await leak.put('leaked');
      await expect(expectNoConnections(server, name, 0)).rejects.toThrow(
        new RegExp(`^2 connections to the database ${name} left open .*: ${lastPut}`),
      );
      await second.close();
      await expect(checkAndDrop(server, name, 100)).rejects.toThrow(
        new RegExp(`^1 connection to the database ${name} left open .*: ${lastPut}`),
      );
      // The database is gone all the same, and the leaked client with it.
      await expect(leak.put('too late')).rejects.toThrow(/connection|closed/i);
      expect(await server.connectionsTo(name)).toEqual([]);
      // Its server has ended it already; some clients say so.
      await leak.close().catch(() => {});
    });
  });
});

describe('a database of PostgreSQL', () => {
  test('starts from a template that is filled once', async () => {
    const schema = `create table accounts (id bigint); insert into accounts values (${Date.now()})`;
    const openWithSchema = () => openPostgres(inject('services').postgres, { schema });
    await Promise.all(
      ['one', 'other'].map((label) =>
        withServer(openWithSchema, async (server) => {
          const { name, url } = await server.create(label);
          const client = new Client({ connectionString: url });
          await client.connect();
          expect((await client.query('select * from accounts')).rowCount).toBe(1);
          await client.end();
          await checkAndDrop(server, name);
        }),
      ),
    );
  });

  test('is dropped although a transaction is prepared in it', async () => {
    await withServer(kindOf('PostgreSQL').open, async (server) => {
      const { name, url } = await server.create('prepared');
      const client = new Client({ connectionString: url });
      await client.connect();
      await client.query(`begin; create table t (); prepare transaction 'left of ''${name}'''`);
      await client.end();
      await checkAndDrop(server, name);
    });
  });
});

test('a transaction prepared in MariaDB that keeps its database from being dropped is named', async () => {
  await withServer(kindOf('MariaDB').open, async (server) => {
    const { name, url } = await server.create('prepared');
    const client = await createConnection({ uri: url });
    await client.query('create table t (i int)');
    for (const sql of [`xa start '${name}'`, 'insert into t values (1)', `xa end '${name}'`])
      await client.query(sql);
    await client.query(`xa prepare '${name}'`);
    await client.end();
    await expect(checkAndDrop(server, name)).rejects.toThrow(`prepared XA transactions: ${name}`);

    const cleaner = await createConnection({ uri: inject('services').mariadb });
    await cleaner.query(`xa rollback '${name}'`);
    await cleaner.end();
    await checkAndDrop(server, name);
  });
});

test('a database of Redis that holds other data than a test left is not taken', async () => {
  await withServer(kindOf('Redis').open, async (server) => {
    const { name, url } = await server.create('probe');
    await server.drop(name);
    const stranger = await redisClient(url);
    await stranger.put('precious');
    const next = await server.create('careful');
    expect(next.name).not.toBe(name);
    expect(await stranger.all()).toEqual(['precious']);
    await stranger.close();
    await server.drop(next.name);
    await server.drop(name);
  });
});

describe('a service is taken', () => {
  const nowhere = {
    env: {},
    find: () => undefined,
    whyNoDocker: () => Promise.resolve('not installed'),
    whyNoApt: () => 'not a Debian machine',
  };
  const everywhere = {
    env: { SETTLE_TEST_REDIS: 'redis://elsewhere:1' },
    find: (program: string) => `/bin/${program}`,
    whyNoDocker: () => Promise.resolve(undefined),
    whyNoApt: () => undefined,
  };

  test('from the URL of the environment before all else', async () => {
    expect(await findWay(services.redis, everywhere)).toEqual({ kind: 'url', url: 'redis://elsewhere:1' });
  });

  test('then from installed programs, if all of them are there', async () => {
    const world = { ...everywhere, env: { SETTLE_TEST_POSTGRES: '' } };
    const programs = { initdb: '/bin/initdb', postgres: '/bin/postgres' };
    expect(await findWay(services.postgres, world)).toEqual({ kind: 'programs', programs });
    const half = { ...world, find: onlyInitdb };
    expect(await findWay(services.postgres, half)).toEqual({ kind: 'docker' });
  });

  test('then from Docker, and last from what apt-get can install', async () => {
    const docker = { ...everywhere, env: {}, find: () => undefined };
    expect(await findWay(services.mariadb, docker)).toEqual({ kind: 'docker' });
    const apt = { ...docker, whyNoDocker: nowhere.whyNoDocker };
    expect(await findWay(services.mariadb, apt)).toEqual({ kind: 'apt' });
  });

  test('or a single line says which is missing, what was tried and what to do', async () => {
    await expect(findWay(services.redis, nowhere)).rejects.toThrow(
      'Redis is needed by the tests, and could be neither found nor started. Tried: SETTLE_TEST_REDIS (not set); ' +
        'the programs redis-server (no redis-server on PATH); Docker (not installed); ' +
        'apt-get (not a Debian machine). Install it (on Debian: redis-server), or start Docker, ' +
        'or set SETTLE_TEST_REDIS=redis://127.0.0.1:6379 to a server that is there for tests only.',
    );
  });

  test('and a replica from no container', async () => {
    const docker = {
      ...nowhere,
      env: { SETTLE_TEST_POSTGRES: 'postgres://here' },
      whyNoDocker: everywhere.whyNoDocker,
    };
    await expect(findWay(services.postgresReplica, docker)).rejects.toThrow(
      /^A streaming replica of PostgreSQL is needed .*; Docker \(makes no replicas for us\); .*\), or set SETTLE_TEST_POSTGRES_REPLICA=/,
    );
  });

  test('and a broker that a test may kill from none that was given', async () => {
    const world = { ...everywhere, env: { SETTLE_TEST_NATS: 'nats://elsewhere:1' } };
    expect(await findWay(services.nats, world)).toEqual({ kind: 'url', url: 'nats://elsewhere:1' });
    expect(await findWay(services.privateNats, world)).toEqual({
      kind: 'programs',
      programs: { 'nats-server': '/bin/nats-server' },
    });
    await expect(findWay(services.privateNats, nowhere)).rejects.toThrow(
      'A private server of NATS is needed by the tests, and could be neither found nor started. Tried: the programs ' +
        'nats-server (no nats-server on PATH, /usr/sbin); Docker (starts none that tests could kill and start again); ' +
        'apt-get (not a Debian machine). Install it (on Debian: nats-server).',
    );
  });

  test('and Kafka from no Java that is too old', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'settle-java-'));
    const java = join(folder, 'java');
    const calls = (version: string) =>
      writeFileSync(java, `#!/bin/sh\necho 'openjdk version "${version}" 2018-10-16' >&2\n`, { mode: 0o755 });
    const world = { ...nowhere, find: () => java };
    for (const old of ['1.8.0_402', '11.0.22']) {
      calls(old);
      await expect(findWay(services.kafka, world)).rejects.toThrow(
        /is Java (?:8|11), and Kafka needs 17 or newer\)/,
      );
    }
    calls('21.0.2');
    expect(await findWay(services.kafka, world)).toEqual({ kind: 'programs', programs: { java } });
    rmSync(folder, { recursive: true });
  });

  test('and every one that is missing has its line', async () => {
    const all = startAll(['postgres', 'mariadb', 'redis'], '/nonexistent', nowhere);
    await expect(all).rejects.toThrow(
      /^PostgreSQL is needed[^\n]*\nMariaDB is needed[^\n]*\nRedis is needed/,
    );
  });

  test('but not from a URL where nothing answers, whose password stays unsaid', async () => {
    const way = { kind: 'url', url: 'redis://user:secret@127.0.0.1:1' } as const;
    await expect(start(services.redis, way, '/nonexistent')).rejects.toThrow(
      'Tried: SETTLE_TEST_REDIS=redis://user:***@127.0.0.1:1: connect ECONNREFUSED 127.0.0.1:1. ' +
        'Start that server, or unset SETTLE_TEST_REDIS',
    );
  });
});

function onlyInitdb(program: string): string | undefined {
  return program === 'initdb' ? '/bin/initdb' : undefined;
}

function kindOf(name: string): Kind {
  const kind = kinds[name];
  if (kind === undefined) throw new Error(`no kind ${name}`);
  return kind;
}

async function withServer(
  open: () => Promise<DatabaseServer>,
  use: (server: DatabaseServer) => Promise<void>,
): Promise<void> {
  const server = await open();
  try {
    await use(server);
  } finally {
    await server.close();
  }
}

async function postgresClient(url: string): Promise<FactClient> {
  const client = new Client({ connectionString: url });
  // The leaked ones are ended by the server, which is an error outside of any query.
  client.on('error', () => {});
  await client.connect();
  await client.query('create table if not exists facts (fact text)');
  return {
    put: (value) => client.query('insert into facts values ($1)', [value]),
    all: async () =>
      (await client.query<{ fact: string }>('select fact from facts')).rows.map(({ fact }) => fact),
    close: () => client.end(),
  };
}

async function mariadbClient(url: string): Promise<FactClient> {
  const client = await createConnection({ uri: url });
  client.on('error', () => {});
  await client.query('create table if not exists facts (fact text)');
  return {
    put: (value) => client.query('insert into facts values (?)', [value]),
    all: async () => {
      const [rows] = await client.query('select fact from facts');
      return (rows as { fact: string }[]).map(({ fact }) => fact);
    },
    close: () => client.end(),
  };
}

async function redisClient(url: string): Promise<FactClient> {
  const client = new Redis(url, { lazyConnect: true, retryStrategy: () => null });
  client.on('error', () => {});
  await client.connect();
  return {
    put: (value) => client.rpush('facts', value),
    all: () => client.lrange('facts', 0, -1),
    close: () => client.quit(),
  };
}
