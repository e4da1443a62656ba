/**
 * The outbox's tables on MySQL, from 8.0.13 on, and MariaDB, from 10.6 on. Before those, InnoDB forgets at a restart which
 * numbers it has given out, and cannot unpack JSON.
 *
 * Text is utf8mb4 and compares byte by byte except for spaces at its end, which no collation of both databases tells apart:
 * what must not take `a` for `a ` compares as binary, and the dedup key is binary itself.
 */
import { laneCount } from '../message.ts';
import { columnLengths as length, keyLockSlots } from './limits.ts';

/** Of no time zone, so that no hour comes twice. */
const nowMs = "(timestampdiff(microsecond, '1970-01-01', utc_timestamp(3)) div 1000)";

const asText = 'engine = InnoDB default character set utf8mb4 collate utf8mb4_bin';

const message = `
    id varchar(${length.id}) not null,
    target varchar(${length.target}) not null,
    aggregatetype varchar(${length.address}) not null,
    aggregateid varchar(${length.key}),
    type varchar(${length.type}) not null,
    payload longtext not null,
    version int not null,
    headers mediumtext,
    created_at bigint not null default ${nowMs},
    attempts int not null default 0,
    starts int not null default 0`;

// InnoDB wants an index that begins with the number it gives out.
const messages = `
  create table if not exists settle_outbox (
    lane int not null,
    seq bigint not null auto_increment,${message},
    due_at bigint,
    last_error text,
    primary key (lane, seq),
    unique key settle_outbox_seq (seq)
  ) ${asText}`;

const delayed = `
  create table if not exists settle_outbox_delayed (
    lane int not null,
    seq bigint not null auto_increment primary key,${message},
    due_at bigint not null,
    last_error text,
    key settle_outbox_delayed_due (due_at, seq)
  ) ${asText}`;

const dead = `
  create table if not exists settle_outbox_dead (
    lane int not null,
    seq bigint not null,${message},
    due_at bigint,
    last_error text,
    cause varchar(16) not null,
    reason text not null,
    died_at bigint not null default ${nowMs},
    blocks_key smallint not null,
    primary key (lane, seq),
    key settle_outbox_dead_died (died_at, lane, seq),
    key settle_outbox_dead_id (id),
    key settle_outbox_dead_blocks (blocks_key, lane)
  ) ${asText}`;

const lanes = `
  create table if not exists settle_outbox_lanes (
    lane int not null primary key,
    owner varchar(${length.relay}),
    token bigint not null default 0,
    lease_until bigint
  ) ${asText}`;

const relays = `
  create table if not exists settle_outbox_relays (
    relay varchar(${length.relay}) not null primary key,
    lease_until bigint not null
  ) ${asText}`;

const dedup = `
  create table if not exists settle_outbox_dedup (
    dedup_key varbinary(${4 * length.dedupKey}) not null primary key,
    message_id varchar(${length.id}) not null,
    repeats bigint not null default 0,
    created_at bigint not null default ${nowMs},
    key settle_outbox_dedup_created (created_at)
  ) ${asText}`;

const keyLocks =
  'create table if not exists settle_outbox_key_locks (slot int not null primary key) engine = InnoDB';

export const mysqlVersion1: readonly string[] = [
  messages,
  delayed,
  dead,
  lanes,
  // Ignore, since others may fill it too; there is nothing else in a number that could be passed over.
  `insert ignore into settle_outbox_lanes (lane) values ${numbers(laneCount)}`,
  relays,
  dedup,
  keyLocks,
  `insert ignore into settle_outbox_key_locks (slot) values ${numbers(keyLockSlots)}`,
];

function numbers(count: number): string {
  return Array.from({ length: count }, (_, n) => `(${n})`).join(',');
}
