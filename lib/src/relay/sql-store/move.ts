/** Moves messages from one table to another: each is in one of them at any time, however many move at once. */
import type { RunSql } from '../../local/own-statements.ts';
import type { SqlValue } from '../../util/sql.ts';
import { numberOf, rowsOf, wholeOf } from './rows.ts';
import { whole } from './whole.ts';
import type { Words } from './words.ts';

/** Where a message stands, as a list of `given` has it. */
export interface Place {
  readonly lane: number;
  readonly seq: string;
}

/** Chooses rows and locks them; those that others have locked are left to them. */
export async function lockPlaces(
  run: RunSql,
  { exactly, lockedUnlessInUse }: Words,
  {
    table,
    where,
    order,
    values,
    limit,
  }: {
    readonly table: string;
    readonly where: string;
    readonly order: string;
    readonly values: readonly SqlValue[];
    readonly limit: number;
  },
): Promise<readonly Place[]> {
  const { rows } = await run(
    `select lane, ${exactly('seq')} as seq from ${table} where ${where} order by ${order} limit ${whole('limit', limit)} ${lockedUnlessInUse}`,
    values,
  );
  return rowsOf(rows).map((row) => ({ lane: numberOf(row, 'lane'), seq: String(wholeOf(row, 'seq')) }));
}
