/**
 * What the databases are asked about replication: where the log of the primary stands, and whether a replica has come there.
 * Texts and their meaning only: nothing here asks.
 *
 * A position is compared within one history. Where the servers say that theirs is another one (PostgreSQL's timeline,
 * MariaDB's server id), as after a failover, the number says nothing, and the replica is not read.
 *
 * PostgreSQL and MariaDB are tried in our tests. What is said to MySQL 8 follows its manual
 * (https://dev.mysql.com/doc/refman/8.4/en/gtid-functions.html) and was not run.
 */
import { SettleError } from '../util/errors.ts';
import type { Dialect } from './dialect.ts';
import type { Position } from './read-token.ts';

/** What is asked around a COMMIT, on its own connection. */
export interface PositionQuestions {
  /** Asked inside the transaction, right before its COMMIT. Undefined: nothing needs to be. */
  readonly before: string | undefined;
  /** Asked once the COMMIT is answered, in a message of its own: failing, it must not look like a COMMIT that failed. */
  after(before: unknown): string;
  /** What the answer says; whether it makes a token is that one's to judge. */
  positionOf(answer: unknown): Position;
}

/** Undefined for a database without replicas. */
export function positionQuestions(dialect: Dialect): PositionQuestions | undefined {
  switch (dialect.name) {
    case 'postgres':
      return ofPostgres;
    case 'mysql':
      return ofMysql;
    case 'sqlite':
      return undefined;
  }
}

const ofPostgres: PositionQuestions = {
  // SET LOCAL is forgotten by COMMIT.
  before: `select current_setting('synchronous_commit')`,
  after(before) {
    // A COMMIT that does not wait for the disk is answered before its record is flushed. The insert position is beyond it,
    // but replicas may take seconds to come there: it can lie behind a page that nobody has a reason to flush.
    const lsn = before === 'off' ? 'pg_current_wal_insert_lsn()' : 'pg_current_wal_flush_lsn()';
    return `select ${timelineOfPrimary} || ' ' || ${lsn}`;
  },
  positionOf(answer) {
    const [timeline = '', lsn = ''] = textOf(answer).split(' ');
    return { kind: 'postgres', timeline, lsn };
  },
};

const timelineOfPrimary = 'substr(pg_walfile_name(pg_current_wal_flush_lsn()), 1, 8)';

/**
 * The first is known at once, to those alone who may see statistics (`pg_read_all_stats`). The second lies in a file, and is
 * late after a failover until the replica's next checkpoint: reads are for the primary until then.
 */
const timelineOfReplica = `greatest((select received_tli from pg_stat_wal_receiver),
  (select min_recovery_end_timeline from pg_control_recovery()))`;

const ofMysql: PositionQuestions = {
  before: undefined,
  // Not @@last_gtid: a transaction that wrote nothing has seen what others wrote, and its connection's last GTID may be
  // older than a token that the caller has had before. Each server takes the comment of the other for one.
  after: () => 'select /*M! @@global.gtid_binlog_pos */ /*!80000 @@global.gtid_executed */',
  positionOf(answer) {
    const gtids = textOf(answer).replaceAll(/\s/g, '').split(',');
    // Nothing is logged here, or nothing yet.
    if (gtids[0] === '') return { kind: 'unknown' };
    return { kind: gtids[0]?.includes(':') === true ? 'mysql' : 'mariadb', gtids };
  },
};

/**
 * - `reached`: what is read from now on includes everything up to the position.
 * - `behind`: not yet.
 * - `elsewhere`: it follows another primary than the one the position is of, or none.
 */
export type ReplicaState = 'reached' | 'behind' | 'elsewhere';

type KnownPosition = Exclude<Position, { readonly kind: 'unknown' }>;

/**
 * The question whether a replica has come to a position. Its answer is a `ReplicaState`. MySQL and MariaDB answer as soon as
 * it has, or after `waitMs`; PostgreSQL answers at once.
 */
export function replicaQuestion(position: KnownPosition, waitMs: number): string {
  switch (position.kind) {
    case 'postgres': {
      const { timeline, lsn } = position;
      return `select case
        when not pg_is_in_recovery() then case
          when ${timelineOfPrimary} = '${timeline}' and pg_current_wal_insert_lsn() >= '${lsn}'::pg_lsn
          then 'reached' else 'elsewhere' end
        when pg_last_wal_replay_lsn() >= '${lsn}'::pg_lsn then case
          when ${timelineOfReplica} = ${Number.parseInt(timeline, 16)} then 'reached' else 'elsewhere' end
        else 'behind' end`;
    }
    case 'mariadb': {
      const follows = position.gtids.map((gtid) => {
        const primary = gtid.slice(0, gtid.lastIndexOf('-'));
        return `concat(',', @@global.gtid_slave_pos) like '%,${primary}-%'`;
      });
      // A primary would wait to the end. Of a GTID only domain and number are waited for, whoever wrote it.
      return `select case
        when @@global.gtid_slave_pos = '' then 'elsewhere'
        when master_gtid_wait('${position.gtids.join(',')}', ${seconds(waitMs)}) = 0 then case
          when ${follows.join(' and ')} then 'reached' else 'elsewhere' end
        else 'behind' end`;
    }
    case 'mysql':
      // 0 would be for ever.
      return `select case wait_for_executed_gtid_set('${position.gtids.join(',')}', ${seconds(Math.max(1, waitMs))})
        when 0 then 'reached' else 'behind' end`;
  }
}

export function replicaStateOf(answer: unknown): ReplicaState {
  if (answer === 'reached' || answer === 'behind' || answer === 'elsewhere') return answer;
  throw new Error(`the replica answered ${String(answer)} when it was asked how far it is`);
}

/** Throws `invalid_request` for a token of another kind of database. */
export function refuseForeign(position: Position, dialect: Dialect): void {
  const kind = position.kind === 'mariadb' ? 'mysql' : position.kind;
  if (kind === 'unknown' || kind === dialect.name) return;
  throw new SettleError('invalid_request', `the token is one of ${position.kind}, not of ${dialect.name}`, {
    next: 'Keep the tokens of each data source apart',
  });
}

function textOf(answer: unknown): string {
  return typeof answer === 'string' ? answer : '';
}

function seconds(ms: number): string {
  return (Math.max(0, ms) / 1_000).toFixed(3);
}
