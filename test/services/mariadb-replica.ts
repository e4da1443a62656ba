import { createConnection, type RowDataPacket } from 'mysql2/promise';
import { inject } from 'vitest';
import { services } from '../../scripts/services/services.mjs';
import { openMariadb, urlOf } from './mariadb.ts';
import {
  catchUpMs,
  type ReplicatedDatabase,
  type ReplicaServer,
  replicatedDatabaseOfThisFile,
  type StartedReplica,
  startReplica,
  turnMs,
} from './replica.ts';

const reader = 'settle_reader';

/** A fresh MariaDB database for this test file, with a replica by GTID; a connection left open fails the file. */
export function mariadbReplica(): ReplicatedDatabase {
  return replicatedDatabaseOfThisFile(
    () => openMariadb(inject('services').mariadb),
    async () => openMariadbReplica(await startReplica('mariadbReplica'), inject('services').mariadb),
  );
}

/** Takes a replica for one file alone: a given one as it is, ours to follow this primary from where that is now. */
export async function openMariadbReplica(
  { url, isGiven, stop }: StartedReplica,
  primaryUrl: string,
): Promise<ReplicaServer> {
  const server = await openMariadb(url);
  const [primary, replica] = await Promise.all([sessionOf(primaryUrl), sessionOf(url)]);
  const begin = await primary.ask('@@global.gtid_binlog_pos');

  async function caughtUp() {
    const written = await primary.ask('@@global.gtid_binlog_pos');
    if ((await replica.ask('master_gtid_wait(?, ?)', written, catchUpMs / 1_000)) === 0) return;
    const [status] = await replica.run('show slave status');
    throw new Error(
      `the replica does not come to ${String(written)}, where its primary is, within ${catchUpMs} ms: ` +
        inWords(status),
    );
  }

  /** The databases of other files are left out: where we begin, they are half there. */
  async function followOnly(name: string) {
    const { hostname, port, username, password } = new URL(primaryUrl);
    await replica.run('set global gtid_slave_pos = ?', begin);
    await replica.run('set global replicate_wild_do_table = ?', `${name.replaceAll('_', '\\_')}.%`);
    await replica.run(
      `change master to master_host = ?, master_port = ?, master_user = ?, master_password = ?,
         master_use_gtid = slave_pos, master_connect_retry = 1`,
      hostname,
      Number(port || 3306),
      decodeURIComponent(username),
      decodeURIComponent(password),
    );
    await replica.run('start slave io_thread');
  }

  async function expectReplica() {
    const { variable } = services.mariadbReplica;
    if ((await replica.run('show slave status')).length === 0)
      throw new Error(`the server in ${variable} follows nobody: SHOW SLAVE STATUS is empty there`);
    if ((await replica.ask('@@global.read_only')) !== 1)
      throw new Error(`the server in ${variable} takes writes: start it with --read-only`);
  }

  /** Unlike root, a user of this database alone cannot write to what is read-only. */
  async function letReaderIn(name: string) {
    // What happens here only is to have no GTID.
    await replica.run('set session sql_log_bin = 0');
    await replica.run(`create or replace user ${reader}`);
    await replica.run(`grant all on ${name}.* to ${reader}`);
  }

  async function resume() {
    await replica.run('start slave sql_thread');
  }

  return {
    async follow(name) {
      if ((await replica.ask("get_lock('settle: the replica', ?)", turnMs / 1_000)) !== 1)
        throw new Error(`another file has kept the given replica for more than ${turnMs} ms`);
      if (isGiven) await expectReplica();
      else await followOnly(name);
      await resume();
      await caughtUp();
      await letReaderIn(name);
    },
    urlOf(name) {
      const own = new URL(urlOf(url, name));
      own.username = reader;
      own.password = '';
      return own.href;
    },
    async pause() {
      await replica.run('stop slave sql_thread');
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

/** Why a replica stands still. */
function inWords(status: RowDataPacket | undefined): string {
  const told = ['Slave_IO_Running', 'Last_IO_Error', 'Slave_SQL_Running', 'Last_SQL_Error', 'Gtid_IO_Pos'];
  return told.map((name) => `${name}: ${String(status?.[name])}`).join(', ');
}

async function sessionOf(url: string) {
  const connection = await createConnection({ uri: url });
  async function run(sql: string, ...values: unknown[]): Promise<RowDataPacket[]> {
    const [rows] = await connection.query<RowDataPacket[]>(sql, values);
    return rows;
  }
  return {
    run,
    async ask(expression: string, ...values: unknown[]): Promise<unknown> {
      const [row] = await run(`select ${expression} as answer`, ...values);
      return row?.answer;
    },
    close: () => connection.end(),
  };
}
