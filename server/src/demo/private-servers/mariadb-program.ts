import { join } from 'node:path';
import type { ServerProgram } from './server-program.ts';

export const mariadbProgram: ServerProgram = {
  binaries: ['mariadb-install-db', 'mariadbd'],
  folders: () => ['/usr/sbin'],
  package: 'mariadb-server',
  user: 'mysql',
  // Run before the port is opened: others on this machine can reach it, so nobody is left who needs no password.
  files: (secret) => ({
    'start.sql': [
      `delete from mysql.global_priv where user in ('root', '');`,
      'flush privileges;',
      `create user if not exists settle@'%' identified by '${secret}';`,
      `grant all on *.* to settle@'%';`,
    ].join('\n'),
  }),
  prepare: ({ folder, programs }) => [
    programs['mariadb-install-db'],
    [
      '--no-defaults',
      `--datadir=${join(folder, 'data')}`,
      '--auth-root-authentication-method=normal',
      '--skip-test-db',
    ],
  ],
  serve: ({ folder, programs }, port) => [
    programs['mariadbd'],
    [
      '--no-defaults',
      `--datadir=${join(folder, 'data')}`,
      // Relative to the data: a path of a socket may only be some hundred characters long.
      '--socket=socket',
      `--pid-file=${join(folder, 'mariadbd.pid')}`,
      `--tmpdir=${folder}`,
      `--init-file=${join(folder, 'start.sql')}`,
      '--bind-address=127.0.0.1',
      `--port=${port}`,
      '--skip-name-resolve',
    ],
  ],
  stopSignal: 'SIGKILL',
  url: (port, secret) => `mysql://settle:${secret}@127.0.0.1:${port}`,
};
