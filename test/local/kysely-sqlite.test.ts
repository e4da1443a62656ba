import BetterSqlite from 'better-sqlite3';
import { Kysely, sql, SqliteDialect } from 'kysely';
import { betterSqliteDriver } from '../../lib/src/local/adapters/better-sqlite3.ts';
import { kyselyDriver } from '../../lib/src/local/adapters/kysely.ts';
import { localContract } from './contract.ts';
import { sqliteNotes } from './databases.ts';

interface Database {
  readonly note: { readonly value: string };
}

localContract({
  name: 'Kysely over better-sqlite3',
  database: sqliteNotes((path) => new BetterSqlite(path)),
  open(_, url) {
    const database = new BetterSqlite(url, { timeout: 0 });
    const db = new Kysely<Database>({ dialect: new SqliteDialect({ database }) });
    return Promise.resolve({
      driver: kyselyDriver(db, betterSqliteDriver(database)),
      close: () => Promise.resolve(void database.close()),
    });
  },
  insert: (db, value) => db.insertInto('note').values({ value }).execute(),
  async values(db) {
    const rows = await db.selectFrom('note').select('value').orderBy('value').execute();
    return rows.map(({ value }) => value);
  },
  raw: (db, text) => sql.raw(text).execute(db),
});
