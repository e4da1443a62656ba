// `settle dev` as it is built, each of its services on another real database.
import { chmodSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createConnection, type Connection, type RowDataPacket } from 'mysql2/promise';
import { Client } from 'pg';
import { afterEach, beforeEach, describe, expect, inject, it } from 'vitest';
import { findProgram, debianPostgresFolders } from '../../server/src/demo/private-servers/programs.ts';
import { report, type Report } from './dev-report.ts';
import { runSettle, startSettle } from './settle-process.ts';

const everything = ['money', 'goods', 'all-or-nothing', 'nothing-held', 'exactly-once', 'as-told'];

function expectAllToHold({ ok, unsettled, lost, check }: Report): void {
  expect({ ok, unsettled, lost }).toEqual({ ok: true, unsettled: 0, lost: [] });
  expect(check.facts.filter(({ violations }) => violations === 0).map(({ name }) => name)).toEqual(
    everything,
  );
}

describe('settle dev on servers that it is given', () => {
  it(
    'settles every order, though services, coordinator and connections are killed',
    { timeout: 60_000 },
    async () => {
      const found = await report('--orders=200', '--seed=7', '--kill-coordinator', onGivenServers());
      expectAllToHold(found.report);
      expect(found.code).toBe(0);
      expect(found.report.databases).toEqual({ orders: 'postgres', stock: 'mariadb', wallet: 'sqlite' });
      const { coordinatorKills, restarts, connectionsCut } = found.report.tally;
      expect({ coordinatorKills, restarts: Object.values(restarts) }).toEqual({
        coordinatorKills: 4,
        restarts: [1, 1, 1],
      });
      expect(connectionsCut).toBeGreaterThan(0);
    },
  );

  it('leaves no database behind when nobody comes back to its folder', { timeout: 60_000 }, async () => {
    const before = await databasesOnServers();
    const { code, stdout } = await runSettle([
      'dev',
      '--once',
      '--port=0',
      '--orders=20',
      '--seed=3',
      onGivenServers(),
    ]);
    expect(stdout).toContain('orders (PostgreSQL), stock (MariaDB) and wallet (SQLite)');
    expect(code).toBe(0);
    expect(await databasesOnServers()).toEqual(before);
  });

  it.each(['stock:skip-barrier', 'stock:drop-undo', 'orders:skip-barrier'])(
    'fails when a defect is planted: %s',
    { timeout: 60_000 },
    async (plant) => {
      const found = await report(
        '--orders=120',
        '--seed=7',
        `--plant=${plant}`,
        '--settle-ms=8000',
        onGivenServers(),
      );
      expect([found.report.ok, found.code]).toEqual([false, 1]);
    },
  );
});

const isInstalled =
  findProgram('initdb', debianPostgresFolders()) !== undefined &&
  findProgram('mariadb-install-db', ['/usr/sbin']) !== undefined;

// Where the services come from Docker or by URL, there may be no programs to start.
describe.skipIf(!isInstalled)('settle dev on servers that it starts', () => {
  let folder = '';

  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'settle-dev-servers-'));
    // Servers run as users of their own when we are root.
    chmodSync(folder, 0o711);
  });

  afterEach(() => {
    rmSync(folder, { recursive: true });
  });

  it(
    'settles every order, goes on with the same data, and refuses other databases',
    { timeout: 60_000 },
    async () => {
      const first = await runIn(folder, 'mariadb,postgres', 7);
      const second = await runIn(folder, 'mariadb,postgres', 8);
      expect([first.code, second.code]).toEqual([0, 0]);
      expect(second.accepted).toBeGreaterThan(first.accepted ?? 0);
      const other = await runIn(folder, 'sqlite', 9);
      expect(other.code).toBe(2);
      expect(other.stderr).toContain('Go on with --databases mariadb,postgres,mariadb');
    },
  );

  it(
    'lets nobody in without its password, and ends them with their data when it is killed itself',
    {
      timeout: 60_000,
    },
    async () => {
      const args = ['dev', '--port=0', '--seed=5', '--databases=postgres,mariadb'];
      const settle = startSettle(args, { TMPDIR: folder });
      await settle.until(/^1 s \|/m);
      const [dir = ''] = readdirSync(folder);
      const pathOf = (name: string): string => join(folder, dir, name);
      const data = ['postgres-server', 'mariadb-server'].map(pathOf);
      expect(data.filter((path) => !existsSync(path))).toEqual([]);
      const postgresPort = readFileSync(pathOf('postgres-server/data/postmaster.pid'), 'utf8').split('\n')[3];
      const mariadbPort = /port: (\d+)/.exec(readFileSync(pathOf('mariadb-server.log'), 'utf8'))?.[1];
      const postgres = () => enterPostgres(`postgres://postgres:guess@127.0.0.1:${postgresPort}/postgres`);
      const mariadb = () => enterMariadb(`mysql://root@127.0.0.1:${mariadbPort}`);
      await expect(postgres()).rejects.toMatchObject({ code: '28P01' });
      await expect(mariadb()).rejects.toMatchObject({ code: 'ER_ACCESS_DENIED_ERROR' });

      settle.child.kill('SIGKILL');
      await expect.poll(() => data.filter((path) => existsSync(path)), { timeout: 20_000 }).toEqual([]);
      await expect(postgres()).rejects.toMatchObject({ code: 'ECONNREFUSED' });
      await expect(mariadb()).rejects.toMatchObject({ code: 'ECONNREFUSED' });
    },
  );
});

function onGivenServers(): string {
  const { postgres, mariadb } = inject('services');
  return `--databases=postgres=${postgres},mariadb=${mariadb},sqlite`;
}

async function runIn(folder: string, databases: string, seed: number) {
  const which = [`--seed=${seed}`, `--dir=${folder}`, `--databases=${databases}`];
  const args = ['dev', '--once', '--port=0', '--orders=40', '--json', ...which];
  const { code, stdout, stderr } = await runSettle(args);
  return { code, stderr, accepted: code === 0 ? acceptedIn(stdout) : undefined };
}

function acceptedIn(report: string): number {
  const { check } = JSON.parse(report) as {
    readonly check: { readonly totals: { readonly accepted: number } };
  };
  return check.totals.accepted;
}

async function databasesOnServers(): Promise<readonly string[]> {
  const { postgres, mariadb } = inject('services');
  const client = await enterPostgres(postgres);
  const { rows } = await client.query<{ name: string }>(
    `select datname as name from pg_database where datname like 'settle_dev_%'`,
  );
  await client.end();
  const connection = await enterMariadb(mariadb);
  const [schemas] = await connection.query<RowDataPacket[]>(`show databases like 'settle_dev_%'`);
  await connection.end();
  return [...rows.map(({ name }) => name), ...schemas.flatMap((row) => Object.values(row).map(String))];
}

async function enterPostgres(url: string): Promise<Client> {
  const client = new Client({ connectionString: url });
  await client.connect();
  return client;
}

function enterMariadb(url: string): Promise<Connection> {
  return createConnection({ uri: url });
}
