/** The statements of the barrier on SQLite. */
import type { BarrierCall } from '../barrier.ts';
import type { BarrierDialect } from '../sql/dialect.ts';
import { failureIn } from '../sql/failure.ts';
import type { SqlResult, SqlValue, Statement } from '../sql/statement.ts';
import type { SqliteConnection, SqliteStatement } from './connection.ts';

// Rows keep the order they came in by their rowid, so that pruning needs no index on created_at.
export const createTable = `
  create table if not exists settle_barrier (
    gid text not null,
    branch text not null,
    op text not null,
    by_op text not null,
    answer text,
    created_at integer not null,
    primary key (gid, branch, op)
  )`;

const select = 'select by_op, answer from settle_barrier where gid = ? and branch = ? and op = ?';

/** The age of rows is by the clock of this process, which is the one that opens the file. */
export function sqliteDialect(now: () => number): BarrierDialect {
  return {
    insert: ({ gid, branch, op, by, answer }) => ({
      sql: `insert into settle_barrier (gid, branch, op, by_op, answer, created_at) values (?, ?, ?, ?, ?, ?)
            on conflict do nothing`,
      values: [gid, branch, op, by, answer ?? null, now()],
    }),
    isPlaced: ({ affected }) => affected === 1,
    select: keyed,
    // There is one writer, and whoever wrote the row to be read here is it.
    selectLocked: keyed,
    updateAnswer: ({ gid, branch, op }, answer) => ({
      sql: 'update settle_barrier set answer = ? where gid = ? and branch = ? and op = ?',
      values: [answer, gid, branch, op],
    }),
    deleteOld: ({ olderThanMs, limit }) => ({
      sql: `delete from settle_barrier where created_at < ?
            and rowid in (select rowid from settle_barrier order by rowid limit ?)`,
      values: [now() - olderThanMs, limit],
    }),
    failureOf: (error) =>
      failureIn(error, (at) => {
        const message = at instanceof Error ? at.message : '';
        if (message.includes('no such table: settle_barrier')) return 'no-table';
        return message.includes('no such savepoint') ? 'ended' : undefined;
      }),
  };
}

function keyed({ gid, branch, op }: BarrierCall): Statement {
  return { sql: select, values: [gid, branch, op] };
}

/** Runs statements on this connection, each prepared once: there are some twenty of them. Answers at once. */
export function preparedQuery(db: SqliteConnection): (sql: string, values: readonly SqlValue[]) => SqlResult {
  const prepared = new Map<string, { readonly statement: SqliteStatement; readonly reads: boolean }>();
  return (sql, values) => {
    let known = prepared.get(sql);
    if (known === undefined) {
      known = { statement: db.prepare(sql), reads: sql.startsWith('select') };
      prepared.set(sql, known);
    }
    if (!known.reads) return { rows: [], affected: Number(known.statement.run(...values).changes) };
    const row = known.statement.get(...values);
    return { rows: row === undefined ? [] : [row], affected: 0 };
  };
}
