/** The words of SQLite. There is one writer at a time: it needs no locks on rows. */
import type { Settlement } from '../store.ts';
import { messageColumns, place, type DeleteDone, type GivenColumns, type Words } from './words.ts';

const nowMs = "cast(round(unixepoch('subsec') * 1000) as integer)";

const exactly = (expression: string): string => `cast(${expression} as text)`;

function given(columns: GivenColumns): string {
  const values = Object.entries(columns).map(([name, kind]) =>
    kind === 'whole'
      ? `cast(value ->> '$.${name}' as integer) as ${name}`
      : `value ->> '$.${name}' as ${name}`,
  );
  return `(select ${values.join(', ')} from json_each(?)) as given`;
}

/** A cross join keeps this order. */
function givenIn(table: string, columns: GivenColumns): string {
  return `${given(columns)} cross join ${table} o on o.lane = given.lane and o.seq = given.seq`;
}

export const sqliteWords: Words = {
  nowMs,
  parameter: () => '?',
  exactly,
  bytes: (expression) => expression,
  through: () => '',
  locked: '',
  lockedUnlessInUse: '',
  given,
  givenIn,
  // Not `(lane, seq) in (select …)`: SQLite 3.47 finds nothing by it where seq is the row's own number.
  deleteGiven: (table) =>
    `delete from ${table} where rowid in (select o.rowid from ${givenIn(table, place)})`,
  updateGiven: (set, columns) =>
    `update settle_outbox as o set ${set} from ${given(columns)} where o.lane = given.lane and o.seq = given.seq`,
  read: (requests) => ({
    sql: requests.map(() => `select * from (${readLane})`).join(' union all '),
    values: requests.flatMap(({ lane, after, limit }) => [lane, String(after), limit]),
  }),
  deleteDone,
  pruneDedup: (olderThanMs, limit) => ({
    sql: `delete from settle_outbox_dedup where dedup_key in (
        select dedup_key from settle_outbox_dedup where created_at < ${nowMs} - ? order by created_at limit ?)`,
    values: [olderThanMs, limit],
  }),
};

const readLane = `
  select ${messageColumns({ exactly })} from settle_outbox
  where lane = ? and settle_outbox.seq > cast(? as integer) order by settle_outbox.seq limit ?`;

function deleteDone(settlements: readonly Settlement[]): DeleteDone {
  const done = settlements.flatMap(({ lane, token, done }) =>
    done.map((seq) => ({ lane, seq: String(seq), token: String(token) })),
  );
  return { sql: deleteDoneSql, values: [JSON.stringify(done)], answer: 'counts' };
}

const deleteDoneSql = `
  delete from settle_outbox where rowid in (
    select o.rowid from ${givenIn('settle_outbox', { ...place, token: 'whole' })}
    cross join settle_outbox_lanes l on l.lane = given.lane and l.token = given.token
  )`;
