import { join } from 'node:path';
import { debianPostgresFolders } from './programs.ts';
import type { ServerProgram } from './server-program.ts';

export const postgresProgram: ServerProgram = {
  binaries: ['initdb', 'postgres'],
  folders: debianPostgresFolders,
  package: 'postgresql',
  user: 'postgres',
  files: (secret) => ({ password: secret }),
  // Others on this machine can reach the port, and a superuser of PostgreSQL may run programs: only with the password.
  prepare: ({ folder, programs }) => [
    programs['initdb'],
    [
      `--pgdata=${join(folder, 'data')}`,
      '--username=postgres',
      '--auth=scram-sha-256',
      `--pwfile=${join(folder, 'password')}`,
      '--encoding=UTF8',
      '--no-locale',
      '--no-sync',
    ],
  ],
  serve: ({ folder, programs }, port) => [
    programs['postgres'],
    [`-D${join(folder, 'data')}`, `-p${port}`, '--listen_addresses=127.0.0.1', '--unix_socket_directories='],
  ],
  // An immediate shutdown: it waits for no client, and unlike a kill it gives its shared memory back.
  stopSignal: 'SIGQUIT',
  // Whatever the user asks of pg by its variables is not meant for this server.
  url: (port, secret) => `postgres://postgres:${secret}@127.0.0.1:${port}/postgres?sslmode=disable`,
};
