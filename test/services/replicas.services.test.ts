// Real replicas: what a file that asks for one gets, and that it is this file's alone.
import { createConnection, type RowDataPacket } from 'mysql2/promise';
import { Client } from 'pg';
import { afterAll, beforeAll, describe, expect, inject, test, vi } from 'vitest';
import { services } from '../../scripts/services/services.mjs';
import { checkAndDrop, type DatabaseServer } from './database.ts';
import { openMariadb } from './mariadb.ts';
import { mariadbReplica, openMariadbReplica } from './mariadb-replica.ts';
import { openPostgres } from './postgres.ts';
import { openPostgresReplica, postgresReplica } from './postgres-replica.ts';
import {
  type ReplicaServer,
  type ReplicatedDatabase,
  type StartedReplica,
  startReplica,
  withReplica,
} from './replica.ts';

interface FactClient {
  readonly run: (sql: string) => Promise<readonly Record<string, unknown>[]>;
  readonly close: () => Promise<void>;
}

interface Kind {
  readonly ofThisFile: ReplicatedDatabase;
  readonly connect: (url: string) => Promise<FactClient>;
  readonly primaryUrl: () => string;
  readonly openPrimary: () => Promise<DatabaseServer>;
  readonly start: () => Promise<StartedReplica>;
  readonly open: (replica: StartedReplica) => Promise<ReplicaServer>;
  readonly probe: (url: string) => Promise<void>;
  readonly refusal: string;
  readonly noReplica: RegExp;
  /** Where the log ends, on the primary and as far as the replica has it. */
  readonly written: (primary: FactClient) => Promise<bigint>;
  readonly received: (replicaUrl: string) => Promise<bigint>;
}

const kinds: Record<string, Kind> = {
  PostgreSQL: {
    ofThisFile: postgresReplica(),
    connect: postgresClient,
    primaryUrl: () => inject('services').postgres,
    openPrimary: () => openPostgres(inject('services').postgres),
    start: () => startReplica('postgresReplica'),
    open: (replica) => openPostgresReplica(replica, inject('services').postgres),
    probe: (url) => services.postgres.probe(url),
    refusal: 'cannot execute INSERT in a read-only transaction',
    noReplica: /^the server in SETTLE_TEST_POSTGRES_REPLICA is a primary itself/,
    written: (primary) => lsnOf(primary, 'pg_current_wal_flush_lsn()'),
    received: (url) =>
      withClient(postgresClient, url, (replica) => lsnOf(replica, 'pg_last_wal_receive_lsn()')),
  },
  MariaDB: {
    ofThisFile: mariadbReplica(),
    connect: mariadbClient,
    primaryUrl: () => inject('services').mariadb,
    openPrimary: () => openMariadb(inject('services').mariadb),
    start: () => startReplica('mariadbReplica'),
    open: (replica) => openMariadbReplica(replica, inject('services').mariadb),
    probe: (url) => services.mariadb.probe(url),
    refusal: 'running with the --read-only option',
    noReplica: /^the server in SETTLE_TEST_MARIADB_REPLICA follows nobody/,
    async written(primary) {
      const [row] = await primary.run('select @@global.gtid_binlog_pos as gtid');
      return sequenceOf(row?.gtid);
    },
    received: (url) =>
      withClient(mariadbClient, asRoot(url), async (replica) => {
        const [status] = await replica.run('show slave status');
        return sequenceOf(status?.Gtid_IO_Pos);
      }),
  },
};

describe.each(Object.entries(kinds))('a replica of %s', (_name, kind) => {
  const { ofThisFile, connect } = kind;
  let primary: FactClient;
  let replica: FactClient;
  beforeAll(async () => {
    [primary, replica] = await Promise.all([connect(ofThisFile.primary), connect(ofThisFile.replica)]);
    await primary.run('create table facts (fact int)');
    await ofThisFile.caughtUp();
  });
  afterAll(async () => {
    await Promise.all([primary.close(), replica.close()]);
  });

  test('shows what was committed on its primary', async () => {
    await primary.run('insert into facts values (1)');
    await ofThisFile.caughtUp();
    expect(await replica.run('select fact from facts')).toEqual([{ fact: 1 }]);
  });

  test('refuses a write', async () => {
    await expect(replica.run('insert into facts values (2)')).rejects.toThrow(kind.refusal);
  });

  test('shows nothing that it receives while it is paused, and all of it afterwards', async () => {
    await ofThisFile.pause();
    await primary.run('insert into facts values (3)');
    const written = await kind.written(primary);
    await vi.waitFor(async () =>
      expect(await kind.received(ofThisFile.replica)).toBeGreaterThanOrEqual(written),
    );
    expect(await replica.run('select fact from facts where fact = 3')).toEqual([]);
    await ofThisFile.resume();
    await ofThisFile.caughtUp();
    expect(await replica.run('select fact from facts where fact = 3')).toEqual([{ fact: 3 }]);
  });

  test('is not paused by another file, counts its own connections, and ends with its file', async () => {
    // One of its own, though the environment may give one.
    for (const { variable } of [services.postgresReplica, services.mariadbReplica]) vi.stubEnv(variable, '');
    const started = await kind.start();
    vi.unstubAllEnvs();
    const another = await kind.open(started);
    const server = withReplica(await kind.openPrimary(), another);
    const { name } = await server.create('another');
    const leak = await connect(another.urlOf(name));
    await ofThisFile.pause();
    await another.caughtUp();
    await ofThisFile.resume();

    await expect(checkAndDrop(server, name, 0)).rejects.toThrow('1 connection');
    await leak.close().catch(doNothing);
    await server.close();
    await expect(kind.probe(started.url)).rejects.toThrow('ECONNREFUSED');
  });

  test('is not what follows nobody', async () => {
    const none = await kind.open({ url: kind.primaryUrl(), isGiven: true, stop: doNothing });
    await expect(none.follow(ofThisFile.name)).rejects.toThrow(kind.noReplica);
    await none.close();
  });
});

async function doNothing(): Promise<void> {}

async function lsnOf(client: FactClient, position: string): Promise<bigint> {
  const [row] = await client.run(`select (${position} - '0/0'::pg_lsn)::text as bytes`);
  return BigInt(String(row?.bytes));
}

/** Of a GTID as `0-1-57`. */
function sequenceOf(gtid: unknown): bigint {
  return BigInt(String(gtid).split('-')[2] ?? 0);
}

function asRoot(url: string): string {
  const root = new URL(url);
  root.username = 'root';
  return root.href;
}

async function withClient<T>(
  connect: (url: string) => Promise<FactClient>,
  url: string,
  use: (client: FactClient) => Promise<T>,
): Promise<T> {
  const client = await connect(url);
  try {
    return await use(client);
  } finally {
    await client.close();
  }
}

async function postgresClient(url: string): Promise<FactClient> {
  const client = new Client({ connectionString: url });
  // The leaked one is ended by the server, which is an error outside of any query.
  client.on('error', () => {});
  await client.connect();
  return {
    run: async (sql) => (await client.query<Record<string, unknown>>(sql)).rows,
    close: () => client.end(),
  };
}

async function mariadbClient(url: string): Promise<FactClient> {
  const client = await createConnection({ uri: url });
  client.on('error', () => {});
  return {
    run: async (sql) => (await client.query<RowDataPacket[]>(sql))[0],
    close: () => client.end(),
  };
}
