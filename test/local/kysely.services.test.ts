import { Kysely, PostgresDialect, sql } from 'kysely';
import { Pool } from 'pg';
import { kyselyDriver } from '../../lib/src/local/adapters/kysely.ts';
import { pgDriver } from '../../lib/src/local/adapters/pg.ts';
import { localContract } from './contract.ts';
import { postgresNotes } from './databases.ts';

interface Database {
  readonly note: { readonly value: string };
}

localContract({
  name: 'Kysely over pg',
  database: postgresNotes(),
  open(connectionsMax, url) {
    const pool = new Pool({ connectionString: url, max: connectionsMax });
    pool.on('error', () => {});
    const db = new Kysely<Database>({ dialect: new PostgresDialect({ pool }) });
    return Promise.resolve({ driver: kyselyDriver(db, pgDriver(pool)), close: () => pool.end() });
  },
  insert: (db, value) => db.insertInto('note').values({ value }).execute(),
  async values(db) {
    const rows = await db.selectFrom('note').select('value').orderBy('value').execute();
    return rows.map(({ value }) => value);
  },
  raw: (db, text) => sql.raw(text).execute(db),
});
