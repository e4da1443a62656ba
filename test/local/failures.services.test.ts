// What the errors of every driver mean, each made for real: the texts and codes are the drivers' own, and change with them.
import BetterSqlite from 'better-sqlite3';
import { createPool as createMariadbPool, type PoolConfig } from 'mariadb';
import { createPool as createMysqlPool } from 'mysql2/promise';
import { DatabaseSync } from 'node:sqlite';
import { Pool } from 'pg';
import postgres from 'postgres';
import { afterEach, describe, expect, test, vi } from 'vitest';
import { betterSqliteDriver } from '../../lib/src/local/adapters/better-sqlite3.ts';
import { mariadbDriver } from '../../lib/src/local/adapters/mariadb.ts';
import { mysql2Driver } from '../../lib/src/local/adapters/mysql2.ts';
import { nodeSqliteDriver } from '../../lib/src/local/adapters/node-sqlite.ts';
import { pgDriver } from '../../lib/src/local/adapters/pg.ts';
import { postgresJsDriver } from '../../lib/src/local/adapters/postgres-js.ts';
import { postgresDialect, type BeginOptions, type Failure } from '../../lib/src/local/dialect.ts';
import type { Connection, Driver } from '../../lib/src/local/driver.ts';
import { mariadbNotes, postgresNotes, sqliteNotes, type NoteDatabase } from './databases.ts';

const postgresql = postgresNotes();
const mariadb = mariadbNotes();

interface Library {
  readonly name: string;
  readonly database: NoteDatabase;
  readonly open: (url: string) => Opened;
}

interface Opened {
  readonly driver: Driver<object>;
  readonly close: () => unknown;
}

const libraries: readonly Library[] = [
  {
    name: 'pg',
    database: postgresql,
    open(connectionString) {
      const pool = new Pool({ connectionString, max: 2 });
      pool.on('error', () => {});
      return { driver: pgDriver(pool), close: () => pool.end() };
    },
  },
  {
    name: 'postgres.js',
    database: postgresql,
    open(url) {
      const sql = postgres(url, { max: 2, onnotice: () => {} });
      return { driver: postgresJsDriver(sql), close: () => sql.end({ timeout: 1 }) };
    },
  },
  {
    name: 'mysql2',
    database: mariadb,
    open(uri) {
      const pool = createMysqlPool({ uri, connectionLimit: 2 });
      return { driver: mysql2Driver(pool), close: () => pool.end() };
    },
  },
  {
    name: 'mariadb',
    database: mariadb,
    open(url) {
      // It says why it has no connection only when it gives up.
      const pool = createMariadbPool({ ...serverOf(url), connectionLimit: 3, acquireTimeout: 500 });
      return { driver: mariadbDriver(pool, { connectionLimit: 3 }), close: () => pool.end() };
    },
  },
  {
    name: 'better-sqlite3',
    database: sqliteNotes((path) => new BetterSqlite(path)),
    open(path) {
      const db = new BetterSqlite(path, { timeout: 0 });
      return { driver: betterSqliteDriver(db), close: () => db.close() };
    },
  },
  {
    name: 'node:sqlite',
    database: sqliteNotes(),
    open(path) {
      const db = new DatabaseSync(path, { timeout: 0 });
      return { driver: nodeSqliteDriver(db), close: () => db.close() };
    },
  },
];

type Kind = NoteDatabase['kind'];

/** For databases that are not named, the case does not exist there. */
interface Case {
  readonly title: string;
  readonly expected: { readonly [K in Kind]?: Failure };
  /** Values that are there before. Default: none. */
  readonly stored?: readonly string[];
  /** Comes to the error. */
  readonly happen: (at: Scene) => Promise<unknown>;
}

interface Scene {
  readonly database: NoteDatabase;
  /** Two connections; of SQLite, each over a handle of its own. */
  readonly one: Connection;
  readonly two: Connection;
  readonly begin: (connection: Connection, options?: Partial<BeginOptions>) => Promise<void>;
}

const refused: Failure = { kind: 'refused', endsTransaction: false };
const lost: Failure = { kind: 'connection-lost', endsTransaction: true };
const serialization: Failure = { kind: 'serialization', endsTransaction: false };

