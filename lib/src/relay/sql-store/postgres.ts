/**
 * The words of PostgreSQL, and its two statements on the hot path.
 *
 * Lists are parameters, so that the texts are constant. What lists hold looks up the primary key (lane, seq): no statement
 * reads or sorts a backlog.
 */
import type { ReadRequest, Settlement } from '../store.ts';
import { messageColumns, place, type DeleteDone, type GivenColumns, type Words } from './words.ts';

const exactly = (expression: string): string => `(${expression})::text`;

function given(columns: GivenColumns): string {
  const types = Object.entries(columns).map(
    ([name, kind]) => `${name} ${kind === 'whole' ? 'bigint' : 'text'}`,
  );
  // As text first: postgres.js makes JSON of what is for a parameter of that type.
  return `json_to_recordset($1::text::json) as given(${types.join(', ')})`;
}

export const postgresWords: Words = {
  nowMs: '(extract(epoch from statement_timestamp()) * 1000)::bigint',
  parameter: (n) => `$${n}`,
  exactly,
  bytes: (expression) => expression,
  locked: 'for update',
  lockedUnlessInUse: 'for update skip locked',
  given,
  givenIn: (table, columns) =>
    `${given(columns)} join ${table} o on o.lane = given.lane and o.seq = given.seq`,
  deleteGiven: (table) =>
    `delete from ${table} o using ${given(place)} where o.lane = given.lane and o.seq = given.seq`,
  updateGiven: (set, columns) =>
    `update settle_outbox o set ${set} from ${given(columns)} where o.lane = given.lane and o.seq = given.seq`,
  read: (requests) => ({
    sql: requests.length === 1 ? readLane : readLanes,
    values:
      requests.length === 1
        ? requests.flatMap(({ lane, after, limit }) => [lane, String(after), limit])
        : [list(requests, 'lane'), list(requests, 'after'), list(requests, 'limit')],
  }),
  deleteDone,
  // An array, so that the rows are chosen once; those in use are left for the next time.
  pruneDedup: (olderThanMs, limit) => ({
    sql: `
      delete from settle_outbox_dedup where dedup_key = any (array(
        select dedup_key from settle_outbox_dedup where created_at < ${'(extract(epoch from statement_timestamp()) * 1000)::bigint'} - $1::bigint
        order by created_at limit $2::int for update skip locked
      ))`,
    values: [olderThanMs, limit],
  }),
};

const readLane = `
  select ${messageColumns({ exactly })} from settle_outbox
  where lane = $1::int and seq > $2::bigint order by settle_outbox.seq limit $3::int`;

const readLanes = `
  select o.* from unnest($1::int[], $2::bigint[], $3::int[]) as asked(wanted, floor, at_most)
  cross join lateral (
    select ${messageColumns({ exactly })} from settle_outbox
    where lane = asked.wanted and seq > asked.floor order by settle_outbox.seq limit asked.at_most
  ) o`;

function deleteDone(settlements: readonly Settlement[]): DeleteDone {
  const done = settlements.flatMap(({ lane, done }) => done.map((seq) => ({ lane, seq })));
  return {
    sql: deleteDoneSql,
    values: [list(settlements, 'lane'), list(settlements, 'token'), list(done, 'lane'), list(done, 'seq')],
    answer: 'tells',
  };
}

const deleteDoneSql = `
  with held as materialized (
    select asked.lane, l.lane is not null as stands
    from unnest($1::int[], $2::bigint[]) as asked(lane, token)
    left join settle_outbox_lanes l on l.lane = asked.lane and l.token = asked.token
  ), gone as (
    delete from settle_outbox o using unnest($3::int[], $4::bigint[]) as done(lane, seq)
    where o.lane = done.lane and o.seq = done.seq and done.lane in (select lane from held where stands)
  )
  select lane from held where not stands`;

/** An array as PostgreSQL reads it. */
function list<K extends keyof ReadRequest | 'token' | 'seq'>(
  of: readonly Readonly<Record<K, number | bigint>>[],
  member: K,
): string {
  return `{${of.map((one) => one[member]).join(',')}}`;
}
