/** DBOS: a library on PostgreSQL. The workflow and its steps run in the caller's own process. */
import { measureIn } from '../../harness/child.ts';
import type { Measured } from '../../harness/load.ts';
import { findPostgres, type Postgres } from '../../harness/postgres.ts';
import { install } from '../../harness/install.ts';
import type { Peer, PeerLoad } from './peer.ts';

const version = '5.3.0';
/** Connections of its pool: 20 gave the most of 10 (its default), 20, 50 and 100: see ../../README.md. */
const poolSize = 20;

export async function openDbos(): Promise<Peer> {
  const postgres = await findPostgres();
  const packages = await install({ '@dbos-inc/dbos-sdk': version });
  return {
    name: 'dbos',
    about: `SDK ${version} (workflow and steps in the caller's process, pool of ${poolSize}) on ${postgres.about}`,
    measure: (load) => measure(postgres, packages, load),
  };
}

async function measure(postgres: Postgres, packages: string, load: PeerLoad): Promise<Measured> {
  const database = await postgres.start();
  try {
    return await measureIn(new URL('dbos-client.ts', import.meta.url), [
      database.url,
      packages,
      load.participants,
      poolSize,
      load.inFlight,
      load.durationMs,
      load.warmUpMs,
    ]);
  } finally {
    await database.stop();
  }
}
