import { createPool as createMariadbPool, type Pool as MariadbPool } from 'mariadb';
import { createPool, type Pool as MysqlPool, type RowDataPacket } from 'mysql2/promise';
import { Client, Pool } from 'pg';
import postgres, { type Sql } from 'postgres';
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { mariadbDriver, type MariadbHandle } from '../../lib/src/local/adapters/mariadb.ts';
import { mysql2Driver, type Mysql2Handle } from '../../lib/src/local/adapters/mysql2.ts';
import { pgDriver, type PgHandle } from '../../lib/src/local/adapters/pg.ts';
import { postgresJsDriver } from '../../lib/src/local/adapters/postgres-js.ts';
import { createTransactions } from '../../lib/src/local/manager.ts';
import { parseToken, type ReadToken } from '../../lib/src/local/read-token.ts';
import type { Transactions } from '../../lib/src/local/transactions.ts';
import type { SettleError } from '../../lib/src/util/errors.ts';
import { keepServices } from '../../scripts/services/keep.mjs';
import { services } from '../../scripts/services/services.mjs';
import { mariadbReplica } from '../services/mariadb-replica.ts';
import { postgresReplica } from '../services/postgres-replica.ts';
import { becomesTrue, startReplica } from '../services/replica.ts';
import { readWriteSplit, type SplitSubject } from './read-write-split.ts';

const table = 'create table note (value varchar(100) not null primary key)';
const read = 'select value from note order by value';

const ofPostgres = {
  database: postgresReplica({ schema: table }),
  selectForUpdate: 'select * from note for update',
  foreignToken: parseToken('postgres-00000007-0000000000000001'),
  futureToken: parseToken('postgres-00000001-00FFFFFF00000000'),
  async killReaders() {
    const client = new Client({ connectionString: ofPostgres.database.replica });
    await client.connect();
    const others = 'datname = current_database() and pid <> pg_backend_pid()';
    await client.query(`select pg_terminate_backend(pid) from pg_stat_activity where ${others}`);
    await client.end();
  },
};

const pg: SplitSubject<PgHandle<Pool>> = {
  ...ofPostgres,
  name: 'pg',
  open(url, connectionsMax) {
    const pool = new Pool({ connectionString: url, max: connectionsMax });
    // An idle connection that breaks is the pool's affair.
    pool.on('error', () => {});
    return { driver: pgDriver(pool), close: () => pool.end() };
  },
  insert: (client, value) => client.query('insert into note values ($1)', [value]),
  values: async (client) => (await client.query<{ value: string }>(read)).rows.map(({ value }) => value),
  raw: (client, sql) => client.query(sql),
  async isReplica(client) {
    const { rows } = await client.query<{ is: boolean }>('select pg_is_in_recovery() as is');
    return rows[0]?.is === true;
  },
};

const postgresJs: SplitSubject<Sql> = {
  ...ofPostgres,
  name: 'postgres.js',
  open(url, connectionsMax) {
    const sql = postgres(url, { max: connectionsMax });
    return { driver: postgresJsDriver(sql), close: () => sql.end({ timeout: 1 }) };
  },
  insert: async (sql, value) => await sql`insert into note values (${value})`,
  values: async (sql) => (await sql.unsafe<{ value: string }[]>(read)).map(({ value }) => value),
  raw: async (sql, text) => await sql.unsafe(text),
  async isReplica(sql) {
    const [row] = await sql<{ is: boolean }[]>`select pg_is_in_recovery() as is`;
    return row?.is === true;
  },
};

const ofMariadb = {
  database: mariadbReplica(),
  selectForUpdate: 'select * from note for update',
  foreignToken: parseToken('mariadb-0-4294967295-1'),
  futureToken: parseToken('mariadb-0-1-9999999999'),
  async killReaders() {
    const pool = createPool({ uri: ofMariadb.database.replica, connectionLimit: 1 });
    const [others] = await pool.query<RowDataPacket[]>(
      'select id from information_schema.processlist where db = database() and id <> connection_id()',
    );
    // Some have ended by themselves meanwhile.
    for (const { id } of others) await pool.query(`kill ${String(id)}`).catch(() => 'it is gone');
    await pool.end();
  },
};

const isReadOnly = 'select @@global.read_only as is_replica';

