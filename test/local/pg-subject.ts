import { Pool } from 'pg';
import { pgDriver, type PgHandle } from '../../lib/src/local/adapters/pg.ts';
import { postgresNotes } from './databases.ts';
import type { Subject } from './subject.ts';

/** Registers the hooks of its database; call it at the top of a file. */
export function pgSubject(): Subject<PgHandle<Pool>> {
  return {
    name: 'pg',
    database: postgresNotes(),
    async open(connectionsMax, url) {
      const pool = new Pool({ connectionString: url, max: connectionsMax });
      // An idle connection that breaks is the pool's affair.
      pool.on('error', () => {});
      return { driver: pgDriver(pool), close: () => pool.end() };
    },
    insert: (client, value) => client.query('insert into note values ($1)', [value]),
    async values(client) {
      const { rows } = await client.query<{ value: string }>('select value from note order by value');
      return rows.map(({ value }) => value);
    },
    raw: (client, sql) => client.query(sql),
  };
}
