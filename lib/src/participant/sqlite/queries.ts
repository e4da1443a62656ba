/** The statements of the barrier on SQLite. Each is prepared once per connection. */
import type { BarrierCall, BarrierRow } from '../barrier.ts';
import { ops } from '../../wire/headers.ts';
import { isJsonObject } from '../../util/json.ts';
import { SettleError } from '../../util/errors.ts';
import type { SqliteConnection } from './connection.ts';

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

export interface BarrierQueries {
  begin(): void;
  commit(): void;
  rollback(): void;
  savepoint(name: SavepointName): void;
  rollbackTo(name: SavepointName): void;
  release(name: SavepointName): void;
  /** Whether the row was inserted; false when one was there. */
  insert(row: BarrierRow, createdAtMs: number): boolean;
  select(key: BarrierCall): BarrierRow | undefined;
  updateAnswer(key: BarrierCall, answer: string): void;
  deleteOldest(createdBeforeMs: number, limit: number): number;
}

export type SavepointName = 'settle_call' | 'settle_work';

/** Throws what the driver throws; without the table, at once. */
export function prepareQueries(db: SqliteConnection): BarrierQueries {
  const begin = db.prepare('begin immediate');
  const commit = db.prepare('commit');
  const savepoints = {
    settle_call: prepareSavepoint(db, 'settle_call'),
    settle_work: prepareSavepoint(db, 'settle_work'),
  };
  const insert = db.prepare(
    `insert into settle_barrier (gid, branch, op, by_op, answer, created_at) values (?, ?, ?, ?, ?, ?)
     on conflict do nothing`,
  );
  const select = db.prepare(
    'select by_op as "by", answer from settle_barrier where gid = ? and branch = ? and op = ?',
  );
  const update = db.prepare('update settle_barrier set answer = ? where gid = ? and branch = ? and op = ?');
  const remove = db.prepare(
    `delete from settle_barrier where created_at < ?
     and rowid in (select rowid from settle_barrier order by rowid limit ?)`,
  );
  return {
    begin: () => void begin.run(),
    commit: () => void commit.run(),
    rollback: () => void db.exec('rollback'),
    savepoint: (name) => void savepoints[name].set.run(),
    rollbackTo: (name) => void savepoints[name].rollback.run(),
    release: (name) => void savepoints[name].release.run(),
    insert: ({ gid, branch, op, by, answer }, createdAtMs) =>
      Number(insert.run(gid, branch, op, by, answer ?? null, createdAtMs).changes) === 1,
    select: (key) => rowOf(key, select.get(key.gid, key.branch, key.op)),
    updateAnswer: ({ gid, branch, op }, answer) => void update.run(answer, gid, branch, op),
    deleteOldest: (createdBeforeMs, limit) => Number(remove.run(createdBeforeMs, limit).changes),
  };
}

function prepareSavepoint(db: SqliteConnection, name: SavepointName) {
  return {
    set: db.prepare(`savepoint ${name}`),
    rollback: db.prepare(`rollback to ${name}`),
    release: db.prepare(`release ${name}`),
  };
}

function rowOf({ gid, branch, op }: BarrierCall, row: unknown): BarrierRow | undefined {
  if (row === undefined) return undefined;
  if (isJsonObject(row)) {
    const { by: byText, answer } = row;
    const by = ops.find((known) => known === byText);
    if (by !== undefined && (answer === null || typeof answer === 'string')) {
      return { gid, branch, op, by, answer: answer ?? undefined };
    }
  }
  throw new SettleError(
    'barrier_conflict',
    `the row of ${gid} ${branch} ${op} cannot be read by this version`,
    {
      gid,
      next: 'Look for what else writes to the table settle_barrier',
    },
  );
}
