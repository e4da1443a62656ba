// What the database does to a relay's connections, while a store is in use.
import {
  createConnection,
  createPool,
  type Connection as MysqlConnection,
  type Pool as MysqlPool,
} from 'mysql2/promise';
import { Client, Pool } from 'pg';
import postgres, { type Sql } from 'postgres';
import { afterAll, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest';
import { thrownBy } from '../../../../test/local/world.ts';
import { sqlPlace } from '../../../../test/relay/sql-place.ts';
import { mariadbDatabase } from '../../../../test/services/mariadb.ts';
import { postgresDatabase } from '../../../../test/services/postgres.ts';
import { mysql2Driver } from '../../local/adapters/mysql2.ts';
import { pgDriver } from '../../local/adapters/pg.ts';
import { postgresJsDriver } from '../../local/adapters/postgres-js.ts';
import type { Driver } from '../../local/driver.ts';
import type { ContractPlace, NewMessage } from '../store-contract.ts';
import type { ClaimedLane } from '../store.ts';
import { sqlRelayStore } from './index.ts';

interface Subject {
  readonly driver: () => Driver<unknown>;
  /** Locks these rows, so that whoever wants to change them waits; resolves to what lets them go. */
  readonly block: (rows: string) => Promise<() => Promise<void>>;
  /** How many statements wait for a lock. */
  readonly waiting: () => Promise<number>;
  readonly killOthers: () => Promise<void>;
}

const lane1 = 'settle_outbox_lanes where lane = 1';

const pgDatabase = postgresDatabase();
const mariaDatabase = mariadbDatabase();
let pgAdmin: Client;
let mariaAdmin: MysqlConnection;
let pool: Pool;
let sql: Sql;
let mysql: MysqlPool;
const drivers = new Map<string, Driver<unknown>>();

beforeAll(async () => {
  pgAdmin = new Client({ connectionString: pgDatabase.url });
  await pgAdmin.connect();
  mariaAdmin = await createConnection({ uri: mariaDatabase.url });
  pool = new Pool({ connectionString: pgDatabase.url, max: 4 });
  // Of idle connections that are killed; the pool has replaced them by then.
  pool.on('error', () => {});
  sql = postgres(pgDatabase.url, { max: 4, onnotice: () => {} });
  mysql = createPool({ uri: mariaDatabase.url, connectionLimit: 4 });
  drivers
    .set('pg', pgDriver(pool))
    .set('postgres.js', postgresJsDriver(sql))
    .set('mysql2', mysql2Driver(mysql));
});

afterAll(async () => {
  await pgAdmin.end();
  await mariaAdmin.end();
  await pool.end();
  await sql.end({ timeout: 1 });
  await mysql.end();
});

const ofPostgres = (name: string): Subject => ({
  driver: () => driverNamed(name),
  async block(rows) {
    const holder = new Client({ connectionString: pgDatabase.url });
    holder.on('error', () => {});
    await holder.connect();
    await holder.query('begin');
    await holder.query(`select 1 from ${rows} for update`);
    return () => holder.end();
  },
  async waiting() {
    const { rows } = await pgAdmin.query<{ n: string }>(
      `select count(*) as n from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`,
    );
    return Number(rows[0]?.n);
  },
  async killOthers() {
    await pgAdmin.query(
      'select pg_terminate_backend(pid, 5000) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()',
    );
  },
});

const ofMariadb = (name: string): Subject => ({
  driver: () => driverNamed(name),
  async block(rows) {
    const holder = await createConnection({ uri: mariaDatabase.url });
    holder.on('error', () => {});
    await holder.query('start transaction');
    await holder.query(`select 1 from ${rows} for update`);
    return () => holder.end().catch(() => {});
  },
  async waiting() {
    const [rows] = await mariaAdmin.query(
      "select count(*) as n from information_schema.processlist where db = database() and command = 'Query' and id <> connection_id()",
    );
    return Number((rows as { n: unknown }[])[0]?.n);
  },
  async killOthers() {
    const [rows] = await mariaAdmin.query(
      'select id from information_schema.processlist where db = database() and id <> connection_id()',
    );
    for (const { id } of rows as { id: number }[]) await mariaAdmin.query(`kill ${id}`).catch(() => {});
  },
});

function driverNamed(name: string): Driver<unknown> {
  const driver = drivers.get(name);
  if (driver === undefined) throw new Error(`${name} is made in beforeAll`);
  return driver;
}

const subjects: Readonly<Record<string, Subject>> = {
  pg: ofPostgres('pg'),
  'postgres.js': ofPostgres('postgres.js'),
  mysql2: ofMariadb('mysql2'),
};

const written: NewMessage = {
  id: 'm',
  lane: 1,
  type: 't',
  version: 1,
  target: 'kafka',
  address: 'orders',
  key: 'k',
  payload: '{}',
  headers: {},
  delayMs: undefined,
};

describe.each(Object.entries(subjects))('over %s', (_, subject) => {
  let place: ContractPlace;
  let held: ClaimedLane;
  let seq: bigint;

  beforeEach(async () => {
    place = await sqlPlace(subject.driver());
    await place.write([written]);
    const { free } = await place.store.heartbeat('a', 60_000);
    const [claimed] = await place.store.claim(
      'a',
      60_000,
      free.filter(({ lane }) => lane === 1),
    );
    const [message] = await place.store.read([{ lane: 1, after: 0n, limit: 1 }]);
    if (claimed === undefined || message === undefined) throw new Error('the lane has a message');
    held = claimed;
    seq = message.seq;
  });

  const dead = () => ({
    lane: held.lane,
    token: held.token,
    done: [],
    started: [],
    failed: [],
    dead: [{ seq, attempts: 1, cause: 'poison', reason: 'no', blocksKey: false } as const],
  });

  test('a connection that is killed in the middle of a settlement is unavailable, and nothing is half done', async () => {
    const release = await subject.block(lane1);
    const settling = thrownBy(place.store.settle([dead()]));
    await vi.waitFor(async () => expect(await subject.waiting()).toBe(1));
    await subject.killOthers();
    expect(await settling).toMatchObject({ code: 'unavailable', cause: expect.any(Error) });
    await release();
    // The pool may need a moment to see which of its connections are gone.
    const read = await vi.waitFor(() => place.store.read([{ lane: 1, after: 0n, limit: 1 }]));
    expect(read.map(({ id }) => id)).toEqual(['m']);
    expect(await vi.waitFor(() => place.store.settle([dead()]))).toEqual([]);
    expect((await place.store.dead.list({}, { limit: 10 })).items).toHaveLength(1);
  });

  test('nobody takes a lane over while something is written down of it', async () => {
    await place.pass(60_001);
    const release = await subject.block('settle_outbox where lane = 1');
    // It has seen that its token stands, and cannot write.
    const settling = place.store.settle([dead()]);
    await vi.waitFor(async () => expect(await subject.waiting()).toBe(1));
    const claiming = place.store.claim('b', 60_000, [held]);
    await vi.waitFor(async () => expect(await subject.waiting()).toBe(2));
    await release();
    expect(await settling).toEqual([]);
    expect((await claiming).map(({ token }) => token)).toEqual([held.token + 1n]);
    expect(await place.store.settle([dead()])).toEqual([1]);
  });

  test('after all connections were killed while idle, it works again by itself', async () => {
    await Promise.all([1, 2, 3, 4].map(() => place.store.stats()));
    await subject.killOthers();
    const stats = await vi.waitFor(() => place.store.stats());
    expect(stats.pending).toBe(1);
    expect(await vi.waitFor(() => place.store.settle([{ ...dead(), done: [seq], dead: [] }]))).toEqual([]);
  });
});

test.each(['pg', 'postgres.js'])(
  'what was published is deleted while somebody else has the lane locked: %s',
  async (name) => {
    const place = await sqlPlace(driverNamed(name));
    const { store } = place;
    await place.write([written]);
    const release = await subjects[name]?.block(lane1);
    const settlement = { lane: 1, token: 0n, started: [], failed: [], dead: [] };
    const [read] = await store.read([{ lane: 1, after: 0n, limit: 1 }]);
    expect(await store.settle([{ ...settlement, done: [read?.seq ?? 0n] }])).toEqual([]);
    await release?.();
    expect((await store.stats()).pending).toBe(0);
  },
);

test('a database that cannot be reached is unavailable, with the driver’s error as its cause', async () => {
  const nowhere = new Pool({ host: '127.0.0.1', port: 1, max: 1 });
  const store = sqlRelayStore(pgDriver(nowhere));
  expect(await thrownBy(store.heartbeat('a', 1_000))).toMatchObject({
    code: 'unavailable',
    cause: expect.objectContaining({ code: 'ECONNREFUSED' }),
  });
  await nowhere.end();
});
