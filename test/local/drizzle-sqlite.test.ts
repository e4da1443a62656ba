import Database from 'better-sqlite3';
import { sql } from 'drizzle-orm';
import { drizzle } from 'drizzle-orm/better-sqlite3';
import { sqliteTable, text } from 'drizzle-orm/sqlite-core';
import { betterSqliteDriver } from '../../lib/src/local/adapters/better-sqlite3.ts';
import { drizzleDriver } from '../../lib/src/local/adapters/drizzle.ts';
import { localContract } from './contract.ts';
import { sqliteNotes } from './databases.ts';

const note = sqliteTable('note', { value: text().primaryKey() });

localContract({
  name: 'Drizzle over better-sqlite3',
  database: sqliteNotes((path) => new Database(path)),
  open(_, url) {
    const client = new Database(url, { timeout: 0 });
    const db = drizzle(client, { schema: { note } });
    return Promise.resolve({
      driver: drizzleDriver(db, betterSqliteDriver),
      close: () => Promise.resolve(void client.close()),
    });
  },
  insert: (db, value) => db.insert(note).values({ value }).run(),
  values: (db) =>
    db
      .select()
      .from(note)
      .orderBy(note.value)
      .all()
      .map(({ value }) => value),
  raw: (db, text) => db.run(sql.raw(text)),
});
