// The databases that the contract of local transactions is tried on: each with one table, `note (value)`, in which every
// value is unique, and a way to look at it and to break connections that is independent of what is tested.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { createConnection, type Connection, type RowDataPacket } from 'mysql2/promise';
import { Client } from 'pg';
import { afterAll, beforeAll } from 'vitest';
import { mariadbDatabase } from '../services/mariadb.ts';
import { postgresDatabase } from '../services/postgres.ts';

export interface NoteDatabase {
  readonly kind: 'postgres' | 'mariadb' | 'sqlite';
  /** A URL, or the path of a file. Known from `beforeAll` on. */
  readonly url: string;
  /** What is committed, in order. */
  stored(): Promise<string[]>;
  clear(): Promise<void>;
  /** Ends every connection but its own, as a server that goes away does. */
  killConnections(): Promise<void>;
  /** How many connections have a statement under way that is not its own. */
  busyConnections(): Promise<number>;
  /** A statement that takes ten seconds; undefined where there is none that could be cancelled. */
  readonly slowSql: string | undefined;
}

const table = 'create table note (value varchar(100) not null primary key)';
const read = 'select value from note order by value';

/** Registers the hooks; call it at the top of a file. */
export function postgresNotes(): NoteDatabase {
  const database = postgresDatabase({ schema: table });
  const client = connectedInHooks(
    async () => {
      const made = new Client({ connectionString: database.url });
      await made.connect();
      return made;
    },
    (made) => made.end(),
  );
  const others = 'datname = current_database() and pid <> pg_backend_pid()';
  return {
    kind: 'postgres',
    get url() {
      return database.url;
    },
    stored: async () => (await client().query<{ value: string }>(read)).rows.map(({ value }) => value),
    clear: async () => void (await client().query('delete from note')),
    killConnections: async () =>
      void (await client().query(`select pg_terminate_backend(pid) from pg_stat_activity where ${others}`)),
    async busyConnections() {
      const { rowCount } = await client().query(
        `select from pg_stat_activity where ${others} and state = 'active' and backend_type = 'client backend'`,
      );
      return rowCount ?? 0;
    },
    slowSql: 'select pg_sleep(10)',
  };
}

/** Registers the hooks; call it at the top of a file. */
export function mariadbNotes(): NoteDatabase {
  const database = mariadbDatabase();
  const client = connectedInHooks(
    async () => {
      const made = await createConnection({ uri: database.url });
      // By default it takes `a` and `A` for the same value.
      await made.query(`${table} collate utf8mb4_bin`);
      return made;
    },
    (made) => made.end(),
  );
  return {
    kind: 'mariadb',
    get url() {
      return database.url;
    },
    async stored() {
      const [rows] = await client().query<RowDataPacket[]>(read);
      return rows.map((row) => String(row['value']));
    },
    clear: async () => void (await client().query('delete from note')),
    async killConnections() {
      for (const { id } of await othersOf(client())) await client().query(`kill ${String(id)}`);
    },
    busyConnections: async () => (await othersOf(client())).filter(({ info }) => info !== null).length,
    slowSql: 'select sleep(10)',
  };
}

async function othersOf(connection: Connection): Promise<RowDataPacket[]> {
  const [rows] = await connection.query<RowDataPacket[]>(
    'select id, info from information_schema.processlist where db = database() and id <> connection_id()',
  );
  return rows;
}

/** The part of node:sqlite and better-sqlite3 that looks at a file. */
interface SqliteFile {
  exec(sql: string): unknown;
  prepare(sql: string): { all(): unknown[] };
  close(): unknown;
}

/**
 * Registers the hooks; call it at the top of a file. The file has to be looked at by the library that is tested: two copies
 * of SQLite in one process do not see each other's locks (https://www.sqlite.org/howtocorrupt.html#multiple_copies_of_sqlite_linked_into_the_same_application).
 */
export function sqliteNotes(
  openFile: (path: string) => SqliteFile = (path) => new DatabaseSync(path),
): NoteDatabase {
  const folder = mkdtempSync(join(tmpdir(), 'settle-local-'));
  const url = join(folder, 'notes.sqlite');
  const client = connectedInHooks(
    () => {
      const made = openFile(url);
      made.exec('pragma journal_mode = wal; pragma busy_timeout = 2000');
      made.exec(table);
      return Promise.resolve(made);
    },
    (made) => {
      made.close();
      rmSync(folder, { recursive: true });
      return Promise.resolve();
    },
  );
  return {
    kind: 'sqlite',
    url,
    stored: () =>
      Promise.resolve(
        client()
          .prepare(read)
          .all()
          .map((row) => (row as { value: string }).value),
      ),
    async clear() {
      client().exec('delete from note');
    },
    killConnections: () => Promise.reject(new Error('a file has no connections')),
    busyConnections: () => Promise.resolve(0),
    slowSql: undefined,
  };
}

function connectedInHooks<C>(connect: () => Promise<C>, end: (client: C) => Promise<void>): () => C {
  let client: { readonly made: C } | undefined;
  beforeAll(async () => {
    client = { made: await connect() };
  });
  afterAll(async () => {
    if (client !== undefined) await end(client.made);
  });
  return () => {
    if (client === undefined) throw new Error('the database is there from beforeAll on');
    return client.made;
  };
}
