/** The one row of `settle_meta`: the highest time used (D5), and how many transactions there are. */
import type { DatabaseSync } from 'node:sqlite';
import { crashPoint } from '../../util/crash-point.ts';

export interface Meta {
  readonly usedMs: number;
  readonly rowCount: number;
}

export function readMeta(db: DatabaseSync): Meta {
  const row = db.prepare('select now_ms, row_count from settle_meta where id = 1').get();
  return { usedMs: Number(row?.['now_ms'] ?? 0), rowCount: Number(row?.['row_count'] ?? 0) };
}

/** Goes into every transaction that changes something. */
export function prepareTouch(db: DatabaseSync): (nowMs: number, rowsAdded: number) => void {
  const touch = db.prepare('update settle_meta set now_ms = ?, row_count = row_count + ? where id = 1');
  return (nowMs, rowsAdded) => {
    crashPoint('sqlite.touch', 'before');
    touch.run(nowMs, rowsAdded);
    crashPoint('sqlite.touch', 'after');
  };
}

/** Runs the work in one transaction: all of it or, when anything throws, nothing. */
export function prepareTransaction(db: DatabaseSync): <T>(work: () => T) => T {
  const begin = db.prepare('begin immediate');
  const commit = db.prepare('commit');
  const rollback = db.prepare('rollback');
  return (work) => {
    crashPoint('sqlite.begin', 'before');
    begin.run();
    crashPoint('sqlite.begin', 'after');
    try {
      const result = work();
      crashPoint('sqlite.commit', 'before');
      commit.run();
      crashPoint('sqlite.commit', 'after');
      return result;
    } catch (error) {
      try {
        rollback.run();
      } catch {
        // A full disk has SQLite roll back by itself; the first error is the one that tells.
      }
      throw error;
    }
  };
}
