import { join } from 'node:path';
import { Client } from 'pg';
import { debianPostgresFolders } from '../../server/src/demo/private-servers/programs.ts';

const settings = {
  listen_addresses: '127.0.0.1',
  // Two-phase commit is what we are about, and it is off by default.
  max_prepared_transactions: '100',
  wal_level: 'logical',
  max_replication_slots: '10',
  // Each replica takes one, and two while it is made.
  max_wal_senders: '20',
  // What is written between the copy for a replica and its first question is not yet thrown away.
  wal_keep_size: '256MB',
  // Each test file has pools of its own, and many run at once where there are many processors.
  max_connections: '1000',
  // The data is thrown away: it has to outlive a killed process, not a power cut.
  fsync: 'off',
};

/** @type {import('./services.mjs').Service} */
export const postgres = {
  name: 'PostgreSQL',
  variable: 'SETTLE_TEST_POSTGRES',
  exampleUrl: 'postgres://postgres:secret@127.0.0.1:5432/postgres',
  binaries: ['initdb', 'postgres'],
  folders: debianPostgresFolders,
  packages: ['postgresql'],
  user: 'postgres',
  // Without a locale of its own the template would take its encoding from the machine.
  prepare: ({ folder, programs }) => [
    programs.initdb,
    ['-D', join(folder, 'data'), '-A', 'trust', '-U', 'postgres', '-E', 'UTF8', '--no-locale', '--no-sync'],
  ],
  serve: ({ folder, programs, port }) => [
    programs.postgres,
    [
      '-D',
      join(folder, 'data'),
      '-p',
      String(port),
      ...options({ ...settings, unix_socket_directories: folder }),
    ],
  ],
  // An immediate shutdown: it waits for no client, and unlike a kill it gives its shared memory back.
  stopSignal: 'SIGQUIT',
  image: {
    name: 'postgres:17',
    port: 5432,
    options: () => ['-e', 'POSTGRES_HOST_AUTH_METHOD=trust'],
    args: options({ ...settings, listen_addresses: '*' }),
  },
  url: (port) => `postgres://postgres@127.0.0.1:${port}/postgres`,
  async probe(url) {
    const client = new Client({ connectionString: url, connectionTimeoutMillis: 5_000 });
    // A connection that breaks outside of a query would otherwise end the process.
    client.on('error', () => {});
    await client.connect();
    try {
      await client.query('select 1');
    } finally {
      await client.end();
    }
  },
};

function options(values) {
  return Object.entries(values).flatMap(([name, value]) => ['-c', `${name}=${value}`]);
}
