/** Rows as SQLite gives them, and as the port wants them. */
import type { StoredSummary, StoredTransaction } from '../../engine/ports.ts';

export const summaryColumns = 'id, gid, pattern, name, status, stuck, created_at, updated_at';
export const transactionColumns: string = `${summaryColumns}, revision, epoch, due_at, plan, progress`;

/** Columns by name. Only our own writer filled them, so their types are those of the schema. */
type Row = Record<string, unknown>;

export function toSummary(row: Row): StoredSummary {
  return {
    gid: row['gid'] as StoredSummary['gid'],
    pattern: row['pattern'] as StoredSummary['pattern'],
    name: String(row['name']),
    status: row['status'] as StoredSummary['status'],
    stuck: row['stuck'] === 1,
    createdAtMs: Number(row['created_at']),
    updatedAtMs: Number(row['updated_at']),
  };
}

/** Plan and progress stay text: whoever cannot read them can still load, list and claim them (D8). */
export function toTransaction(row: Row): StoredTransaction {
  return {
    ...toSummary(row),
    plan: String(row['plan']),
    progress: String(row['progress']),
    revision: Number(row['revision']),
    epoch: Number(row['epoch']),
    dueAtMs: row['due_at'] === null ? undefined : Number(row['due_at']),
  };
}
