/** A PostgreSQL to measure on: the one SETTLE_BENCH_POSTGRES names, else a throw-away one from installed programs. */
import { execFile } from 'node:child_process';
import { chownSync, existsSync, mkdtempSync, readdirSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { promisify } from 'node:util';
import { freePorts } from './port.ts';
import { startProgram } from './program.ts';

export interface Postgres {
  /** Version and the settings that matter. */
  readonly about: string;
  start(): Promise<{ readonly url: string; stop(): Promise<void> }>;
}

const run = promisify(execFile);

/** Durability is PostgreSQL's own default: fsync and synchronous_commit are on. */
const settings = { shared_buffers: '256MB', max_wal_size: '4GB', max_connections: '400' };

/** `more` are settings beside ours, for a server that is started here. */
export async function findPostgres(more: Readonly<Record<string, string>> = {}): Promise<Postgres> {
  const url = process.env['SETTLE_BENCH_POSTGRES'];
  if (url !== undefined && url !== '') {
    return {
      about: 'the PostgreSQL of SETTLE_BENCH_POSTGRES, with its own settings',
      start: () => Promise.resolve({ url, stop: () => Promise.resolve() }),
    };
  }
  const folder = programs();
  const { stdout } = await run(join(folder, 'postgres'), ['--version']);
  const user = process.getuid?.() === 0 ? await userPostgres() : {};
  const changed = Object.entries({ ...settings, ...more }).map(([name, value]) => `${name}=${value}`);
  return {
    about: `${stdout.trim()}, a new cluster, fsync on, ${changed.join(', ')}`,
    start: () => start(folder, user, { ...settings, ...more }),
  };
}

/** The folder with initdb and postgres: on PATH, else where Debian puts them, the newest version first. */
function programs(): string {
  const debian = '/usr/lib/postgresql';
  const versions = existsSync(debian) ? readdirSync(debian).toSorted((a, b) => Number(b) - Number(a)) : [];
  const folders = [
    ...(process.env['PATH'] ?? '').split(delimiter),
    ...versions.map((version) => join(debian, version, 'bin')),
  ];
  const found = folders.find((folder) =>
    ['initdb', 'postgres', 'pg_isready'].every((name) => existsSync(join(folder, name))),
  );
  if (found !== undefined) return found;
  throw new Error(
    'no PostgreSQL: install one (Debian: apt-get install --no-install-recommends postgresql), ' +
      'or name a running one by SETTLE_BENCH_POSTGRES=postgres://user@127.0.0.1:5432/database',
  );
}

interface User {
  readonly uid?: number;
  readonly gid?: number;
}

/** PostgreSQL refuses to run as root; its packages bring a user for it. */
async function userPostgres(): Promise<User> {
  return { uid: await idOfPostgres('-u'), gid: await idOfPostgres('-g') };
}

async function idOfPostgres(what: '-u' | '-g'): Promise<number> {
  const { stdout } = await run('id', [what, 'postgres']);
  return Number(stdout);
}

async function start(
  programs: string,
  user: User,
  changed: Readonly<Record<string, string>>,
): Promise<{ readonly url: string; stop(): Promise<void> }> {
  const folder = mkdtempSync(join(tmpdir(), 'settle-bench-postgres-'));
  if (user.uid !== undefined && user.gid !== undefined) chownSync(folder, user.uid, user.gid);
  const data = join(folder, 'data');
  const initial = ['-D', data, '-U', 'postgres', '-A', 'trust', '-E', 'UTF8', '--no-locale', '--no-sync'];
  await run(join(programs, 'initdb'), initial, { cwd: folder, ...user });

  const [port = 0] = await freePorts(1);
  const all = { listen_addresses: '127.0.0.1', port, unix_socket_directories: '', fsync: 'on', ...changed };
  const running = await startProgram({
    file: join(programs, 'postgres'),
    args: ['-D', data, ...Object.entries(all).flatMap(([name, value]) => ['-c', `${name}=${value}`])],
    folder,
    // Immediate shutdown: its data is thrown away.
    stopSignal: 'SIGQUIT',
    ...user,
  });
  await running.ready(() => run(join(programs, 'pg_isready'), ['-h', '127.0.0.1', '-p', String(port)]));
  return { url: `postgres://postgres@127.0.0.1:${port}/postgres`, stop: () => running.stop() };
}
