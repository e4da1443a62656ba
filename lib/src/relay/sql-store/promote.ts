import type { OwnStatements } from '../../local/own-statements.ts';
import type { Promotion } from '../store.ts';
import { lockPlaces } from './move.ts';
import { optionalNumberOf, rowsOf } from './rows.ts';
import { contents, place, type Words } from './words.ts';

const table = 'settle_outbox_delayed';

/** Moves delayed messages that are due to the ends of their lanes. */
export async function promoteDue(own: OwnStatements, words: Words, limit: number): Promise<Promotion> {
  const waitMs = await nextDueInMs(own, words);
  if (waitMs === undefined || waitMs > 0) return { moved: 0, nextInMs: waitMs };
  const moved = await own.transaction(async (run) => {
    const due = await lockPlaces(run, words, {
      table: `${table} ${words.through('settle_outbox_delayed_due')}`,
      where: `due_at <= ${words.nowMs}`,
      order: `due_at, ${table}.seq`,
      values: [],
      limit,
    });
    if (due.length === 0) return 0;
    await run(
      `insert into settle_outbox (lane, ${contents}, attempts, last_error)
       select o.lane, ${contents}, attempts, last_error from ${words.givenIn(table, place)} order by o.due_at, o.seq`,
      [JSON.stringify(due)],
    );
    await run(words.deleteGiven(table), [JSON.stringify(due)]);
    return due.length;
  });
  return { moved, nextInMs: await nextDueInMs(own, words) };
}

/** Undefined when none waits; 0 when one is due. */
async function nextDueInMs(own: OwnStatements, { nowMs, exactly }: Words): Promise<number | undefined> {
  const { rows } = await own.query(`select ${exactly(`min(due_at) - ${nowMs}`)} as wait from ${table}`, []);
  const waitMs = rowsOf(rows).map((row) => optionalNumberOf(row, 'wait'))[0];
  return waitMs === undefined ? undefined : Math.max(0, waitMs);
}
