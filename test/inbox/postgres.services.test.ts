import { Pool } from 'pg';
import postgres from 'postgres';
import { pgDriver } from '../../lib/src/local/adapters/pg.ts';
import { postgresJsDriver } from '../../lib/src/local/adapters/postgres-js.ts';
import { postgresDatabase } from '../services/postgres.ts';
import { inboxContract } from './contract.ts';

const database = postgresDatabase();
const isolations = ['read-committed', 'repeatable-read', 'serializable'] as const;

inboxContract({
  name: 'pg',
  isolations,
  writesSideBySide: true,
  async open(max) {
    const pool = new Pool({ connectionString: database.url, max });
    return { driver: pgDriver(pool), close: () => pool.end() };
  },
});

inboxContract({
  name: 'postgres.js',
  isolations,
  writesSideBySide: true,
  async open(max) {
    const sql = postgres(database.url, { max, onnotice: () => {} });
    return { driver: postgresJsDriver(sql), close: () => sql.end() };
  },
});
