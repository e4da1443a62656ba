// The tables of the outbox, looked at with a connection of the test's own.
import { createConnection, type Connection, type RowDataPacket } from 'mysql2/promise';
import { Client } from 'pg';
import { afterAll, beforeAll } from 'vitest';
import type { Driver } from '../../lib/src/local/driver.ts';
import { mariadbDatabase } from '../services/mariadb.ts';
import { postgresDatabase } from '../services/postgres.ts';

export interface OutboxTables {
  /** Rows of a select; numbers as text. */
  rows(sql: string): Promise<readonly Readonly<Record<string, unknown>>[]>;
  run(sql: string): Promise<void>;
}

export interface ServerTables extends OutboxTables {
  readonly kind: 'postgres' | 'mysql';
  /** Known from `beforeAll` on. */
  readonly url: string;
}

/** Registers the hooks; call it at the top of a file. */
export function postgresTables(): ServerTables {
  const database = postgresDatabase();
  let client: Client | undefined;
  beforeAll(async () => {
    client = new Client({ connectionString: database.url });
    await client.connect();
  });
  afterAll(() => client?.end());
  const connected = (): Client => client ?? fail();
  return {
    kind: 'postgres',
    get url() {
      return database.url;
    },
    rows: async (sql) => (await connected().query<Record<string, unknown>>(sql)).rows,
    run: async (sql) => void (await connected().query(sql)),
  };
}

/** Registers the hooks; call it at the top of a file. */
export function mysqlTables(): ServerTables {
  const database = mariadbDatabase();
  let client: Connection | undefined;
  beforeAll(async () => {
    client = await createConnection({ uri: database.url });
  });
  afterAll(() => client?.end());
  const connected = (): Connection => client ?? fail();
  return {
    kind: 'mysql',
    get url() {
      return database.url;
    },
    rows: async (sql) => (await connected().query<RowDataPacket[]>(sql))[0],
    run: async (sql) => void (await connected().query(sql)),
  };
}

/** Through the driver that is tested: two copies of SQLite in one process do not see each other's locks. */
export function tablesOver(driver: Driver<unknown>): OutboxTables {
  const rows: OutboxTables['rows'] = async (sql) => {
    const connection = await driver.acquire({ readOnly: false });
    try {
      const result = await connection.query?.(sql, []);
      return (result?.rows ?? []) as readonly Readonly<Record<string, unknown>>[];
    } finally {
      await connection.release('reuse');
    }
  };
  return { rows, run: async (sql) => void (await rows(sql)) };
}

function fail(): never {
  throw new Error('the database is there from beforeAll on');
}
