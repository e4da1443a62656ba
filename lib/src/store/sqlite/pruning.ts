/**
 * Deletes finished transactions in bounded pieces.
 *
 * Two walks by id, each with a cursor in memory: one from the oldest row, for those beyond `keepMax`; one through all
 * rows again and again, for those beyond their age. "Oldest" is by creation. Rows that are deleted leave pages that
 * the next inserts fill, so the file stays as large as it once was.
 */
import type { DatabaseSync } from 'node:sqlite';
import type { PrunePolicy } from '../../engine/ports.ts';
import { crashPoint } from '../../util/crash-point.ts';
import { pruneScanMax } from './limits.ts';
import { readMeta } from './meta.ts';

/** Runs inside a transaction of the caller's; gives back how many rows it deleted. */
export function preparePrune(db: DatabaseSync): (policy: PrunePolicy) => number {
  const scan = db.prepare(`
    select id, updated_at, due_at is null as finished from settle_transaction where id > ? order by id limit ?
  `);
  const remove = db.prepare('delete from settle_transaction where id = ?');
  const unfinished = db.prepare(
    'select count(*) as found from settle_transaction indexed by settle_transaction_due where due_at is not null',
  );
  /** Up to here no finished row is left. */
  let oldestAfter = 0;
  let ageAfter = 0;

  function removeBeyondCount(excess: number): number {
    let removed = 0;
    for (const row of scan.all(oldestAfter, pruneScanMax)) {
      if (removed === excess) break;
      oldestAfter = Number(row['id']);
      if (row['finished'] === 1) {
        crashPoint('sqlite.prune', 'before');
        remove.run(row['id'] ?? null);
        removed++;
        crashPoint('sqlite.prune', 'after');
      }
    }
    return removed;
  }

  function removeBeyondAge(finishedBeforeMs: number, limit: number): number {
    let removed = 0;
    let walked = 0;
    for (const row of scan.all(ageAfter, pruneScanMax)) {
      if (removed === limit) return removed;
      walked++;
      ageAfter = Number(row['id']);
      if (row['finished'] !== 1 || Number(row['updated_at']) >= finishedBeforeMs) continue;
      remove.run(row['id'] ?? null);
      removed++;
    }
    if (walked < pruneScanMax) {
      // Once round: what was unfinished when it was passed may have finished since.
      ageAfter = 0;
      oldestAfter = 0;
    }
    return removed;
  }

  return ({ finishedBeforeMs, keepMax, limit }) => {
    const finished = readMeta(db).rowCount - Number(unfinished.get()?.['found']);
    const excess = Math.min(limit, Math.max(0, finished - keepMax));
    const removed = excess === 0 ? 0 : removeBeyondCount(excess);
    return removed + (removed === limit ? 0 : removeBeyondAge(finishedBeforeMs, limit - removed));
  };
}
