/**
 * The words of PostgreSQL, and its two statements on the hot path.
 *
 * Lists are parameters, so that the texts are constant. What lists hold looks up the primary key (lane, seq): no statement
 * reads or sorts a backlog.
 */
import type { ReadRequest, Settlement } from '../store.ts';
import { messageColumns, place, type DeleteDone, type GivenColumns, type Words } from './words.ts';

const nowMs = '(extract(epoch from statement_timestamp()) * 1000)::bigint';

const exactly = (expression: string): string => `(${expression})::text`;

function given(columns: GivenColumns): string {
  const types = Object.entries(columns).map(
    ([name, kind]) => `${name} ${kind === 'whole' ? 'bigint' : 'text'}`,
  );
  // As text first: postgres.js makes JSON of what is for a parameter of that type.
  return `json_to_recordset($1::text::json) as given(${types.join(', ')})`;
}

export const postgresWords: Words = {
  nowMs,
  parameter: (n) => `$${n}`,
  exactly,
  bytes: (expression) => expression,
  through: () => '',
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
    sql: readLanes,
    values: [
      list(requests, 'lane'),
      list(requests, 'after'),
      list(requests, 'limit'),
      requests.reduce((sum, { limit }) => sum + limit, 0),
    ],
  }),
  deleteDone,
  // An array, so that the rows are chosen once; those in use are left for the next time.
  pruneDedup: (olderThanMs, limit) => ({
    sql: `
      delete from settle_outbox_dedup where dedup_key = any (array(
        select dedup_key from settle_outbox_dedup where created_at < ${nowMs} - $1::bigint
        order by created_at limit $2::int for update skip locked
      ))`,
    values: [olderThanMs, limit],
  }),
};

/**
 * The limit is that of each lane, and so unknown when it is planned: with a constant one, the planner sorts all of a lane whenever
 * it takes it for not much longer than that (140 ms for 500 of 300,000 rows that were never analyzed, against 0.2).
 *
 * The outer limit takes nothing away. Without it, reads of a large backlog look so dear that they are compiled (JIT) each time:
 * 4 to 75 ms for 640 rows of 64 lanes, against 0.9.
 */
const readLanes = `
  select o.* from unnest($1::int[], $2::bigint[], $3::int[]) as asked(wanted, floor, at_most)
  cross join lateral (
    select ${messageColumns({ exactly })} from settle_outbox
    where lane = asked.wanted and seq > asked.floor order by settle_outbox.seq limit asked.at_most
  ) o limit $4::bigint`;

/**
 * Milliseconds for 100 messages of one lane, and for 500, of a backlog of 300,000 (PostgreSQL 15, synchronous_commit off,
 * medians of interleaved runs on a busy machine of 2 cores; compare them with each other only):
 *
 * | the delete | 100 | 500 |
 * | --- | --- | --- |
 * | `seq = any (…)` of one lane, no token | 0.30 | 1.00 |
 * | the same, `and exists` its token; who lost it takes a second statement | 0.35 | 0.99 |
 * | this one | 0.48 | 1.12 |
 * | lanes and numbers side by side by `unnest`, joined | 0.60 | 1.58 |
 * | the same as JSON | 0.65 | 1.70 |
 * | begin, lane `for update`, delete, commit | 0.54 | 1.24 |
 *
 * Reading them takes 0.69 and 1.84, mostly in the driver.
 */
const deleteDoneSql = `
  with asked as materialized (
    select given.lane, given.seqs::bigint[] as seqs, l.lane is not null as stands
    from unnest($1::int[], $2::bigint[], $3::text[]) as given(lane, token, seqs)
    left join settle_outbox_lanes l on l.lane = given.lane and l.token = given.token
  ), gone as (
    delete from settle_outbox o using asked
    where asked.stands and o.lane = asked.lane and o.seq = any (asked.seqs)
  )
  select lane from asked where not stands`;

function deleteDone(settlements: readonly Settlement[]): DeleteDone {
  const seqs = settlements.map(({ done }) => `"{${done.join(',')}}"`);
  return {
    sql: deleteDoneSql,
    values: [list(settlements, 'lane'), list(settlements, 'token'), `{${seqs.join(',')}}`],
    answer: 'tells',
  };
}

/** An array as PostgreSQL reads it. */
function list<K extends keyof ReadRequest | 'token'>(
  of: readonly Readonly<Record<K, number | bigint>>[],
  member: K,
): string {
  return `{${of.map((one) => one[member]).join(',')}}`;
}
