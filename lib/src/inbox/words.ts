/** What is different from one SQL database to the next, of the statements of the inbox. */
import type { ForEachDatabase } from '../local/schema.ts';
import type { SqlResult, SqlValue } from '../util/sql.ts';
import type { MessageKey } from './message-key.ts';

export interface Statement {
  readonly sql: string;
  readonly values: readonly SqlValue[];
}

/** Runs a statement of the inbox in a transaction. */
export type Ask = (statement: Statement) => Promise<SqlResult>;

export interface Words {
  /** The placeholder of the n-th value, from 1 on. */
  readonly value: (n: number) => string;
  /** The same for text that compares byte by byte; `bytes` makes the value of it. */
  readonly bytesValue: (n: number) => string;
  readonly bytes: (text: string) => SqlValue;
  /** An expression that reads such text, and what makes text of what it read. */
  readonly readBytes: (column: string) => string;
  readonly textOf: (read: unknown) => string;
  /** Milliseconds since 1970 by the clock of the database. */
  readonly nowMs: string;
  /** What follows an insert that does nothing where its key is there, and waits for an open transaction that inserted it. */
  readonly unlessThere: string;
  /** Whether that insert placed its row. */
  readonly isPlaced: (result: SqlResult) => boolean;
  /** What follows a select to make it read what is committed by now, whatever the transaction read before. */
  readonly latest: string;
  /** What follows an insert to overwrite these columns of the row with its key. */
  readonly overwriting: (key: readonly string[], columns: readonly string[]) => string;
  /** The same for one column that only grows. */
  readonly raising: (table: string, key: readonly string[], column: string) => string;
  /** A condition on rows that keeps a delete to the first `limit` of them in this order, where a delete cannot say so itself. */
  readonly deleteFirst: (table: string, where: string, order: string, limit: number) => string;
  /** Undefined where a transaction that writes is the only one. */
  readonly lock: LockWords | undefined;
}

/** A lock for one message, held to the end of the transaction. */
export interface LockWords {
  readonly wait: (key: MessageKey) => Statement;
  /** Does not wait. */
  readonly tryIt: (key: MessageKey) => Statement;
  readonly isLocked: (result: SqlResult) => boolean;
}

/**
 * Of MySQL and MariaDB. Messages that share a slot wait for each other. A version that changes this does not wait for the
 * transactions of the one before; effects stay single, by the row.
 */
export const lockSlots = 1_024;

/** Two messages with one hash wait for each other, and that is all. */
const advisoryKey = 'hashtextextended($1::text, 7271020393)';

const postgres: Words = {
  value: (n) => `$${n}`,
  bytesValue: (n) => `$${n}`,
  bytes: (text) => text,
  readBytes: (column) => column,
  textOf: String,
  nowMs: '(extract(epoch from clock_timestamp()) * 1000)::bigint',
  // Above read committed, a row that this transaction cannot see is a serialization failure, not one passed over.
  unlessThere: 'on conflict do nothing',
  isPlaced: ({ affected }) => affected === 1,
  latest: '',
  overwriting: onConflictOverwrite,
  raising: onConflictRaise,
  // An array, so that the rows are chosen once; those in use are left for the next time.
  deleteFirst: (table, where, order, limit) =>
    `delete from ${table} where ctid = any (array(
       select ctid from ${table} where ${where} order by ${order} limit ${limit} for update skip locked))`,
  lock: {
    wait: (key) => ({ sql: `select pg_advisory_xact_lock(${advisoryKey})`, values: [keyText(key)] }),
    tryIt: (key) => ({
      sql: `select case when pg_try_advisory_xact_lock(${advisoryKey}) then 1 else 0 end as locked`,
      values: [keyText(key)],
    }),
    isLocked: ({ rows: [row] }) => isRow(row) && row['locked'] !== 0,
  },
};

const selectSlot = `select slot from settle_inbox_lock where slot = crc32(?) % ${lockSlots}`;

const mysql: Words = {
  value: () => '?',
  // In digits, so that neither the character set of the connection nor a mode of the server changes a byte.
  bytesValue: () => 'unhex(?)',
  bytes: (text) => Buffer.from(text).toString('hex'),
  readBytes: (column) => `hex(${column})`,
  textOf: (read) => Buffer.from(String(read), 'hex').toString(),
  // Of no time zone, so that no hour comes twice.
  nowMs: "(timestampdiff(microsecond, '1970-01-01', utc_timestamp(3)) div 1000)",
  // Waits with the lock it is going to need. `insert ignore`, and an insert that fails, wait with a shared one, which two of
  // them then want to raise: a deadlock. Only when the first rolls back, all but one of those waiting are victims here, too,
  // since the lock they get is on a gap (test/inbox/naive.services.test.ts counts); with a slot, none. `repeats` tells the two
  // ends apart, whatever the flags of the connection.
  unlessThere: 'on duplicate key update repeats = repeats + 1',
  isPlaced: ({ affected }) => affected === 1,
  latest: 'for update',
  overwriting: (_key, columns) =>
    `on duplicate key update ${columns.map((column) => `${column} = values(${column})`).join(', ')}`,
  raising: (_table, _key, column) =>
    `on duplicate key update ${column} = greatest(${column}, values(${column}))`,
  deleteFirst: (table, where, order, limit) =>
    `delete from ${table} where ${where} order by ${order} limit ${limit}`,
  lock: {
    wait: (key) => ({ sql: `${selectSlot} for update`, values: [keyHex(key)] }),
    tryIt: (key) => ({ sql: `${selectSlot} for update skip locked`, values: [keyHex(key)] }),
    isLocked: ({ rows }) => rows.length > 0,
  },
};

const sqlite: Words = {
  value: () => '?',
  bytesValue: () => '?',
  bytes: (text) => text,
  readBytes: (column) => column,
  textOf: String,
  nowMs: "(cast(round(unixepoch('subsec') * 1000) as integer))",
  unlessThere: 'on conflict do nothing',
  isPlaced: ({ affected }) => affected === 1,
  latest: '',
  overwriting: onConflictOverwrite,
  raising: onConflictRaise,
  deleteFirst: (table, where, order, limit) =>
    `delete from ${table} where rowid in (select rowid from ${table} where ${where} order by ${order} limit ${limit})`,
  lock: undefined,
};

export const words: ForEachDatabase<Words> = { postgres, mysql, sqlite };

function onConflictOverwrite(key: readonly string[], columns: readonly string[]): string {
  const set = columns.map((column) => `${column} = excluded.${column}`).join(', ');
  return `on conflict (${key.join(', ')}) do update set ${set}`;
}

function onConflictRaise(table: string, key: readonly string[], column: string): string {
  return `on conflict (${key.join(', ')}) do update set ${column} = excluded.${column}
    where ${table}.${column} < excluded.${column}`;
}

/** No name of a consumer has a line break. */
function keyText({ consumer, messageId }: MessageKey): string {
  return `${consumer}\n${messageId}`;
}

function keyHex(key: MessageKey): string {
  return Buffer.from(keyText(key)).toString('hex');
}

export function isRow(row: unknown): row is Readonly<Record<string, unknown>> {
  return typeof row === 'object' && row !== null;
}
