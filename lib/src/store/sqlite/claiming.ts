/** Takes over what is due and has no living owner. */
import type { DatabaseSync } from 'node:sqlite';
import type { ClaimedTransaction } from '../../engine/ports.ts';
import { crashPoint } from '../../util/crash-point.ts';
import { toTransaction, transactionColumns } from './rows.ts';

export interface ClaimOptions {
  readonly epoch: number;
  readonly limit: number;
  readonly nowMs: number;
  readonly livingEpochs: ReadonlySet<number>;
}

/**
 * Runs inside a transaction of the caller's. Costs as many index steps as there are owners and rows to take, never as
 * many as there are rows with a living owner: the index begins with the epoch, and the epochs are hopped over.
 */
export function prepareClaim(db: DatabaseSync): (options: ClaimOptions) => readonly ClaimedTransaction[] {
  const nextOwner = db.prepare(`
    select epoch from settle_transaction indexed by settle_transaction_due
    where due_at is not null and epoch > ? order by epoch limit 1
  `);
  const due = db.prepare(`
    select id, due_at from settle_transaction indexed by settle_transaction_due
    where due_at is not null and epoch = ? and due_at <= ? order by due_at, id limit ?
  `);
  const load = db.prepare(`select ${transactionColumns} from settle_transaction where id = ?`);
  const take = db.prepare('update settle_transaction set epoch = ?, revision = revision + 1 where id = ?');

  return ({ epoch, limit, nowMs, livingEpochs }) => {
    const candidates: { readonly id: number; readonly dueAtMs: number }[] = [];
    for (let owner = nextOwner.get(-1); owner !== undefined; owner = nextOwner.get(owner['epoch'] ?? null)) {
      if (livingEpochs.has(Number(owner['epoch']))) continue;
      for (const row of due.all(owner['epoch'] ?? null, nowMs, limit)) {
        candidates.push({ id: Number(row['id']), dueAtMs: Number(row['due_at']) });
      }
    }
    candidates.sort((a, b) => a.dueAtMs - b.dueAtMs || a.id - b.id);
    return candidates.slice(0, limit).flatMap(({ id }) => {
      const row = load.get(id);
      if (row === undefined) return [];
      const before = toTransaction(row);
      crashPoint('sqlite.take', 'before');
      take.run(epoch, id);
      crashPoint('sqlite.take', 'after');
      return [{ ...before, epoch, revision: before.revision + 1, claimedFrom: before.epoch }];
    });
  };
}