const mysql2: SplitSubject<Mysql2Handle<MysqlPool>> = {
  ...ofMariadb,
  name: 'mysql2',
  open(uri, connectionLimit) {
    const pool = createPool({ uri, connectionLimit });
    return { driver: mysql2Driver(pool), close: () => pool.end() };
  },
  insert: (client, value) => client.execute('insert into note values (?)', [value]),
  async values(client) {
    const [rows] = await client.query<RowDataPacket[]>(read);
    return rows.map((row) => String(row['value']));
  },
  raw: (client, sql) => client.query(sql),
  async isReplica(client) {
    const [rows] = await client.query<RowDataPacket[]>(isReadOnly);
    return rows[0]?.['is_replica'] === 1;
  },
};

const mariadb: SplitSubject<MariadbHandle<MariadbPool>> = {
  ...ofMariadb,
  name: 'mariadb',
  // https://github.com/mariadb-corporation/mariadb-connector-nodejs/blob/3.5.4/lib/connection.js#L754
  neverBack:
    'destroy() of mariadb kills the thread, and leaves a rejection unhandled when that is gone already',
  open(url, connectionLimit) {
    const { hostname, port, username, password, pathname } = new URL(url);
    const pool = createMariadbPool({
      host: hostname,
      port: Number(port),
      user: decodeURIComponent(username),
      password: decodeURIComponent(password),
      database: pathname.slice(1),
      connectionLimit,
      acquireTimeout: 2_000,
    });
    return { driver: mariadbDriver(pool, { connectionLimit }), close: () => pool.end() };
  },
  insert: (client, value) => client.execute('insert into note values (?)', [value]),
  async values(client) {
    const rows = await client.query<{ value: string }[]>(read);
    return rows.map(({ value }) => value);
  },
  raw: (client, sql) => client.query(sql),
  async isReplica(client) {
    const [row] = await client.query<{ is_replica: unknown }[]>(isReadOnly);
    return Number(row?.is_replica) === 1;
  },
};

beforeAll(async () => {
  const pool = createPool({ uri: ofMariadb.database.primary, connectionLimit: 1 });
  await pool.query(table);
  await pool.end();
  await ofMariadb.database.caughtUp();
  await ofPostgres.database.caughtUp();
});

readWriteSplit(pg);
readWriteSplit(postgresJs);
readWriteSplit(mysql2);
readWriteSplit(mariadb);

