import { isJsonObject } from '../../util/json.ts';
import { SettleError } from '../../util/errors.ts';
import { ops } from '../../wire/headers.ts';
import type { BarrierCall, BarrierRow } from '../barrier.ts';

/** Reads `by_op` and `answer` of a selected row. Throws `barrier_conflict` for one that this version cannot read. */
export function rowOf({ gid, branch, op }: BarrierCall, row: unknown): BarrierRow | undefined {
  if (row === undefined) return undefined;
  if (isJsonObject(row)) {
    const { by_op: byText, answer } = row;
    const by = ops.find((known) => known === byText);
    if (by !== undefined && (answer === null || typeof answer === 'string')) {
      return { gid, branch, op, by, answer: answer ?? undefined };
    }
  }
  throw new SettleError(
    'barrier_conflict',
    `the row of ${gid} ${branch} ${op} cannot be read by this version`,
    { gid, next: 'Look for what else writes to the table settle_barrier' },
  );
}
