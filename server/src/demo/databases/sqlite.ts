/** A service's database in a SQLite file, in this process. */
import { DatabaseSync, type StatementSync } from 'node:sqlite';
import { sqliteBarrier } from 'settle/participant/sqlite';
import { throughQuery, type ServiceDatabase, type SqlQuery } from './service-database.ts';
import type { ColumnTypes } from './tables.ts';

/** Tables are strict: a column holds what it says, or the insert fails. */
export const sqliteTypes: ColumnTypes = {
  counter: 'integer primary key autoincrement',
  integer: 'integer',
  text: 'text',
  table: 'strict',
};

export function openSqlite(file: string): ServiceDatabase {
  const db = new DatabaseSync(file);
  db.exec('pragma journal_mode = wal; pragma synchronous = full; pragma busy_timeout = 5000');
  const query = queryOf(db);
  const barrier = sqliteBarrier(db);
  return {
    barrier: throughQuery(barrier, () => query),
    migrate: async () => barrier.migrate(),
    query,
    types: sqliteTypes,
    close: async () => db.close(),
  };
}

/** Prepares each statement once, and answers at once. */
function queryOf(db: DatabaseSync): SqlQuery {
  const prepared = new Map<string, StatementSync>();
  return (sql, values) => {
    const statement = prepared.get(sql) ?? db.prepare(sql);
    prepared.set(sql, statement);
    if (!/^select|\breturning\b/.test(sql)) {
      return { rows: [], affected: Number(statement.run(...values).changes) };
    }
    const rows = statement.all(...values);
    return { rows, affected: rows.length };
  };
}
