/**
 * What is checked of the pages when a file is opened.
 *
 * A file up to `verifyWholeBytesMax` is checked whole (`PRAGMA quick_check`). Of a larger one that would take seconds
 * to minutes, so by default only what the next hours need is read: schema and meta, every unfinished row and the
 * newest rows, up to `verifyRowsMax` of each. Damage elsewhere shows as `store_corrupt` when it is met. SQLite keeps no
 * checksums of pages: a changed byte inside a text is not noticed by any of this.
 */
import type { DatabaseSync } from 'node:sqlite';
import { statSync } from 'node:fs';
import { verifyRowsMax, verifyWholeBytesMax } from './limits.ts';
import { corrupt } from './sqlite-errors.ts';

export type VerifyMode = 'bounded' | 'whole';

/** Throws `store_corrupt`, or SQLite's own error when it cannot even read. */
export function verify(db: DatabaseSync, path: string, mode: VerifyMode): void {
  if (mode === 'whole' || statSync(path).size <= verifyWholeBytesMax) verifyWhole(db, path);
  else verifyLiving(db, path);
}

function verifyWhole(db: DatabaseSync, path: string): void {
  const [first] = db.prepare('pragma quick_check(1)').all();
  const verdict = String(first?.['quick_check'] ?? first?.['integrity_check'] ?? 'no verdict');
  if (verdict !== 'ok') throw corrupt(path, verdict.replaceAll('\n', ' '));
}

function verifyLiving(db: DatabaseSync, path: string): void {
  const meta = db.prepare('select now_ms, row_count from settle_meta where id = 1').get();
  if (meta === undefined) throw corrupt(path, 'its table settle_meta is empty');
  // length() of the last column makes SQLite read the row to its end.
  const unfinished = db.prepare(`
    select gid, length(cast(progress as blob)) as bytes from settle_transaction
    where due_at is not null limit ${verifyRowsMax}
  `);
  const newest = db.prepare(`
    select gid, length(cast(progress as blob)) as bytes from settle_transaction
    order by id desc limit ${verifyRowsMax}
  `);
  const byGid = db.prepare('select count(*) as found from settle_transaction where gid = ?');
  for (const statement of [unfinished, newest]) {
    for (const row of statement.iterate()) {
      const gid = row['gid'];
      const found = typeof gid === 'string' ? byGid.get(gid)?.['found'] : undefined;
      if (found !== 1) throw corrupt(path, `the index of gids does not know ${JSON.stringify(gid)}`);
    }
  }
}
