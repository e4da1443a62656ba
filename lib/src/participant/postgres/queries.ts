/** The statements of the barrier on PostgreSQL, and what its errors mean. */
import type { BarrierCall } from '../barrier.ts';
import type { BarrierDialect } from '../sql/dialect.ts';
import { failureIn, isSocketError, type Failure } from '../sql/failure.ts';
import type { Statement } from '../sql/statement.ts';

/**
 * Creates the barrier's table, for those who keep all tables in migrations of their own. One message, and so one
 * transaction; the lock is there because `if not exists` does not keep two sessions from creating the same table at once.
 * Keys compare byte by byte, which no change of a locale can break.
 */
export const postgresMigration = `
  select pg_advisory_xact_lock(7271020391);
  create table if not exists settle_barrier (
    gid text collate "C" not null,
    branch text collate "C" not null,
    op text collate "C" not null,
    by_op text not null,
    answer text,
    created_at bigint not null default (extract(epoch from clock_timestamp()) * 1000)::bigint,
    primary key (gid, branch, op)
  );
  create index if not exists settle_barrier_created_at on settle_barrier (created_at)`;

const select = 'select by_op, answer from settle_barrier where gid = $1 and branch = $2 and op = $3';

export const postgresDialect: BarrierDialect = {
  // Waits for whoever has inserted the row and is open. Above read committed, a row that this transaction cannot see is
  // a serialization failure here, not a row that is silently passed over.
  insert: ({ gid, branch, op, by, answer }) => ({
    sql: 'insert into settle_barrier (gid, branch, op, by_op, answer) values ($1, $2, $3, $4, $5) on conflict do nothing',
    values: [gid, branch, op, by, answer ?? null],
  }),
  isPlaced: ({ affected }) => affected === 1,
  select: (key) => keyed(select, key),
  selectLocked: (key) => keyed(`${select} for update`, key),
  updateAnswer: ({ gid, branch, op }, answer) => ({
    sql: 'update settle_barrier set answer = $4 where gid = $1 and branch = $2 and op = $3',
    values: [gid, branch, op, answer],
  }),
  // An array, so that the rows are chosen once; those in use are left for the next time.
  deleteOld: ({ olderThanMs, limit }) => ({
    sql: `
      delete from settle_barrier where ctid = any (array(
        select ctid from settle_barrier
        where created_at < (extract(epoch from clock_timestamp()) * 1000)::bigint - $1::bigint
        order by created_at limit $2 for update skip locked
      ))`,
    values: [olderThanMs, limit],
  }),
  failureOf: (error) => failureIn(error, failureOf),
};

function keyed(sql: string, { gid, branch, op }: BarrierCall): Statement {
  return { sql, values: [gid, branch, op] };
}

/** https://www.postgresql.org/docs/current/errcodes-appendix.html */
const failures: Readonly<Record<string, Failure>> = {
  '40001': 'conflict',
  '40P01': 'conflict',
  '55P03': 'busy',
  '57014': 'busy',
  '42P01': 'no-table',
  '25P01': 'ended',
  // No such savepoint: it was of a transaction that is over.
  '3B001': 'ended',
  '25P02': 'aborted',
};

function failureOf(error: object): Failure | undefined {
  const code = 'code' in error ? error.code : undefined;
  if (typeof code === 'string') {
    if (Object.hasOwn(failures, code)) return failures[code];
    // Connection exceptions, shutdowns, and the time limits that end a session.
    if (/^(?:08...|57P0.|25P0[34])$/.test(code) || isSocketError(code)) return 'lost';
  }
  // pg says it in words alone.
  const message = error instanceof Error ? error.message : '';
  return /^(?:Connection terminated|Client has encountered a connection error|Client was closed)/.test(
    message,
  )
    ? 'lost'
    : undefined;
}