describe('what is special to PostgreSQL', () => {
  const { database } = ofPostgres;
  let primary: Pool;
  let replica: Pool;
  const warnings: SettleError[] = [];

  beforeAll(() => {
    primary = new Pool({ connectionString: database.primary, max: 2 });
    replica = new Pool({ connectionString: database.replica, max: 2 });
  });
  afterAll(async () => {
    await primary.end();
    await replica.end();
  });

  function split(...replicas: readonly Pool[]): Transactions<PgHandle<Pool>> {
    warnings.length = 0;
    return createTransactions(pgDriver(primary), {
      replicas: replicas.map((pool) => pgDriver(pool)),
      onWarning: (warning) => warnings.push(warning),
    });
  }

  let written = 0;
  async function write(tx: Transactions<PgHandle<Pool>>, ...first: string[]): Promise<[string, ReadToken]> {
    const value = `special ${++written}`;
    const given = Promise.withResolvers<ReadToken>();
    await tx.run(
      async (t) => {
        for (const sql of first) await t.client.query(sql);
        await pg.insert(t.client, value);
      },
      { onToken: given.resolve },
    );
    return [value, await given.promise];
  }

  test.each(['set local synchronous_commit = off', 'select 1'])(
    'what was written after "%s" is there after its token',
    async (first) => {
      const tx = split(replica);
      for (let n = 0; n < 10; n++) {
        const [value, after] = await write(tx, first);
        const values = await tx.read((t) => pg.values(t.client), { reads: { after }, waitMs: 20_000 });
        expect(values).toContain(value);
      }
      expect(warnings).toEqual([]);
    },
  );

  test.each(['running', 'idle'])(
    'a read that is in the way of recovery runs again on the primary: %s at that time',
    async (state) => {
      const tx = split(replica);
      await replica.query('alter system set max_standby_streaming_delay = 0');
      await replica.query('select pg_reload_conf()');
      onTestFinished(async () => {
        await replica.query('alter system reset max_standby_streaming_delay');
        await replica.query('select pg_reload_conf()');
      });
      await write(tx);
      await database.caughtUp();
      const asleep = async () => {
        const { rowCount } = await replica.query(
          `select from pg_stat_activity where state = 'active' and query like 'select pg_sleep(20)%'`,
        );
        return rowCount === 1;
      };
      const ran: boolean[] = [];
      const read = tx.read(
        async (t) => {
          const onReplica = await pg.isReplica(t.client);
          ran.push(onReplica);
          const { length } = await pg.values(t.client);
          if (!onReplica) return length;
          const isRunning = state === 'running';
          const sleeping = isRunning ? t.client.query('select pg_sleep(20), count(*) from note') : undefined;
          if (isRunning && !(await becomesTrue(asleep))) throw new Error('it does not sleep');
          const ended = Promise.allSettled([sleeping]);
          await primary.query('delete from note');
          await primary.query('vacuum note');
          await ended;
          await sleeping;
          await database.caughtUp();
          return await pg.values(t.client);
        },
        { reads: 'eventual', isolation: 'repeatable-read' },
      );
      expect(await read).toBe(0);
      expect(ran).toEqual([true, false]);
      expect(warnings).toMatchObject([{ code: 'replica_skipped' }]);
      // A statement alone was ended, or the connection with it, after which the replica rests.
      const next = await tx.read((t) => pg.isReplica(t.client), { reads: 'eventual' });
      expect(next).toBe(state === 'running');
    },
  );

  test('a replica that was promoted is not read after a token of its old primary, whatever its log says', async ({
    skip,
  }) => {
    const own = await startReplica('postgresReplica');
    onTestFinished(own.stop);
    if (own.isGiven) skip('the replica that was given is not ours to promote');
    const url = new URL(own.url);
    url.pathname = `/${database.name}`;
    const promoted = new Pool({ connectionString: url.href, max: 2 });
    // It goes down with the replica.
    promoted.on('error', () => {});
    onTestFinished(() => promoted.end());
    const tx = split(promoted);
    const [value, old] = await write(tx);
    expect(await tx.read((t) => pg.values(t.client), { reads: { after: old }, waitMs: 20_000 })).toContain(
      value,
    );
    await promoted.query('select pg_promote()');
    for (let n = 0; n < 20; n++) await promoted.query('insert into note values ($1)', [`split brain ${n}`]);
    const [newValue, after] = await write(tx);
    const isAhead = 'select pg_current_wal_flush_lsn() >= $1::pg_lsn as is';
    const lsn = await primary.query<{ lsn: string }>('select pg_current_wal_flush_lsn() as lsn');
    const ahead = async () => {
      await promoted.query('insert into note select gen_random_uuid()::text from generate_series(1, 100)');
      return (await promoted.query<{ is: boolean }>(isAhead, [lsn.rows[0]?.lsn])).rows[0]?.is === true;
    };
    expect(await becomesTrue(ahead)).toBe(true);
    const values = await tx.read((t) => pg.values(t.client), { reads: { after } });
    expect(values).toContain(newValue);
    expect(values).not.toContain('split brain 0');
    expect(warnings[0]?.message).toMatch(/follows another primary/);
  });

  test('after a failover, replicas of the new primary are read with its tokens, and not with older ones', async ({
    skip,
  }) => {
    const own = await startReplica('postgresReplica');
    onTestFinished(own.stop);
    if (own.isGiven) skip('the replica that was given is not ours to promote');
    // It follows the one that is promoted.
    const follower = await keepServices(['postgresReplica'], {
      ...process.env,
      [services.postgres.variable]: own.url,
    });
    onTestFinished(follower.stop);
    const [next, behind] = [own.url, follower.urls.postgresReplica].map((address) => {
      const url = new URL(address);
      url.pathname = `/${database.name}`;
      const pool = new Pool({ connectionString: url.href, max: 2 });
      pool.on('error', () => {});
      onTestFinished(() => pool.end());
      return pool;
    });
    if (next === undefined || behind === undefined) throw new Error('there are two');
    const [value, old] = await write(split());
    const reached = async () => (await pg.values(behind)).includes(value);
    expect(await becomesTrue(reached)).toBe(true);
    await next.query('select pg_promote()');
    warnings.length = 0;
    const tx = createTransactions(pgDriver(next), {
      replicas: [pgDriver(behind)],
      onWarning: (warning) => warnings.push(warning),
    });
    const [newValue, after] = await write(tx);
    const read = await tx.read(
      async (t) => ({ values: await pg.values(t.client), onReplica: await pg.isReplica(t.client) }),
      { reads: { after }, waitMs: 20_000 },
    );
    expect(read.values).toContain(newValue);
    expect(read.onReplica).toBe(true);
    expect(await tx.read((t) => pg.isReplica(t.client), { reads: { after: old } })).toBe(false);
    expect(warnings[0]?.message).toMatch(/follows another primary/);
  });

  test('the primary itself may stand in for a replica', async () => {
    const tx = split(primary);
    const [value, after] = await write(tx);
    expect(await tx.read((t) => pg.values(t.client), { reads: { after } })).toContain(value);
    expect(warnings).toEqual([]);
  });

  test('a user without any rights beyond his tables can have tokens and wait for them', async () => {
    await primary.query('create role settle_plain login');
    onTestFinished(async () => {
      await primary.query('drop owned by settle_plain');
      await primary.query('drop role settle_plain');
    });
    await primary.query('grant select, insert on note to settle_plain');
    await database.caughtUp();
    const pools = [database.primary, database.replica].map((address) => {
      const url = new URL(address);
      url.username = 'settle_plain';
      return new Pool({ connectionString: url.href, max: 1 });
    });
    onTestFinished(async () => {
      for (const pool of pools) await pool.end();
    });
    const [first, second] = pools.map((pool) => pgDriver(pool));
    if (first === undefined || second === undefined) throw new Error('there are two');
    const tx = createTransactions(first, { replicas: [second] });
    const [value, after] = await write(tx);
    const read = await tx.read(
      async (t) => ({ values: await pg.values(t.client), onReplica: await pg.isReplica(t.client) }),
      { reads: { after } },
    );
    expect(read.values).toContain(value);
    expect(read.onReplica).toBe(true);
  });
});