const cases: readonly Case[] = [
  {
    title: 'the connection is lost with a statement in flight',
    expected: { postgres: lost, mariadb: lost },
    async happen({ database, one }) {
      const failed = errorOf(() => one.execute(slow(database)));
      await busy(database);
      await database.killConnections();
      return await failed;
    },
  },
  {
    title: 'the connection is lost while idle, and told with the next statement',
    expected: { postgres: lost, mariadb: lost },
    async happen({ database, one, begin }) {
      await begin(one);
      await database.killConnections();
      return await vi.waitFor(() => errorOf(() => one.execute('select 1')));
    },
  },
  {
    title: 'the statement after the one that was lost',
    expected: { postgres: lost, mariadb: lost },
    async happen({ database, one }) {
      const failed = errorOf(() => one.execute(slow(database)));
      await busy(database);
      await database.killConnections();
      await failed;
      return await errorOf(() => one.execute('select 1'));
    },
  },
  {
    title: 'a deadlock',
    expected: {
      postgres: { kind: 'deadlock', endsTransaction: false },
      mariadb: { kind: 'deadlock', endsTransaction: true },
    },
    stored: ['a', 'b'],
    async happen({ one, two, begin }) {
      await begin(one);
      await begin(two);
      await one.execute(touch('a'));
      await two.execute(touch('b'));
      return await Promise.any([
        errorOf(() => one.execute(touch('b'))),
        errorOf(() => two.execute(touch('a'))),
      ]);
    },
  },
  {
    title: 'a serialization failure',
    expected: { postgres: serialization, sqlite: serialization },
    stored: ['a'],
    async happen({ database, one, two, begin }) {
      await (database.kind === 'sqlite' ? one.execute('begin') : begin(one, { isolation: 'serializable' }));
      await one.execute('select * from note');
      await begin(two);
      await two.execute(touch('a'));
      await two.execute('commit');
      return await errorOf(() => one.execute(touch('a')));
    },
  },
  {
    title: 'what was read has changed (innodb_snapshot_isolation)',
    expected: { mariadb: { kind: 'serialization', endsTransaction: true } },
    stored: ['a'],
    async happen({ one, two, begin }) {
      await one.execute('set innodb_snapshot_isolation = on');
      await begin(one);
      await one.execute('select * from note');
      await two.execute("update note set value = 'b' where value = 'a'");
      const error = await errorOf(() => one.execute("update note set value = 'c' where value = 'b'"));
      await one.execute('do 0');
      // The whole transaction is rolled back, and what comes now would be on its own.
      expect(one.status?.()).toBe('none');
      return error;
    },
  },
  {
    title: 'a lock that is waited for too long',
    expected: { postgres: refused, mariadb: refused, sqlite: serialization },
    stored: ['a'],
    async happen({ database, one, two, begin }) {
      await begin(one);
      await one.execute(touch('a'));
      if (database.kind === 'postgres') await two.execute("set lock_timeout = '50ms'");
      if (database.kind === 'mariadb') await two.execute('set innodb_lock_wait_timeout = 1');
      return await errorOf(() => two.execute(touch('a')));
    },
  },
  {
    title: 'a statement that is cancelled',
    expected: { postgres: refused, mariadb: refused },
    async happen({ database, one }) {
      const failed = errorOf(() => one.execute(slow(database)));
      await busy(database);
      await one.cancel?.();
      return await failed;
    },
  },
  {
    title: 'a statement that the server finds too slow',
    expected: { postgres: refused, mariadb: refused },
    async happen({ database, one }) {
      const limit = { postgres: "set statement_timeout = '50ms'", mariadb: 'set max_statement_time = 0.05' };
      await one.execute(database.kind === 'postgres' ? limit.postgres : limit.mariadb);
      return await errorOf(() => one.execute(slow(database)));
    },
  },
  {
    title: 'a violated constraint',
    expected: { postgres: refused, mariadb: refused, sqlite: refused },
    stored: ['a'],
    async happen({ one }) {
      return await errorOf(() => one.execute("insert into note values ('a')"));
    },
  },
  {
    title: 'a text that is no SQL',
    expected: { postgres: refused, mariadb: refused, sqlite: refused },
    happen: ({ one }) => errorOf(() => one.execute('nonsense')),
  },
  {
    title: 'a write in a read-only transaction',
    expected: { postgres: refused, mariadb: refused },
    async happen({ one, begin }) {
      await begin(one, { readOnly: true });
      return await errorOf(() => one.execute("insert into note values ('a')"));
    },
  },
  {
    title: 'a COMMIT that fails for a deferred constraint',
    expected: { postgres: refused, sqlite: refused },
    async happen({ database, one, begin }) {
      if (database.kind === 'sqlite') await one.execute('pragma foreign_keys = on');
      await one.execute('drop table if exists child');
      await one.execute('drop table if exists parent');
      await one.execute('create table parent (id int primary key)');
      await one.execute('create table child (id int references parent (id) deferrable initially deferred)');
      await begin(one);
      await one.execute('insert into child values (1)');
      return await errorOf(() => one.execute('commit'));
    },
  },
];

