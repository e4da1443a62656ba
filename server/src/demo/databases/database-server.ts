/** A server as whoever makes databases on it sees it: the demo itself, beside the services. */
import { SettleError } from 'settle/core';
import { messageOf } from '../../message-of.ts';
import { databaseNames, type ServerKind } from './kinds.ts';

export interface DatabaseServer {
  /** Makes an empty database, and gives back its URL. */
  create(name: string): Promise<string>;
  /** Of one that `create` has made, in an earlier run perhaps. */
  urlOf(name: string): string;
  /** Ends all connections to the database, whatever they are doing. Gives back how many there were. */
  cutConnections(name: string): Promise<number>;
  drop(name: string): Promise<void>;
  close(): Promise<void>;
}

/** Throws `config_invalid` for a server that cannot be reached, or not with this user and password. */
export async function openServer(kind: ServerKind, url: string): Promise<DatabaseServer> {
  try {
    switch (kind) {
      case 'postgres':
        return await (await import('./postgres-server.ts')).openPostgresServer(url);
      case 'mariadb':
        return await (await import('./mariadb-server.ts')).openMariadbServer(url);
    }
  } catch (cause) {
    throw unusable(kind, url, cause);
  }
}

function unusable(kind: ServerKind, url: string, cause: unknown): SettleError {
  return new SettleError(
    'config_invalid',
    `${databaseNames[kind]} at ${withoutPassword(url)} cannot be used: ${reasonOf(cause)}`,
    { next: 'Start that server, or correct the URL; its user has to be one who may create databases', cause },
  );
}

/** An attempt on several addresses fails with an error that says nothing itself. */
function reasonOf(error: unknown): string {
  if (error instanceof AggregateError && error.message === '') return error.errors.map(messageOf).join(', ');
  return messageOf(error);
}

export function withoutPassword(url: string): string {
  const shown = new URL(url);
  if (shown.password !== '') shown.password = '***';
  // Parameters may hold secrets too, and which server is meant is clear without them.
  shown.search = '';
  return shown.href;
}

/** The same server, and this database of it. */
export function urlOfDatabase(server: string, name: string): string {
  const url = new URL(server);
  url.pathname = `/${name}`;
  return url.href;
}

/** Milliseconds until a server has to answer. */
export const connectTimeoutMs = 5_000;
