/** Pages of summaries, newest first. No page looks at more than a bounded number of rows, whatever is asked. */
import type { DatabaseSync, SQLInputValue } from 'node:sqlite';
import type { Status } from '../../core/patterns.ts';
import type { ListPage, ListQuery } from '../../engine/ports.ts';
import { SettleError } from '../../util/errors.ts';
import { listScanMax, listUnfinishedMax } from './limits.ts';
import { summaryColumns, toSummary } from './rows.ts';

const finishedStatuses: readonly Status[] = ['committed', 'aborted', 'forgotten'];

/** The cursor is the id of the last row looked at; new rows have higher ids and so never come up behind it. */
export function prepareList(db: DatabaseSync): (query: ListQuery) => ListPage {
  const unfinishedUpTo = db.prepare(`
    select count(*) as found from (
      select 1 from settle_transaction indexed by settle_transaction_due where due_at is not null limit ?
    )
  `);
  const fewUnfinished = (): boolean =>
    Number(unfinishedUpTo.get(listUnfinishedMax + 1)?.['found']) <= listUnfinishedMax;

  return (query) => {
    const { limit } = query;
    if (!(limit >= 1 && limit <= 200)) {
      throw new SettleError('invalid_request', `a page limit of ${limit}; it is 1 to 200`);
    }
    const before = parseCursor(query.cursor);
    const ids = onlyUnfinished(query) && fewUnfinished() ? unfinishedIds : allIds;
    const { conditions, values } = filtersOf(query);
    // SQLite runs a subquery with a limit as a coroutine, in its order: it stops once the page is full.
    const found = db
      .prepare(
        `select * from (
           select ${summaryColumns} from settle_transaction where id in (${ids}) order by id desc limit ?
         ) where ${['true', ...conditions].join(' and ')} limit ?`,
      )
      .all(before, listScanMax, listScanMax, ...values, limit);
    const items = found.map(toSummary);
    if (items.length === limit) return { items, next: String(found.at(-1)?.['id']) };
    const scanned = db
      .prepare(`select count(*) as count, min(id) as lowest from (${ids})`)
      .get(before, listScanMax);
    return { items, next: scanned?.['count'] === listScanMax ? String(scanned['lowest']) : undefined };
  };
}

const allIds = 'select id from settle_transaction where id < ? order by id desc limit ?';

// The index holds every unfinished id, so this reads no row; sorting a few thousand ids costs less than walking rows.
const unfinishedIds = `
  select id from settle_transaction indexed by settle_transaction_due
  where due_at is not null and id < ? order by id desc limit ?`;

/** A stuck transaction is unfinished by definition. */
function onlyUnfinished({ status, stuck }: ListQuery): boolean {
  return stuck === true || (status !== undefined && !status.some((one) => finishedStatuses.includes(one)));
}

function filtersOf(query: ListQuery): { conditions: string[]; values: SQLInputValue[] } {
  const filters: [condition: string, value: SQLInputValue | undefined][] = [
    ['status in (select value from json_each(?))', query.status && JSON.stringify(query.status)],
    ['pattern = ?', query.pattern],
    ['name = ?', query.name],
    ['stuck = ?', query.stuck === undefined ? undefined : Number(query.stuck)],
    ['created_at >= ?', query.createdFromMs],
    ['created_at < ?', query.createdToMs],
    ['instr(gid, ?) > 0', query.gidContains],
  ];
  const conditions: string[] = [];
  const values: SQLInputValue[] = [];
  for (const [condition, value] of filters) {
    if (value === undefined) continue;
    conditions.push(condition);
    values.push(value);
  }
  return { conditions, values };
}

function parseCursor(cursor: string | undefined): number {
  if (cursor === undefined) return Number.MAX_SAFE_INTEGER;
  if (/^\d{1,15}$/.test(cursor)) return Number(cursor);
  throw new SettleError('invalid_request', 'the cursor is not one of ours', {
    next: 'Hand back what the page before gave as next, or start without a cursor',
  });
}
