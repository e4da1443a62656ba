import type { OwnStatements } from '../../local/own-statements.ts';
import { pendingMax, type OutboxStats } from '../store.ts';
import { numberOf, optionalNumberOf, rowsOf } from './rows.ts';
import type { Words } from './words.ts';

/** Counts only so far: a backlog of millions is no reason to read all of it. */
export async function readStats(own: OwnStatements, { nowMs, exactly }: Words): Promise<OutboxStats> {
  const { rows } = await own.query(
    `select ${exactly(nowMs)} as now,
       ${counted('settle_outbox')} as pending,
       (select ${exactly(`${nowMs} - min((select created_at from settle_outbox o where o.lane = l.lane order by o.seq limit 1))`)}
        from settle_outbox_lanes l) as oldest,
       ${counted('settle_outbox_delayed')} as later,
       ${counted('settle_outbox_dead')} as died,
       (select count(*) from settle_outbox_relays where lease_until > ${nowMs}) as relays,
       (select count(*) from settle_outbox_lanes where owner is not null and lease_until > ${nowMs}) as held`,
    [],
  );
  const [row] = rowsOf(rows);
  if (row === undefined) throw new Error('a select without a table has one row');
  return {
    nowMs: numberOf(row, 'now'),
    pending: numberOf(row, 'pending'),
    oldestMs: optionalNumberOf(row, 'oldest'),
    delayed: numberOf(row, 'later'),
    dead: numberOf(row, 'died'),
    relays: numberOf(row, 'relays'),
    lanesHeld: numberOf(row, 'held'),
  };
}

function counted(table: string): string {
  return `(select count(*) from (select 1 as one from ${table} limit ${pendingMax}) counted)`;
}
