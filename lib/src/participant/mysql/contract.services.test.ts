import { createPool as createMariadbPool, type Pool as MariadbPool } from 'mariadb';
import { createPool, type Pool, type RowDataPacket } from 'mysql2/promise';
import { afterAll, beforeAll, describe, it } from 'vitest';
import { comeOutInSomeOrder, endAsTold } from '../../../../test/barrier/calls-at-once.ts';
import type { ModelCall, Undoing } from '../../../../test/barrier/model.ts';
import { mariadbDatabase } from '../../../../test/services/mariadb.ts';
import type { Op } from '../../core/outcome.ts';
import type { BarrierCall } from '../barrier.ts';
import { barrierContract } from '../contract.ts';
import { mysqlBarrier, type Isolation, type MysqlPool, type MysqlPoolConnection } from './index.ts';
import type { SqlBarrierOptions } from '../sql/pooled-barrier.ts';

const database = mariadbDatabase();
let pool: Pool;
let byMariadb: MariadbPool;

beforeAll(async () => {
  pool = createPool({ uri: database.url, connectionLimit: 32 });
  const { hostname: host, port, username: user, password } = new URL(database.url);
  byMariadb = createMariadbPool({
    host,
    port: Number(port),
    user,
    password,
    database: database.name,
    connectionLimit: 16,
    minimumIdle: 1,
  });
  await pool.query(
    'create table business (id bigint auto_increment primary key, line varchar(200) not null) engine = InnoDB',
  );
});

afterAll(() => Promise.all([pool.end(), byMariadb.end()]));

/** A barrier with nothing in it. */
async function open<Connection extends MysqlPoolConnection>(
  over: MysqlPool<Connection>,
  options: SqlBarrierOptions,
) {
  const guard = mysqlBarrier(over, options);
  await guard.migrate();
  for (const table of ['settle_barrier', 'business']) await pool.query(`delete from ${table}`);
  return guard;
}

const insertLine = 'insert into business (line) values (?)';

function contract<Connection extends MysqlPoolConnection>(
  name: string,
  poolOfThem: () => MysqlPool<Connection>,
  options: SqlBarrierOptions,
): void {
  barrierContract({ describe, it }, name, async () => ({
    guard: await open(poolOfThem(), options),
    write: (client, line) => client.execute(insertLine, [line]),
    async written() {
      const [rows] = await pool.query<(RowDataPacket & { line: string })[]>(
        'select line from business order by id',
      );
      return rows.map(({ line }) => line);
    },
    commit: (client) => client.query('commit'),
    age: (ms) => pool.query('update settle_barrier set created_at = created_at - ?', [ms]),
    dropTables: () => pool.query('drop table settle_barrier, settle_barrier_lock'),
  }));
}

// Once, since nothing deadlocks that would have to be tried again.
const attemptsMax = 1;

contract('MariaDB by the package mariadb', () => byMariadb, { attemptsMax });

describe.each<Isolation>(['read-committed', 'repeatable-read', 'serializable'])('at %s', (isolation) => {
  contract('MariaDB by mysql2', () => pool, { isolation, attemptsMax });

  it.each<Undoing>(['compensate', 'cancel'])(
    'calls at the same time come out as some order of them would: %s',
    async (undo) => {
      const guard = await open(pool, { isolation, attemptsMax });
      const world = {
        begin: (call: BarrierCall) => guard.begin(call),
        run: (call: BarrierCall, work: ModelCall['work']) =>
          guard.run(call, async (client, { branch, op }) => {
            await client.execute(insertLine, [`${branch} ${op}`]);
            endAsTold(work);
          }),
        async effects(branch: string) {
          const [rows] = await pool.query<(RowDataPacket & { op: Op })[]>(
            `select substring_index(line, ' ', -1) as op from business where line like ? order by id`,
            [`${branch} %`],
          );
          return rows.map(({ op }) => op);
        },
      };
      await comeOutInSomeOrder(undo, world, { numRuns: 10 });
    },
  );
});
