/** The tables of the inbox, and how they get into a database. */
import type { Driver } from '../local/driver.ts';
import { migrateSchema, migrationOf, type Migration, type Schema } from '../local/schema.ts';
import { messageIdBytesMax, consumerNameLengthMax } from './message-key.ts';
import { lockSlots, words } from './words.ts';

/** What a broker calls the place messages come from: bytes of UTF-8. */
export const sourceBytesMax = 255;

/** Keys compare byte by byte ("C"), which no change of a locale can break. */
const postgres: readonly string[] = [
  `create table if not exists settle_inbox (
    consumer text collate "C" not null,
    message_id text collate "C" not null,
    result text,
    created_at bigint not null default ${words.postgres.nowMs},
    primary key (consumer, message_id)
  )`,
  'create index if not exists settle_inbox_created on settle_inbox (created_at)',
  `create table if not exists settle_inbox_dead (
    consumer text collate "C" not null,
    message_id text collate "C" not null,
    message text not null,
    cause text not null,
    reason text not null,
    attempts int not null,
    died_at bigint not null default ${words.postgres.nowMs},
    primary key (consumer, message_id)
  )`,
  'create index if not exists settle_inbox_dead_died on settle_inbox_dead (consumer, died_at, message_id)',
  `create table if not exists settle_inbox_offsets (
    consumer text collate "C" not null,
    source text collate "C" not null,
    source_partition int not null,
    position bigint not null,
    primary key (consumer, source, source_partition)
  )`,
];

const name = `varchar(${consumerNameLengthMax}) character set ascii collate ascii_bin not null`;
const messageId = `varbinary(${messageIdBytesMax}) not null`;

/** Ids are binary: no collation that both databases have tells `a` from `a `. */
const mysql: readonly string[] = [
  `create table if not exists settle_inbox (
    consumer ${name},
    message_id ${messageId},
    result mediumtext character set ascii collate ascii_bin,
    created_at bigint not null default ${words.mysql.nowMs},
    repeats bigint not null default 0,
    primary key (consumer, message_id),
    key settle_inbox_created (created_at)
  ) engine = InnoDB`,
  `create table if not exists settle_inbox_dead (
    consumer ${name},
    message_id ${messageId},
    message longtext character set ascii collate ascii_bin not null,
    cause varchar(16) character set ascii collate ascii_bin not null,
    reason text character set utf8mb4 not null,
    attempts int not null,
    died_at bigint not null default ${words.mysql.nowMs},
    primary key (consumer, message_id),
    key settle_inbox_dead_died (consumer, died_at, message_id)
  ) engine = InnoDB`,
  `create table if not exists settle_inbox_offsets (
    consumer ${name},
    source varbinary(${sourceBytesMax}) not null,
    source_partition int not null,
    position bigint not null,
    primary key (consumer, source, source_partition)
  ) engine = InnoDB`,
  'create table if not exists settle_inbox_lock (slot int not null primary key) engine = InnoDB',
  // Ignore, since others may fill it too; there is nothing else in a number that could be passed over.
  `insert ignore into settle_inbox_lock (slot) values ${Array.from({ length: lockSlots }, (_, slot) => `(${slot})`).join(',')}`,
];

const sqlite: readonly string[] = [
  `create table if not exists settle_inbox (
    consumer text not null,
    message_id text not null,
    result text,
    created_at integer not null default ${words.sqlite.nowMs},
    primary key (consumer, message_id)
  )`,
  'create index if not exists settle_inbox_created on settle_inbox (created_at)',
  `create table if not exists settle_inbox_dead (
    consumer text not null,
    message_id text not null,
    message text not null,
    cause text not null,
    reason text not null,
    attempts integer not null,
    died_at integer not null default ${words.sqlite.nowMs},
    primary key (consumer, message_id)
  )`,
  'create index if not exists settle_inbox_dead_died on settle_inbox_dead (consumer, died_at, message_id)',
  `create table if not exists settle_inbox_offsets (
    consumer text not null,
    source text not null,
    source_partition integer not null,
    position integer not null,
    primary key (consumer, source, source_partition)
  ) without rowid`,
];

/** An older version is never changed once it was released. */
export const inboxSchema: Schema = {
  name: 'inbox',
  migrateWith: 'migrateInbox(driver)',
  versions: { postgres: [postgres], mysql: [mysql], sqlite: [sqlite] },
};

/**
 * Creates what is missing of the inbox's tables, those of its dead letters and positions among them. May run in several
 * processes at once, and at every start: where nothing is missing it is one read.
 *
 * Throws `store_newer` for tables that a newer version has made, and `unavailable` when the database does not do it.
 */
export async function migrateInbox(driver: Driver<unknown>): Promise<void> {
  await migrateSchema(driver, inboxSchema);
}

/**
 * What `migrateInbox` runs on an empty database, for those who keep all tables in migrations of their own: for each database
 * a list of statements, none of which ends in a semicolon. They may run again.
 */
export const inboxMigration: Migration = migrationOf(inboxSchema);
