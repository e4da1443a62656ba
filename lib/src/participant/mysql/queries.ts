/**
 * The statements of the barrier on MySQL and MariaDB, and what its errors mean.
 *
 * - M1 Every statement that touches a branch's rows first locks that branch's slot: a row of `settle_barrier_lock` that is
 *   there since the migration. Calls of one branch queue up there, and never on a row that may be rolled back.
 *
 * Why a slot: deadlocks counted on MariaDB 10.11, 5 times 64 concurrent duplicates of one call, a victim trying again up to
 * 50 times; at repeatable read / at read committed.
 *
 * | order | the first commits | the first three roll back |
 * | --- | --- | --- |
 * | insert, and on error 1062 select for update | 9,720 / 9,017 | 9,743 / 9,402 |
 * | insert ignore, then select for update | 9,822 / 9,681 | 10,035 / 9,835 |
 * | select for update, then insert | 13,346 / 0 | 16,381 / 314 |
 * | the same, 64 calls of 64 different gids | 16,380 / 0 | |
 * | insert on duplicate key update | 0 / 0 | 335 / 397 |
 * | the slot, then insert on duplicate key update | 0 / 0 | 0 / 0 |
 *
 * A duplicate key waits with a shared lock that two then want to raise; a row that is looked for and missing locks its gap
 * for all who look, against all who insert; and the waiting for a row that is rolled back turns into locks on its gap.
 */
import type { BarrierCall } from '../barrier.ts';
import type { BarrierDialect } from '../sql/dialect.ts';
import { failureIn, isSocketError, type Failure } from '../sql/failure.ts';
import type { SqlValue, Statement } from '../sql/statement.ts';
import { SettleError } from '../../util/errors.ts';

/** Branches that share a slot wait for each other. A version that changes this loses M1 while both are running. */
export const lockSlots = 1_024;

// All of it is ASCII, and compares byte by byte, whatever the collation of the database. `repeats` is what tells an insert
// from a duplicate: the affected rows of an update that changes nothing depend on a flag of the connection.
const createTable = `
  create table if not exists settle_barrier (
    gid varchar(128) character set ascii collate ascii_bin not null,
    branch varchar(64) character set ascii collate ascii_bin not null,
    op varchar(16) character set ascii collate ascii_bin not null,
    by_op varchar(16) character set ascii collate ascii_bin not null,
    answer mediumtext character set ascii collate ascii_bin,
    created_at bigint not null,
    repeats bigint not null default 0,
    primary key (gid, branch, op),
    key settle_barrier_created_at (created_at)
  ) engine = InnoDB`;

const createLocks =
  'create table if not exists settle_barrier_lock (slot int not null primary key) engine = InnoDB';

// Ignore, since others may fill it too; there is nothing else in a number that could be passed over.
const fillLocks = `insert ignore into settle_barrier_lock (slot) values ${Array.from({ length: lockSlots }, (_, slot) => `(${slot})`).join(',')}`;

/** Creates the barrier's tables, for those who keep all tables in migrations of their own: one statement each. */
export const mysqlMigration: readonly string[] = [createTable, createLocks, fillLocks];

/** By the clock of the database. Without fractions, since only this form means one moment in the hour that comes twice. */
const nowMs = 'unix_timestamp() * 1000';

const slotOf = `l.slot = crc32(?) % ${lockSlots}`;

const select = `
  select b.by_op, b.answer from settle_barrier_lock l
  straight_join settle_barrier b on b.gid = ? and b.branch = ? and b.op = ?
  where ${slotOf} for update`;

export const mysqlDialect: BarrierDialect = {
  insert: ({ gid, branch, op, by, answer }) => ({
    sql: `
      insert into settle_barrier (gid, branch, op, by_op, answer, created_at)
      select ?, ?, ?, ?, ?, ${nowMs} from settle_barrier_lock l where ${slotOf} for update
      on duplicate key update settle_barrier.repeats = settle_barrier.repeats + 1`,
    values: [gid, branch, op, by, answer ?? null, slotName({ gid, branch })],
  }),
  isPlaced({ affected }) {
    // 1 is an insert and 2 an update, on every connection; 0 is neither, for want of a slot to select from.
    if (affected !== 0) return affected === 1;
    throw new SettleError('unavailable', 'the barrier: the table settle_barrier_lock is not filled', {
      next: 'Call migrate() at the start',
      retryAfterMs: 1_000,
    });
  },
  select: keyed,
  selectLocked: keyed,
  updateAnswer: ({ gid, branch, op }, answer) => ({
    sql: 'update settle_barrier set answer = ? where gid = ? and branch = ? and op = ?',
    values: [answer, gid, branch, op],
  }),
  // Whole numbers, checked, in the text: mysql2 sends every number as a double, which MySQL does not take for a limit.
  deleteOld: ({ olderThanMs, limit }) => ({
    sql: `delete from settle_barrier where created_at < ${nowMs} - ${olderThanMs} order by created_at limit ${limit}`,
    values: [],
  }),
  failureOf: (error) => failureIn(error, failureOf),
};

/** Always locked: an older snapshot would not show what has been committed since (M1 keeps this from deadlocking). */
function keyed({ gid, branch, op }: BarrierCall): Statement {
  const values: SqlValue[] = [gid, branch, op, slotName({ gid, branch })];
  return { sql: select, values };
}

function slotName({ gid, branch }: Pick<BarrierCall, 'gid' | 'branch'>): string {
  return `${gid}/${branch}`;
}

/** https://mariadb.com/docs/server/reference/error-codes, https://dev.mysql.com/doc/mysql-errors/8.4/en/server-error-reference.html */
const failures: Readonly<Record<number, Failure>> = {
  // A deadlock's victim has lost its whole transaction.
  1213: 'conflict',
  // MariaDB with innodb_snapshot_isolation: a row has changed since the transaction's snapshot.
  1020: 'conflict',
  // Of a lock; only the statement is undone. Then the time limits of a statement.
  1205: 'busy',
  1317: 'busy',
  1969: 'busy',
  3024: 'busy',
  1146: 'no-table',
  // No such savepoint: the transaction it was set in is over.
  1305: 'ended',
  1053: 'lost',
  1152: 'lost',
  1184: 'lost',
  1927: 'lost',
  2006: 'lost',
  2013: 'lost',
  4031: 'lost',
};

function failureOf(error: object): Failure | undefined {
  const errno = 'errno' in error ? error.errno : undefined;
  if (typeof errno === 'number' && Object.hasOwn(failures, errno)) return failures[errno];
  const code = 'code' in error ? error.code : undefined;
  if (isSocketError(code)) return 'lost';
  const isLost =
    typeof code === 'string' &&
    /^(?:PROTOCOL_CONNECTION_LOST|PROTOCOL_ENQUEUE_AFTER|ER_SOCKET|ER_CMD_CONNECTION_CLOSED)/.test(code);
  return isLost ? 'lost' : undefined;
}
