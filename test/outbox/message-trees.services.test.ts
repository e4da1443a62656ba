import { createConnection, createPool, type Pool, type RowDataPacket } from 'mysql2/promise';
import { Client } from 'pg';
import { expect, test } from 'vitest';
import { mysql2Driver, type Mysql2Handle } from '../../lib/src/local/adapters/mysql2.ts';
import { migrateOutbox } from '../../lib/src/outbox/index.ts';
import { mariadbNotes } from '../local/databases.ts';
import { pgSubject } from '../local/pg-subject.ts';
import type { Subject } from '../local/subject.ts';
import { connectionsMax, messagesOfTreesAreThoseThatSurvive } from './message-trees.ts';

const onPostgres = pgSubject();
const onMariadb: Subject<Mysql2Handle<Pool>> = {
  name: 'mysql2',
  database: mariadbNotes(),
  async open(connectionLimit, uri) {
    const pool = createPool({ uri, connectionLimit });
    return { driver: mysql2Driver(pool), close: () => pool.end() };
  },
  insert: (client, value) => client.execute('insert into note values (?)', [value]),
  values: () => expect.fail('not asked for'),
  raw: undefined,
};

const select = 'select payload from settle_outbox order by seq';
const title = 'of 300 random trees of scopes those messages are left whose scopes survive';

test(`${title}, on PostgreSQL`, { timeout: 300_000 }, async () => {
  const opened = await onPostgres.open(connectionsMax, onPostgres.database.url);
  const client = new Client({ connectionString: onPostgres.database.url });
  try {
    await client.connect();
    await migrateOutbox(opened.driver);
    const sent = {
      read: async () => (await client.query<{ payload: string }>(select)).rows.map(({ payload }) => payload),
      clear: async () => void (await client.query('delete from settle_outbox')),
    };
    await messagesOfTreesAreThoseThatSurvive(onPostgres, opened, sent, 300);
  } finally {
    await client.end();
    await opened.close();
  }
});

test(`${title}, on MariaDB`, { timeout: 300_000 }, async () => {
  const opened = await onMariadb.open(connectionsMax, onMariadb.database.url);
  const client = await createConnection({ uri: onMariadb.database.url });
  try {
    await migrateOutbox(opened.driver);
    const sent = {
      async read() {
        const [rows] = await client.query<RowDataPacket[]>(select);
        return rows.map((row) => String(row['payload']));
      },
      clear: async () => void (await client.query('delete from settle_outbox')),
    };
    await messagesOfTreesAreThoseThatSurvive(onMariadb, opened, sent, 300);
  } finally {
    await client.end();
    await opened.close();
  }
});
