import { DatabaseSync } from 'node:sqlite';
import { nodeSqliteDriver } from '../../lib/src/local/adapters/node-sqlite.ts';
import type { SqliteHandle } from '../../lib/src/local/adapters/sqlite.ts';
import { localContract } from './contract.ts';
import { sqliteNotes } from './databases.ts';
import { scopeTreesLeaveWhatTheModelSays } from './scope-trees.ts';
import type { Subject } from './subject.ts';

const subject: Subject<SqliteHandle<DatabaseSync>> = {
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

localContract(subject);
scopeTreesLeaveWhatTheModelSays(subject, 10_000);
