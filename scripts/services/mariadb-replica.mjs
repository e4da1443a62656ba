import { mariadb } from './mariadb.mjs';

/**
 * A server that is ready to follow another, and does not do so yet: where to begin, and which databases to follow, is said
 * by whoever needs it (test/services/mariadb-replica.ts).
 * @type {import('./services.mjs').Service}
 */
export const mariadbReplica = {
  ...mariadb,
  name: 'A replica of MariaDB',
  variable: 'SETTLE_TEST_MARIADB_REPLICA',
  exampleUrl: 'mysql://root:secret@127.0.0.1:3307',
  serve(at) {
    const [program, args] = mariadb.serve(at);
    return [
      program,
      [
        ...args,
        // A primary ends its connection to a replica when another of the same number asks.
        `--server-id=${at.port}`,
        '--read-only',
        // Nobody follows it.
        '--skip-log-bin',
        // Another file's transaction may have been prepared before we began to follow, and end after it: XAER_NOTA.
        '--slave-skip-errors=1397',
      ],
    ];
  },
  image: undefined,
  whyNoImage: 'makes no replicas for us',
};
