import { DatabaseSync } from 'node:sqlite';
import Sqlite from 'better-sqlite3';
import { describe, it } from 'vitest';
import { barrierContract } from '../contract.ts';
import type { SqliteConnection, SqliteStatement, SqliteValue } from './connection.ts';
import { sqliteBarrier } from './sqlite-barrier.ts';

interface Database extends SqliteConnection {
  prepare(sql: string): SqliteStatement & { all(...values: SqliteValue[]): unknown[] };
  close(): unknown;
}

const drivers: Record<string, () => Database> = {
  'node:sqlite': () => new DatabaseSync(':memory:'),
  'better-sqlite3': () => new Sqlite(':memory:'),
};

for (const [name, open] of Object.entries(drivers)) {
  barrierContract({ describe, it }, name, async () => {
    const db = open();
    let nowMs = 1_000_000;
    db.exec('create table business (line text)');
    const guard = sqliteBarrier(db, { now: () => nowMs });
    guard.migrate();
    return {
      guard,
      write: (client, line) => client.prepare('insert into business values (?)').run(line),
      written: async () => {
        const rows = db.prepare('select line from business order by rowid').all() as { line: string }[];
        return rows.map(({ line }) => line);
      },
      commit: (client) => client.exec('commit'),
      age: (ms) => void (nowMs += ms),
      dropTables: () => db.exec('drop table settle_barrier'),
      dispose: () => db.close(),
    };
  });
}
