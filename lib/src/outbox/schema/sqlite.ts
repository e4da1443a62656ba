/** The outbox's tables on SQLite, from 3.42 on. Text compares byte by byte. */
import { laneCount } from '../message.ts';

const nowMs = "(cast(round(unixepoch('subsec') * 1000) as integer))";

const message = `
    id text not null,
    target text not null,
    aggregatetype text not null,
    aggregateid text,
    type text not null,
    payload text not null,
    version integer not null,
    headers text,
    created_at integer not null default ${nowMs},
    attempts integer not null default 0,
    starts integer not null default 0`;

// The number is the row's own, which never comes twice (autoincrement), also when the table was empty in between.
const messages = `
  create table if not exists settle_outbox (
    lane integer not null,
    seq integer primary key autoincrement,${message},
    due_at integer,
    last_error text
  )`;

const delayed = `
  create table if not exists settle_outbox_delayed (
    lane integer not null,
    seq integer primary key autoincrement,${message},
    due_at integer not null,
    last_error text
  )`;

const dead = `
  create table if not exists settle_outbox_dead (
    lane integer not null,
    seq integer not null,${message},
    due_at integer,
    last_error text,
    cause text not null,
    reason text not null,
    died_at integer not null default ${nowMs},
    blocks_key integer not null,
    primary key (lane, seq)
  )`;

const lanes = `
  create table if not exists settle_outbox_lanes (
    lane integer primary key,
    owner text,
    token integer not null default 0,
    lease_until integer
  )`;

const relays = `
  create table if not exists settle_outbox_relays (
    relay text not null primary key,
    lease_until integer not null
  ) without rowid`;

const dedup = `
  create table if not exists settle_outbox_dedup (
    dedup_key text not null primary key,
    message_id text not null,
    created_at integer not null default ${nowMs}
  ) without rowid`;

export const sqliteVersion1: readonly string[] = [
  messages,
  'create unique index if not exists settle_outbox_lane on settle_outbox (lane, seq)',
  delayed,
  'create index if not exists settle_outbox_delayed_due on settle_outbox_delayed (due_at, seq)',
  dead,
  'create index if not exists settle_outbox_dead_died on settle_outbox_dead (died_at, lane, seq)',
  'create index if not exists settle_outbox_dead_id on settle_outbox_dead (id)',
  'create index if not exists settle_outbox_dead_blocks on settle_outbox_dead (lane) where blocks_key = 1',
  lanes,
  `insert or ignore into settle_outbox_lanes (lane) values ${Array.from({ length: laneCount }, (_, lane) => `(${lane})`).join(',')}`,
  relays,
  dedup,
  'create index if not exists settle_outbox_dedup_created on settle_outbox_dedup (created_at)',
];
