import { sql } from 'drizzle-orm';
import { drizzle } from 'drizzle-orm/node-postgres';
import { pgTable, varchar } from 'drizzle-orm/pg-core';
import { Pool } from 'pg';
import { drizzleDriver } from '../../lib/src/local/adapters/drizzle.ts';
import { pgDriver } from '../../lib/src/local/adapters/pg.ts';
import { localContract } from './contract.ts';
import { postgresNotes } from './databases.ts';

const note = pgTable('note', { value: varchar({ length: 100 }).primaryKey() });

localContract({
  name: 'Drizzle over pg',
  database: postgresNotes(),
  async open(connectionsMax, url) {
    const pool = new Pool({ connectionString: url, max: connectionsMax });
    pool.on('error', () => {});
    const db = drizzle(pool, { schema: { note } });
    return { driver: drizzleDriver(db, pgDriver), close: () => pool.end() };
  },
  insert: (db, value) => db.insert(note).values({ value }),
  async values(db) {
    const rows = await db.query.note.findMany({ orderBy: note.value });
    return rows.map(({ value }) => value);
  },
  raw: (db, text) => db.execute(sql.raw(text)),
});
