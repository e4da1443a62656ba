/** The database servers that the demo starts itself, as long as it lives. */
import { chmodSync } from 'node:fs';
import { join } from 'node:path';
import type { ChildProcess } from 'node:child_process';
import { SettleError } from 'settle/core';
import { Child } from '../child-process.ts';
import { databaseNames, type ServerKind } from '../databases/kinds.ts';
import { findProgram } from './programs.ts';
import { serverPrograms } from './server-program.ts';
import { settingsVariable, type ServersMessage, type ServersSettings } from './settings.ts';

export interface PrivateServersOptions {
  readonly kinds: readonly ServerKind[];
  /** Their data lies in a folder of it each. */
  readonly dir: string;
  /** Whether it stays when they end. */
  readonly keep: boolean;
  readonly secret: string;
  readonly onSurprise: (error: Error) => void;
}

export interface PrivateServers {
  readonly urls: ReadonlyMap<ServerKind, string>;
  stop(): Promise<void>;
}

/** Milliseconds that filling the data directories of all may take, on a slow disk. */
const startMs = 60_000;

/** Throws `config_invalid` for a kind that is not installed or cannot be started; it says what to do. */
export async function startPrivateServers(options: PrivateServersOptions): Promise<PrivateServers> {
  const { kinds, dir, keep, secret, onSurprise } = options;
  if (kinds.length === 0) return { urls: new Map(), stop: () => Promise.resolve() };
  const servers = kinds.map((kind) => {
    return { kind, secret, folder: serverFolder(dir, kind), programs: programsOf(kind) };
  });
  // As root we start them as users of their own, who have to get to their folders.
  if (process.getuid?.() === 0 && !keep) chmodSync(dir, 0o711);
  let urls: readonly string[] = [];
  const child = new Child({
    name: 'the process that holds the database servers',
    script: 'private-servers/main',
    args: [],
    startMs,
    onSurprise,
    untilReady: async (process) => {
      urls = await answered(process, kinds);
    },
  });
  try {
    const settings: ServersSettings = { servers, keep };
    await child.start({ [settingsVariable]: JSON.stringify(settings) });
  } catch (error) {
    await child.stop();
    throw error;
  }
  return { urls: new Map(kinds.map((kind, at) => [kind, urls[at] ?? ''])), stop: () => child.stop() };
}

export function serverFolder(dir: string, kind: ServerKind): string {
  return join(dir, `${kind}-server`);
}

function programsOf(kind: ServerKind): Readonly<Record<string, string>> {
  const { binaries, folders } = serverPrograms[kind];
  const where = folders();
  const found = binaries.map((binary) => [binary, findProgram(binary, where)] as const);
  const missing = found.flatMap(([binary, path]) => (path === undefined ? [binary] : []));
  if (missing.length > 0) throw notInstalled(kind, missing);
  return Object.fromEntries(found.map(([binary, path]) => [binary, path ?? '']));
}

function notInstalled(kind: ServerKind, missing: readonly string[]): SettleError {
  const name = databaseNames[kind];
  return new SettleError(
    'config_invalid',
    `${name} is not installed here: ${missing.join(' and ')} cannot be found on PATH`,
    { next: `Install it (on Debian: apt-get install ${serverPrograms[kind].package}), or ${giveUrl(kind)}` },
  );
}

function giveUrl(kind: ServerKind): string {
  const example = {
    postgres: 'postgres://user:password@127.0.0.1:5432',
    mariadb: 'mysql://user:password@127.0.0.1:3306',
  };
  return `give a server of yours: --databases ${kind}=${example[kind]}`;
}

function answered(child: ChildProcess, kinds: readonly ServerKind[]): Promise<readonly string[]> {
  child.stdout?.resume();
  return new Promise((resolve, reject) => {
    // Sent by main.ts, in the same release.
    child.on('message', (message: ServersMessage) => {
      if (message.kind === 'ready') return resolve(message.urls);
      const names = kinds.map((kind) => databaseNames[kind]).join(' and ');
      reject(
        new SettleError('config_invalid', `${names} could not be started: ${message.reason}`, {
          next: kinds.map((kind) => `Or ${giveUrl(kind)}`).join('. '),
        }),
      );
    });
  });
}
