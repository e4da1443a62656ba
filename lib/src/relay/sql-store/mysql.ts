/**
 * The words of MySQL and MariaDB.
 *
 * - Y1 Joins with a list begin with the list (`straight_join`) and look up the primary key (`force index`): an optimizer that
 *   takes the table for small would otherwise read, and lock, all of it, what writers have not committed included.
 * - Y2 Whole numbers that were checked stand in the text: drivers that prepare send every number as a double, which MySQL does
 *   not take for a limit.
 * - Y3 Whoever locks several lanes does so in their order. What a delete joins is locked, too, above read committed and, by
 *   MariaDB, also there.
 */
import type { ReadRequest, Settlement } from '../store.ts';
import { messageColumns, place, type DeleteDone, type GivenColumns, type Words } from './words.ts';

/** Of no time zone, so that no hour comes twice. */
const nowMs = "(timestampdiff(microsecond, '1970-01-01', utc_timestamp(3)) div 1000)";

const exactly = (expression: string): string => `cast(${expression} as char)`;

function given(columns: GivenColumns): string {
  const types = Object.entries(columns).map(
    ([name, kind]) =>
      `${name} ${kind === 'whole' ? 'bigint' : 'longtext character set utf8mb4'} path '$.${name}'`,
  );
  return `json_table(?, '$[*]' columns (${types.join(', ')})) as given`;
}

/** Y1 */
function givenIn(table: string, columns: GivenColumns): string {
  return `${given(columns)} straight_join ${table} o force index (primary) on o.lane = given.lane and o.seq = given.seq`;
}

export const mysqlWords: Words = {
  nowMs,
  parameter: () => '?',
  exactly,
  bytes: (expression) => `cast(${expression} as binary)`,
  through: (index) => `force index (${index})`,
  locked: 'for update',
  lockedUnlessInUse: 'for update skip locked',
  given,
  givenIn,
  deleteGiven: (table) => `delete o from ${givenIn(table, place)}`,
  updateGiven: (set, columns) => `update ${givenIn('settle_outbox', columns)} set ${set}`,
  read: (requests) => ({ sql: requests.map(readLane).join(' union all '), values: [] }),
  deleteDone,
  pruneDedup: (olderThanMs, limit) => ({
    sql: `delete from settle_outbox_dedup where created_at < ${nowMs} - ${olderThanMs} order by created_at limit ${limit}`,
    values: [],
  }),
};

/** Y1, Y2 */
function readLane({ lane, after, limit }: ReadRequest): string {
  return `(select ${messageColumns({ exactly })} from settle_outbox force index (primary)
    where lane = ${lane} and seq > ${after} order by settle_outbox.seq limit ${limit})`;
}

function deleteDone(settlements: readonly Settlement[]): DeleteDone {
  // Y3
  const inOrder = settlements.toSorted((a, b) => a.lane - b.lane);
  const done = inOrder.flatMap(({ lane, token, done }) =>
    done.map((seq) => ({ lane, seq: String(seq), token: String(token) })),
  );
  return { sql: deleteDoneSql, values: [JSON.stringify(done)], answer: 'counts' };
}

const deleteDoneSql = `
  delete o from ${given({ ...place, token: 'whole' })}
  straight_join settle_outbox_lanes l force index (primary) on l.lane = given.lane and l.token = given.token
  straight_join settle_outbox o force index (primary) on o.lane = given.lane and o.seq = given.seq`;
