/** A service's own database: what its process, and the demo that makes and reads it, need of one. */
import type { Guard } from 'settle/participant';
import type { SqlQuery } from 'settle/participant/postgres';
import type { Place } from './kinds.ts';
import type { ColumnTypes } from './tables.ts';

/**
 * Statements have `?` for their values, and `returning` for what an insert made up. Numbers of 64 bits come back exact: as
 * text, where the driver would round them.
 */
export type { SqlQuery };

export interface ServiceDatabase {
  /** Its work writes through the query it is given, in the barrier's transaction. */
  readonly barrier: Guard<SqlQuery>;
  /** Creates the barrier's tables where they are missing. */
  migrate(): Promise<void>;
  /** Each statement by itself. */
  readonly query: SqlQuery;
  readonly types: ColumnTypes;
  /** With no call under way. */
  close(): Promise<void>;
}

/** Opens a database that is there. Only the driver that is needed is loaded. */
export async function openDatabase(place: Place): Promise<ServiceDatabase> {
  switch (place.kind) {
    case 'sqlite':
      return (await import('./sqlite.ts')).openSqlite(place.file);
    case 'postgres':
      return (await import('./postgres.ts')).openPostgres(place.url);
    case 'mariadb':
      return (await import('./mariadb.ts')).openMariadb(place.url);
  }
}

/** The same barrier, whose work gets a way to run statements instead of the driver's own client. */
export function throughQuery<Client>(
  guard: Guard<Client>,
  queryOf: (client: Client) => SqlQuery,
): Guard<SqlQuery> {
  return {
    run: (call, work) => guard.run(call, (client, same) => work(queryOf(client), same)),
    begin: (call) => guard.begin(call),
    prepare: (gid, work) => guard.prepare(gid, (client) => work(queryOf(client))),
    check: (call) => guard.check(call),
  };
}

/** Connections of one service to its server. */
export const connectionsMax = 16;

/** Milliseconds a service waits for a connection, and for a lock. */
export const patienceMs = 5_000;