test('postgres.js gives a connection back that was only asked, without a warning of the server', async () => {
  const notices: unknown[] = [];
  const [primary, replica] = [ofPostgres.database.primary, ofPostgres.database.replica].map((url) =>
    postgres(url, { max: 1, onnotice: (notice) => notices.push(notice) }),
  );
  if (primary === undefined || replica === undefined) throw new Error('there are two');
  onTestFinished(async () => {
    await primary.end({ timeout: 1 });
    await replica.end({ timeout: 1 });
  });
  const tx = createTransactions(postgresJsDriver(primary), {
    replicas: [postgresJsDriver(replica)],
    onWarning: () => {},
  });
  const reads = { after: ofPostgres.futureToken };
  const pids = new Set<number>();
  for (let n = 0; n < 3; n++) {
    expect(await tx.read((t) => postgresJs.isReplica(t.client), { reads, waitMs: 20 })).toBe(false);
    const [row] = await replica<{ pid: number }[]>`select pg_backend_pid() as pid`;
    pids.add(row?.pid ?? 0);
  }
  expect(notices).toEqual([]);
  expect(pids.size).toBe(1);
});

test('a primary of MariaDB that stands in for a replica is not waited for', async () => {
  const opened = mysql2.open(ofMariadb.database.primary, 2);
  onTestFinished(() => opened.close());
  const { driver } = opened;
  const warnings: SettleError[] = [];
  const tx = createTransactions(driver, {
    replicas: [driver],
    onWarning: (warning) => warnings.push(warning),
  });
  const given = Promise.withResolvers<ReadToken>();
  await tx.run((t) => mysql2.insert(t.client, 'stands in'), { onToken: given.resolve });
  const beganMs = performance.now();
  const reads = { after: await given.promise };
  expect(await tx.read((t) => mysql2.values(t.client), { reads, waitMs: 20_000 })).toContain('stands in');
  expect(performance.now() - beganMs).toBeLessThan(10_000);
  expect(warnings).toMatchObject([{ code: 'replica_skipped' }]);
});
