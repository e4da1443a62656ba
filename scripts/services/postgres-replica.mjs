import { join } from 'node:path';
import { postgres } from './postgres.mjs';

/**
 * A streaming replica: a copy of the whole primary, made while that is at work, which then follows its log.
 * It leaves nothing behind on the primary: no slot, so that one which is gone keeps no log there.
 * @type {import('./services.mjs').Service}
 */
export const postgresReplica = {
  ...postgres,
  name: 'A streaming replica of PostgreSQL',
  variable: 'SETTLE_TEST_POSTGRES_REPLICA',
  primary: postgres.variable,
  exampleUrl: 'postgres://postgres:secret@127.0.0.1:5433/postgres',
  binaries: ['pg_basebackup', 'postgres'],
  prepare: ({ folder, programs, primary }) => [
    programs.pg_basebackup,
    [
      `--dbname=${primary}`,
      `--pgdata=${join(folder, 'data')}`,
      // Says in the copy whom to follow.
      '--write-recovery-conf',
      '--wal-method=stream',
      // Not at the primary's next checkpoint, which may be minutes away.
      '--checkpoint=fast',
      '--no-manifest',
      '--no-sync',
    ],
  ],
  serve(at) {
    const [program, args] = postgres.serve(at);
    // By default one that was refused asks again only after five seconds.
    return [program, [...args, '-c', 'wal_retrieve_retry_interval=100ms']];
  },
  image: undefined,
  whyNoImage: 'makes no replicas for us',
};
