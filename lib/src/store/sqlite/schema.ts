/**
 * The tables, as numbered migrations. `PRAGMA user_version` is how many have run; `PRAGMA application_id` says whose
 * file it is. A migration is never changed once released: add another.
 *
 * On the happy path a transaction is one insert and one update: of its row, of the unique index on its gid and of the
 * partial index, which holds unfinished rows only and so stays small however many have finished.
 */
import type { DatabaseSync } from 'node:sqlite';
import { crashPoint } from '../../util/crash-point.ts';
import { SettleError } from '../../util/errors.ts';

/** `STLE`, in the header of the file (bytes 68 to 71). */
export const applicationId = 0x53_54_4c_45;

export const pageBytes = 8_192;

// Small columns first: what lists and prunes look at is read without the pages that long texts overflow into.
const migrations: readonly string[] = [
  `
  create table settle_transaction (
    id integer primary key,
    gid text not null unique,
    pattern text not null,
    name text not null,
    status text not null,
    stuck integer not null,
    revision integer not null,
    epoch integer not null,
    created_at integer not null,
    updated_at integer not null,
    due_at integer,
    plan text not null,
    progress text not null
  );

  create index settle_transaction_due on settle_transaction (epoch, due_at) where due_at is not null;

  create table settle_lease (
    epoch integer primary key autoincrement,
    coordinator text not null,
    expires_at integer not null
  );

  create table settle_meta (
    id integer primary key check (id = 1),
    now_ms integer not null,
    row_count integer not null,
    holder_pid integer
  );

  insert into settle_meta (id, now_ms, row_count) values (1, 0, 0);
  `,
  // Null until the first coordinator joins.
  'alter table settle_meta add column cluster text;',
];

export const schemaVersion: number = migrations.length;

/** Brings the schema up to date, each migration in a transaction of its own. Throws `store_newer`. */
export function migrate(db: DatabaseSync, path: string): void {
  for (let version = versionOf(db, path); version < schemaVersion; version++) {
    crashPoint('sqlite.migrate', 'before');
    db.exec(`begin immediate; ${migrations[version] ?? ''} pragma user_version = ${version + 1}; commit`);
    crashPoint('sqlite.migrate', 'after');
  }
}

/** Throws `store_newer` when a later release has written the file. */
export function versionOf(db: DatabaseSync, path: string): number {
  const version = Number(db.prepare('pragma user_version').get()?.['user_version']);
  if (version <= schemaVersion) return version;
  throw new SettleError(
    'store_newer',
    `${path} has schema ${version}, written by a newer release; this one knows ${schemaVersion}`,
    {
      next: 'Run the newer release again, or restore the backup made before the upgrade; nothing was changed',
    },
  );
}
