import { join } from 'node:path';
import { createConnection } from 'mysql2/promise';
import { mariadbProgram } from '../../server/src/demo/private-servers/mariadb-program.ts';

const settings = [
  '--skip-name-resolve',
  // Each test file has pools of its own, and many run at once where there are many processors.
  '--max-connections=1000',
  '--server-id=1',
  '--log-bin',
  // What a reader of the binlog needs: whole rows and the names of their columns.
  '--binlog-format=ROW',
  '--binlog-row-image=FULL',
  '--binlog-row-metadata=FULL',
  // The data is thrown away: it has to outlive a killed process, not a power cut.
  '--innodb-flush-log-at-trx-commit=2',
  '--sync-binlog=0',
  // Only the performance schema knows the last query of a connection that is idle now.
  '--performance-schema=ON',
  '--performance-schema-instrument=statement/%=ON',
  '--performance-schema-consumer-events-statements-current=ON',
];

/** @type {import('./services.mjs').Service} */
export const mariadb = {
  name: 'MariaDB',
  variable: 'SETTLE_TEST_MARIADB',
  exampleUrl: 'mysql://root:secret@127.0.0.1:3306',
  binaries: mariadbProgram.binaries,
  folders: mariadbProgram.folders,
  packages: ['mariadb-server'],
  user: mariadbProgram.user,
  prepare: mariadbProgram.prepare,
  serve: ({ folder, programs, port }) => [
    programs.mariadbd,
    [
      '--no-defaults',
      `--datadir=${join(folder, 'data')}`,
      `--socket=${join(folder, 'socket')}`,
      `--pid-file=${join(folder, 'mariadbd.pid')}`,
      `--tmpdir=${folder}`,
      '--bind-address=127.0.0.1',
      `--port=${port}`,
      ...settings,
    ],
  ],
  stopSignal: 'SIGKILL',
  image: {
    name: 'mariadb:11',
    port: 3306,
    options: () => ['-e', 'MARIADB_ALLOW_EMPTY_ROOT_PASSWORD=1'],
    args: settings,
  },
  url: (port) => `mysql://root@127.0.0.1:${port}`,
  async probe(url) {
    const connection = await createConnection({ uri: url, connectTimeout: 5_000 });
    try {
      await connection.query('select 1');
    } finally {
      await connection.end();
    }
  },
};
