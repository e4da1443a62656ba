/** A database with the outbox's tables, of its own on the server that is measured on, and dropped at the end. */
import { randomBytes } from 'node:crypto';
import { Client, Pool } from 'pg';
import type { Driver } from 'settle/local';
import { pgDriver, type PgHandle } from 'settle/local/pg';
import { migrateOutbox } from 'settle/outbox';
import { findPostgres } from '../harness/postgres.ts';

export interface BenchDatabase {
  readonly about: string;
  readonly url: string;
  readonly pool: Pool;
  readonly driver: Driver<PgHandle<Pool>>;
  close(): Promise<void>;
}

export async function openDatabase(settings: Readonly<Record<string, string>> = {}): Promise<BenchDatabase> {
  const postgres = await findPostgres(settings);
  const server = await postgres.start();
  const admin = new Client({ connectionString: server.url });
  await admin.connect();
  const name = `settle_bench_${randomBytes(6).toString('hex')}`;
  await admin.query(`create database ${name}`);
  const url = new URL(server.url);
  url.pathname = `/${name}`;
  const pool = openPool(url.href, 20);
  const driver = pgDriver(pool);
  await migrateOutbox(driver);
  return {
    about: postgres.about,
    url: url.href,
    pool,
    driver,
    async close() {
      await pool.end();
      await admin.query(`drop database ${name} with (force)`);
      await admin.end();
      await server.stop();
    },
  };
}

/** Its connections may still be there after its end, and hear that their database is dropped. */
export function openPool(url: string, max = 10): Pool {
  return new Pool({ connectionString: url, max }).on('error', () => undefined);
}

export interface Backlog {
  readonly messages: number;
  /** They come in turn: message n has key n modulo this. */
  readonly keys: number;
}

export const payload = JSON.stringify({ id: 'o-123456', total: 12_345, items: [1, 2, 3] });

/** Puts a backlog, a minute old, in place of what was there. Any lane will do, as long as a key has one. */
export async function fillOutbox(
  pool: Pool,
  {
    messages,
    keys,
    target,
    address = 'orders',
  }: Backlog & { readonly target: string; readonly address?: string },
): Promise<void> {
  await pool.query('truncate settle_outbox');
  await pool.query(
    `insert into settle_outbox (lane, id, target, aggregatetype, aggregateid, type, payload, version, created_at)
     select hashtext(key) & 63, $5 || n, $3, $4, key, 'order.placed', $6, 1, extract(epoch from now() - '1 minute'::interval) * 1000
     from (select n, 'key-' || n % $2::int as key from generate_series(1, $1::int) n) as message`,
    [messages, keys, target, address, `${randomBytes(6).toString('hex')}-`, payload],
  );
  await settleDown(pool, 'settle_outbox');
}

/** What a table that has grown slowly has had already: its writes are on disk, and the planner knows it. */
export async function settleDown(pool: Pool, table: string): Promise<void> {
  await pool.query(`vacuum analyze ${table}`);
  await pool.query('checkpoint');
}

/** How many messages wait. */
export async function countOf(pool: Pool, table: string, where = 'true'): Promise<number> {
  const { rows } = await pool.query<{ n: number }>(`select count(*)::int as n from ${table} where ${where}`);
  return rows[0]?.n ?? NaN;
}
