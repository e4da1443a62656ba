// The tables of an outbox, for the contract of relay stores: filled and looked at by SQL of its own.
import type { Driver } from '../../lib/src/local/driver.ts';
import { ownStatements } from '../../lib/src/local/own-statements.ts';
import { migrateOutbox } from '../../lib/src/outbox/schema/index.ts';
import { sqlRelayStore } from '../../lib/src/relay/sql-store/index.ts';
import type { ContractPlace, NewMessage } from '../../lib/src/relay/store-contract.ts';
import type { SqlResult, SqlValue } from '../../lib/src/util/sql.ts';

type Run = (sql: string, values?: readonly SqlValue[]) => Promise<SqlResult>;

/** With nothing in it. Writers and readers are connections of the same driver. */
export async function sqlPlace(driver: Driver<unknown>): Promise<ContractPlace> {
  const own = ownStatements(driver, { label: 'test', migrateWith: 'migrateOutbox()' });
  const run: Run = (sql, values = []) => own.query(sql, values);
  await migrateOutbox(driver);
  for (const table of ['', '_delayed', '_dead', '_relays', '_dedup'])
    await run(`delete from settle_outbox${table}`);
  await run('update settle_outbox_lanes set owner = null, token = 0, lease_until = null');
  return {
    store: sqlRelayStore(driver),
    async write(messages) {
      await own.transaction(async (runIn) => {
        for (const message of messages)
          await insert(own.database, (sql, values = []) => runIn(sql, values), message);
      });
    },
    async begin() {
      const open = await beginOn(driver);
      return {
        async write(messages) {
          for (const message of messages) await insert(own.database, open.run, message);
        },
        commit: () => open.end('commit'),
      };
    },
    async readLong() {
      const open = await beginOn(driver, true);
      await open.run('select count(*) as n from settle_outbox');
      return { end: () => open.end('rollback') };
    },
    async pass(ms) {
      const by = Math.ceil(ms);
      const columns = {
        _lanes: ['lease_until'],
        _relays: ['lease_until'],
        '': ['created_at', 'due_at'],
        _delayed: ['created_at', 'due_at'],
        _dead: ['created_at', 'died_at'],
        _dedup: ['created_at'],
      };
      for (const [table, times] of Object.entries(columns)) {
        const set = times.map((column) => `${column} = ${column} - ${by}`);
        await run(`update settle_outbox${table} set ${set.join(', ')}`);
      }
    },
    async continueFrom(seq) {
      if (own.database === 'postgres') await run(`alter sequence settle_outbox_seq_seq restart with ${seq}`);
      if (own.database === 'mysql') await run(`alter table settle_outbox auto_increment = ${seq}`);
      if (own.database === 'sqlite') {
        await run("delete from sqlite_sequence where name = 'settle_outbox'");
        await run(`insert into sqlite_sequence (name, seq) values ('settle_outbox', ${seq})`);
      }
    },
    setTokens: async (token) => void (await run(`update settle_outbox_lanes set token = ${token}`)),
    dedup: {
      async remember(dedupKeys) {
        for (const key of dedupKeys) {
          const values = parameters(own.database, 2);
          await run(`insert into settle_outbox_dedup (dedup_key, message_id) values (${values})`, [key, 'm']);
        }
      },
      async remembered() {
        const { rows } = await run('select dedup_key as name from settle_outbox_dedup order by 1');
        return rows.map((row) => String((row as { name: unknown }).name));
      },
    },
    makeNewer: async () => void (await run("update settle_schema set version = 99 where name = 'outbox'")),
    async dropTables() {
      for (const table of ['', '_delayed', '_dead', '_lanes', '_relays', '_dedup']) {
        await run(`drop table settle_outbox${table}`);
      }
      await run('drop table settle_schema');
    },
    // The next one finds tables of a version it knows.
    dispose: () => run("update settle_schema set version = 1 where name = 'outbox'").catch(() => {}),
  };
}

async function insert(
  database: 'postgres' | 'mysql' | 'sqlite',
  run: Run,
  { lane, id, type, version, target, address, key, payload, headers, delayMs }: NewMessage,
): Promise<void> {
  const columns = 'lane, id, target, aggregatetype, aggregateid, type, version, payload, headers';
  const values = [lane, id, target, address, key ?? null, type, version, payload, JSON.stringify(headers)];
  if (delayMs === undefined) {
    await run(`insert into settle_outbox (${columns}) values (${parameters(database, 9)})`, values);
    return;
  }
  const now = {
    postgres: '(extract(epoch from clock_timestamp()) * 1000)::bigint',
    mysql: "timestampdiff(microsecond, '1970-01-01', utc_timestamp(3)) div 1000",
    sqlite: "cast(unixepoch('subsec') * 1000 as integer)",
  }[database];
  await run(
    `insert into settle_outbox_delayed (${columns}, due_at) values (${parameters(database, 9)}, ${now} + ${delayMs})`,
    values,
  );
}

function parameters(database: 'postgres' | 'mysql' | 'sqlite', count: number): string {
  return Array.from({ length: count }, (_, n) => (database === 'postgres' ? `$${n + 1}` : '?')).join(', ');
}

/** Of the isolation that sees one moment: it holds back what the database would like to remove. */
async function beginOn(driver: Driver<unknown>, isSnapshot = false) {
  const connection = await driver.acquire({ readOnly: false });
  const isolation = isSnapshot ? 'repeatable-read' : undefined;
  for (const sql of driver.dialect.begin({ isolation, readOnly: false, serverTimeoutMs: undefined })) {
    await connection.execute(sql);
  }
  const run: Run = async (sql, values = []) => {
    if (connection.query === undefined) throw new Error('this driver runs no statements with values');
    return await connection.query(sql, values);
  };
  return {
    run,
    async end(how: 'commit' | 'rollback') {
      await connection.execute(how);
      await connection.release('reuse');
    },
  };
}
