/** Conditional writes (D4): each statement carries its condition; what it did not change is what it refused. */
import type { DatabaseSync } from 'node:sqlite';
import { assert } from '../../util/assert.ts';
import { crashPoint } from '../../util/crash-point.ts';
import { type Cell, insertCells, insertTag, type Outcomes, updateCells, updateTag } from './messages.ts';

export interface Applied {
  readonly outcomes: Outcomes;
  readonly inserted: number;
}

/** Runs inside a transaction of the caller's. */
export function prepareWrites(db: DatabaseSync): (cells: readonly Cell[], nowMs: number) => Applied {
  const insert = db.prepare(`
    insert into settle_transaction
      (id, updated_at, gid, pattern, name, status, stuck, epoch, created_at, due_at, plan, progress, revision)
    values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 1)
    on conflict (gid) do nothing
  `);
  const update = db.prepare(`
    update settle_transaction
    set updated_at = ?, status = ?, stuck = ?, progress = ?, due_at = ?, epoch = ?, revision = revision + 1
    where gid = ? and revision = ? and epoch = ?
  `);
  // Ids are given out here, not by SQLite, which would give out again the ids of rows that were pruned: a cursor that
  // points there would then meet newer rows.
  let lastId = Number(db.prepare('select max(id) as id from settle_transaction').get()?.['id'] ?? 0);

  return (cells, nowMs) => {
    let letters = '';
    let refused = 0;
    let inserted = 0;
    for (let at = 0; at < cells.length;) {
      if (cells[at] === insertTag) {
        crashPoint('sqlite.insert', 'before');
        const done = insert.run(lastId + 1, nowMs, ...cells.slice(at + 1, at + insertCells)).changes === 1;
        crashPoint('sqlite.insert', 'after');
        if (done) {
          lastId++;
          inserted++;
          letters += 'w';
        } else {
          refused++;
          letters += 'e';
        }
        at += insertCells;
      } else {
        assert(cells[at] === updateTag, 'a write is an insert or an update');
        crashPoint('sqlite.update', 'before');
        const done = update.run(nowMs, ...cells.slice(at + 1, at + updateCells)).changes === 1;
        crashPoint('sqlite.update', 'after');
        if (!done) refused++;
        letters += done ? 'w' : 'l';
        at += updateCells;
      }
    }
    return { outcomes: refused === 0 ? null : letters, inserted };
  };
}
