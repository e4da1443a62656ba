// What wakes a relay, when the server is killed and comes back.
import { createConnection, type Connection } from 'mysql2/promise';
import { Client, Pool } from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { WakeSource } from '../../lib/src/relay/index.ts';
import { mysqlLogWake } from '../../lib/src/relay/log/mysql/index.ts';
import { postgresLogWake } from '../../lib/src/relay/log/postgres/index.ts';
import { notifyWake } from '../../lib/src/relay/wake/postgres.ts';
import { privateBroker, type PrivateBroker } from '../services/broker.ts';
import { Wakes } from './wakes.ts';

const backoff = { minMs: 10, maxMs: 100 };
const table = 'create table settle_outbox (lane int not null, seq bigint not null, primary key (lane, seq))';

describe('PostgreSQL', () => {
  let server: PrivateBroker;
  let pool: Pool;
  beforeAll(async () => {
    server = await privateBroker('privatePostgres');
    pool = new Pool({ connectionString: server.url });
    pool.on('error', () => {});
    await pool.query(table);
  }, 60_000);
  afterAll(async () => {
    await pool.end();
    await server.stop();
  });

  it.each<[string, () => WakeSource, () => string]>([
    [
      'LISTEN',
      () => notifyWake(() => new Client({ connectionString: server.url }), { backoff }),
      () => `select pg_notify('settle_outbox', '')`,
    ],
    ['a temporary slot', () => logOf(undefined), insert],
    ['a kept slot', () => logOf('settle_kept'), insert],
  ])(
    'wakes by %s after the server was killed, and looks for what was missed',
    async (_, sourceOf, statement) => {
      await survives(server, sourceOf(), () => write(statement()));
    },
  );

  /** On a connection of its own: those of the pool die with the server. */
  async function write(sql: string): Promise<void> {
    const client = new Client({ connectionString: server.url });
    await client.connect();
    await client.query(sql);
    await client.end();
  }

  function logOf(slot: string | undefined): WakeSource {
    const config = { connectionString: server.url, replication: 'database' };
    const connect = (): Client => new Client(config);
    return postgresLogWake({ connect, pool, backoff, ...(slot === undefined ? {} : { slot }) });
  }
});

describe('MariaDB', () => {
  let server: PrivateBroker;
  beforeAll(async () => {
    server = await privateBroker('privateMariadb');
    await once(`create database shop`, server.url);
    await once(table, shop());
  }, 60_000);
  afterAll(() => server.stop());

  it.each([undefined, 'kept'])(
    'wakes by the binary log after the server was killed, with the name %s',
    async (name) => {
      const source = mysqlLogWake({ connect, backoff, ...(name === undefined ? {} : { name }) });
      await survives(server, source, () => once(insert(), shop()));
    },
  );

  function connect(): Promise<Connection> {
    return createConnection(shop());
  }

  function shop(): string {
    return new URL('/shop', server.url).href;
  }
});

let row = 0;
function insert(): string {
  return `insert into settle_outbox values (1, ${++row})`;
}

async function once(sql: string, url: string): Promise<void> {
  const connection = await createConnection(url);
  await connection.query(sql);
  await connection.end();
}

async function survives(
  server: PrivateBroker,
  source: WakeSource,
  write: () => Promise<unknown>,
): Promise<void> {
  const wakes = new Wakes();
  const stop = new AbortController();
  await source.start(wakes.wake, { signal: stop.signal, warn: wakes.warn });
  const first = wakes.next();
  await write();
  await first;
  await server.kill();
  await wakes.warned(/was lost, and is tried again/);
  const again = wakes.next();
  await server.restart();
  await again;
  // One of these may be for the second look that a log begins with, not all.
  for (let n = 0; n < 3; n++) {
    const woken = wakes.next();
    await write();
    await woken;
  }
  expect(wakes.warnings.filter(({ message }) => /config_invalid/.test(message))).toEqual([]);
  stop.abort();
}
