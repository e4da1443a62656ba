import { Pool } from 'pg';
import { pgDriver, type PgHandle } from '../../lib/src/local/adapters/pg.ts';
import { localContract } from './contract.ts';
import { postgresNotes } from './databases.ts';
import { scopeTreesLeaveWhatTheModelSays } from './scope-trees.ts';
import type { Subject } from './subject.ts';

const subject: Subject<PgHandle<Pool>> = {
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

localContract(subject);
scopeTreesLeaveWhatTheModelSays(subject, 1_000);
