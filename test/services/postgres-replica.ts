import { inject } from 'vitest';
import { services } from '../../scripts/services/services.mjs';
import { connect, openPostgres, type PostgresDatabaseOptions, urlOf } from './postgres.ts';
import {
  becomesTrue,
  catchUpMs,
  type ReplicatedDatabase,
  type ReplicaServer,
  replicatedDatabaseOfThisFile,
  type StartedReplica,
  startReplica,
  turnMs,
} from './replica.ts';

/** A fresh PostgreSQL database for this test file, with a streaming replica; a connection left open fails the file. */
export function postgresReplica(options: PostgresDatabaseOptions = {}): ReplicatedDatabase {
  return replicatedDatabaseOfThisFile(
    () => openPostgres(inject('services').postgres, options),
    async () => openPostgresReplica(await startReplica('postgresReplica'), inject('services').postgres),
  );
}

/** Takes a replica that follows this primary, ours or given, for one file alone. */
export async function openPostgresReplica(
  { url, stop }: StartedReplica,
  primaryUrl: string,
): Promise<ReplicaServer> {
  const server = await openPostgres(url);
  const [primary, replica] = await Promise.all([answersOf(primaryUrl), answersOf(url)]);

  async function caughtUp() {
    const written = String(await primary.ask('pg_current_wal_flush_lsn()'));
    const shows = async () => (await replica.ask('pg_last_wal_replay_lsn() >= $1::pg_lsn', written)) === true;
    if (await becomesTrue(shows)) return;
    const shown = String(await replica.ask('pg_last_wal_replay_lsn()'));
    throw new Error(
      `the replica at ${shown} does not come to ${written}, where its primary is, within ${catchUpMs} ms`,
    );
  }

  async function replayBecomes(state: 'paused' | 'not paused') {
    // A pause is only requested, and begins before the next record.
    const isSo = async () => (await replica.ask('pg_get_wal_replay_pause_state()')) === state;
    if (!(await becomesTrue(isSo))) throw new Error(`replay is not ${state} within ${catchUpMs} ms`);
  }

  async function resume() {
    await replica.ask('pg_wal_replay_resume()');
    await replayBecomes('not paused');
  }

  return {
    async follow(name) {
      const { variable } = services.postgresReplica;
      if ((await replica.ask('pg_is_in_recovery()')) !== true)
        throw new Error(`the server in ${variable} is a primary itself: pg_is_in_recovery() is false there`);
      await replica.ask("set_config('lock_timeout', $1, false)", String(turnMs));
      await replica.ask("pg_advisory_lock(hashtext('settle: the replica'))");
      // One that was given may have been left paused by a run that was killed.
      await resume();
      await caughtUp();
      if ((await replica.ask('count(*)::int from pg_database where datname = $1', name)) !== 1)
        throw new Error(`the server in ${variable} does not follow the one that the tests use`);
    },
    urlOf: (name) => urlOf(url, name),
    async pause() {
      await replica.ask('pg_wal_replay_pause()');
      await replayBecomes('paused');
    },
    resume,
    caughtUp,
    connectionsTo: (name) => server.connectionsTo(name),
    async close() {
      await Promise.all([server.close(), primary.close(), replica.close()]);
      await stop();
    },
  };
}

/** A connection that is asked for one value at a time. */
async function answersOf(url: string) {
  const client = await connect(url);
  return {
    async ask(expression: string, ...values: string[]): Promise<unknown> {
      const { rows } = await client.query<unknown[]>({
        text: `select ${expression}`,
        values,
        rowMode: 'array',
      });
      return rows[0]?.[0];
    },
    close: () => client.end(),
  };
}