describe.each(libraries)('errors of $name', ({ database, open }) => {
  const { kind } = database;
  const opened: Opened[] = [];
  afterEach(async () => {
    for (const { close } of opened.splice(0)) await close();
    await database.clear();
  });
  function driverFor(url: string): Driver<object> {
    const made = open(url);
    opened.push(made);
    return made.driver;
  }

  const casesHere = cases.flatMap(({ expected, ...given }) => {
    const failure = expected[kind];
    return failure === undefined ? [] : [{ ...given, failure }];
  });
  test.each(casesHere)('$title', async ({ stored = [], failure, happen }) => {
    const driver = driverFor(database.url);
    const { dialect } = driver;
    const begin: Scene['begin'] = async (connection, options = {}) => {
      const all = { isolation: undefined, readOnly: false, serverTimeoutMs: undefined, ...options };
      for (const sql of dialect.begin(all)) await connection.execute(sql);
    };
    if (stored.length > 0) {
      const before = await driver.acquire({ readOnly: false });
      await begin(before);
      for (const value of stored) await before.execute(`insert into note values ('${value}')`);
      await before.execute('commit');
      await before.release('reuse');
    }
    const one = await driver.acquire({ readOnly: false });
    const other = kind === 'sqlite' ? driverFor(database.url) : driver;
    const two = await other.acquire({ readOnly: false });
    const error = await happen({ database, one, two, begin });
    await two.release('discard');
    await one.release('discard');
    expect(error).toBeInstanceOf(Error);
    expect({ error, failure: dialect.failureOf(error) }).toMatchObject({ failure });
    expect(dialect.deniesAccess(error)).toBe(false);
  });

  // A file has no address.
  if (kind === 'sqlite') return;
  const addresses: { title: string; change: (url: URL) => void; denied: boolean }[] = [
    { title: 'a user that is not there', change: (url) => (url.username = 'nobody'), denied: true },
    { title: 'a database that is not there', change: (url) => (url.pathname = '/nowhere'), denied: true },
    { title: 'a port where nobody listens', change: (url) => (url.port = '1'), denied: false },
  ];
  test.each(addresses)('$title', async ({ change, denied }) => {
    const url = new URL(database.url);
    change(url);
    const driver = driverFor(url.href);
    const error = await errorOf(() => driver.acquire({ readOnly: false }));
    expect(error).toBeInstanceOf(Error);
    expect({ error, denied: driver.dialect.deniesAccess(error) }).toMatchObject({ denied });
    const { kind: failure } = driver.dialect.failureOf(error);
    expect({ error, isLost: failure === 'connection-lost' }).toMatchObject({ isLost: !denied });
  });
});

test('EPIPE is no SQLSTATE, although it looks like one', () => {
  const error = Object.assign(new Error('write EPIPE'), { code: 'EPIPE' });
  expect(postgresDialect.failureOf(error)).toEqual(lost);
});

async function errorOf(call: () => unknown): Promise<unknown> {
  const [error] = await Promise.resolve()
    .then(call)
    .then(
      (value) => [new TypeError(`it came to ${String(value)}`)],
      (error: unknown) => [error],
    );
  if (error instanceof TypeError) throw error;
  return error;
}

async function busy(database: NoteDatabase): Promise<void> {
  await vi.waitFor(async () => expect(await database.busyConnections()).toBe(1));
}

function slow({ slowSql }: NoteDatabase): string {
  if (slowSql === undefined) throw new Error('nothing is slow there');
  return slowSql;
}

function touch(value: string): string {
  return `update note set value = '${value}' where value = '${value}'`;
}

function serverOf(url: string): PoolConfig {
  const { hostname, port, username, password, pathname } = new URL(url);
  return { host: hostname, port: Number(port), user: username, password, database: pathname.slice(1) };
}
