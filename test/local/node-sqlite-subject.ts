import { DatabaseSync } from 'node:sqlite';
import { nodeSqliteDriver } from '../../lib/src/local/adapters/node-sqlite.ts';
import type { SqliteHandle } from '../../lib/src/local/adapters/sqlite.ts';
import { sqliteNotes } from './databases.ts';
import type { Subject } from './subject.ts';

/** Registers the hooks of its database; call it at the top of a file. */
export function nodeSqliteSubject(): Subject<SqliteHandle<DatabaseSync>> {
  return {
    name: 'node:sqlite',
    database: sqliteNotes(),
    async open(_connectionsMax, url) {
      const db = new DatabaseSync(url);
      db.exec('pragma busy_timeout = 0');
      return { driver: nodeSqliteDriver(db), close: () => Promise.resolve(db.close()) };
    },
    insert: (client, value) => client.prepare('insert into note values (?)').run(value),
    values: (client) =>
      client
        .prepare('select value from note order by value')
        .all()
        .map((row) => String(row['value'])),
    raw: (client, sql) => client.exec(sql),
  };
}
