/**
 * Opens the file, or says why not. In this order, so that a file which is not ours, damaged, newer or in use is left
 * exactly as it was found: lock, header and log, version, check, and only then the first write.
 */
import {
  closeSync,
  existsSync,
  fsyncSync,
  lstatSync,
  openSync,
  readlinkSync,
  readSync,
  realpathSync,
  renameSync,
  rmSync,
  statSync,
} from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { crashPoint } from '../../util/crash-point.ts';
import { SettleError } from '../../util/errors.ts';
import { type FileLock, lockFile } from './file-lock.ts';
import { busyWaitMs, checkpointPages, logBytesKept } from './limits.ts';
import { applicationId, migrate, pageBytes, versionOf } from './schema.ts';
import { corrupt } from './sqlite-errors.ts';
import { verify, type VerifyMode } from './verify.ts';
import { damageOfWal } from './wal-check.ts';

export interface OpenOptions {
  readonly path: string;
  readonly verify: VerifyMode;
  /** `off` only for simulations: acknowledged writes are then lost when the machine fails. */
  readonly synchronous: 'full' | 'off';
  /** Tests only: how large the file may grow, in pages; stands for a full disk. */
  readonly pagesMax?: number;
}

export interface OpenDatabase {
  readonly db: DatabaseSync;
  /** Real, without links. */
  readonly path: string;
  close(): void;
}

export function openDatabase(options: OpenOptions): OpenDatabase {
  const path = realPath(options.path);
  crashPoint('sqlite.lock', 'before');
  const lock = lockFile(path);
  crashPoint('sqlite.lock', 'after');
  try {
    if (!existsSync(path)) create(path);
    inspect(path);
    const db = new DatabaseSync(path);
    try {
      crashPoint('sqlite.configure', 'before');
      configure(db, options);
      crashPoint('sqlite.configure', 'after');
      crashPoint('sqlite.verify', 'before');
      verify(db, path, options.verify);
      crashPoint('sqlite.verify', 'after');
      migrate(db, path);
      takeOver(db);
    } catch (error) {
      db.close();
      throw error;
    }
    return { db, path, close: () => closeBoth(db, lock) };
  } catch (error) {
    lock.release();
    throw error;
  }
}

/** The file that every name of it leads to, so that all of them meet at one lock. */
function realPath(given: string): string {
  if (given === '' || given.startsWith(':')) {
    throw new SettleError('config_invalid', `${JSON.stringify(given)} is not the path of a file`, {
      next: 'Use memoryStore() for a store that keeps nothing',
    });
  }
  let path = resolve(given);
  // A link may point to a file that does not exist yet.
  for (
    let links = 0;
    links < 16 && lstatSync(path, { throwIfNoEntry: false })?.isSymbolicLink() === true;
    links++
  ) {
    path = resolve(dirname(path), readlinkSync(path));
  }
  if (!existsSync(dirname(path))) {
    throw new SettleError('config_invalid', `the folder of ${path} does not exist`, {
      next: 'Create it first',
    });
  }
  if (lstatSync(path, { throwIfNoEntry: false })?.isDirectory() === true) {
    throw new SettleError('config_invalid', `${path} is a folder`, { next: 'Name a file in it' });
  }
  return join(realpathSync(dirname(path)), basename(path));
}

/** Built aside and renamed when complete: a file under its own name is never half made, an empty one never ours. */
function create(path: string): void {
  if (existsSync(`${path}-wal`)) {
    throw corrupt(path, `it is gone, but its write-ahead log ${path}-wal is there`);
  }
  const unfinished = `${path}.creating`;
  for (const suffix of ['', '-wal', '-shm', '-journal']) rmSync(unfinished + suffix, { force: true });
  crashPoint('sqlite.create', 'before');
  const db = new DatabaseSync(unfinished);
  try {
    db.exec(`
      pragma page_size = ${pageBytes};
      pragma application_id = ${applicationId};
      pragma journal_mode = wal;
      pragma synchronous = full;
    `);
    crashPoint('sqlite.create', 'after');
    migrate(db, path);
  } finally {
    db.close();
  }
  crashPoint('sqlite.rename', 'before');
  renameSync(unfinished, path);
  syncFolder(dirname(path));
  crashPoint('sqlite.rename', 'after');
}

function syncFolder(folder: string): void {
  // Windows has no handle to sync a folder by; it does so with the rename.
  if (process.platform === 'win32') return;
  const handle = openSync(folder, 'r');
  try {
    fsyncSync(handle);
  } finally {
    closeSync(handle);
  }
}

/** Reads only. */
function inspect(path: string): void {
  const { size } = statSync(path);
  if (size === 0) throw corrupt(path, 'it is empty; remove it if it never was a store');
  const header = readStart(path, 100);
  if (header.toString('latin1', 0, 16) !== 'SQLite format 3\0')
    throw corrupt(path, 'it is not a SQLite database');
  if (header.readUInt32BE(68) !== applicationId) {
    throw corrupt(path, 'it is a SQLite database, but not one of Settle; give the store a file of its own');
  }
  const damage = damageOfWal(`${path}-wal`);
  if (damage !== undefined) throw corrupt(path, damage);
  // A connection that may write would copy the log into the file as it closes, and so change what is not for us.
  const db = new DatabaseSync(path, { readOnly: true });
  try {
    versionOf(db, path);
  } finally {
    db.close();
  }
}

function readStart(path: string, length: number): Buffer {
  const file = openSync(path, 'r');
  try {
    const bytes = Buffer.alloc(length);
    readSync(file, bytes, 0, length, 0);
    return bytes;
  } finally {
    closeSync(file);
  }
}

function configure(db: DatabaseSync, { synchronous, pagesMax }: OpenOptions): void {
  db.exec(`
    pragma busy_timeout = ${busyWaitMs};
    pragma journal_mode = wal;
    pragma synchronous = ${synchronous};
    pragma wal_autocheckpoint = ${checkpointPages};
    pragma journal_size_limit = ${logBytesKept};
    pragma cache_size = -65536;
    pragma temp_store = memory;
    ${pagesMax === undefined ? '' : `pragma max_page_count = ${pagesMax}`}
  `);
}

/** Whoever holds the lock is alone: leases of earlier processes have ended with them. */
function takeOver(db: DatabaseSync): void {
  crashPoint('sqlite.forget-leases', 'before');
  db.exec(`
    begin immediate;
    delete from settle_lease;
    update settle_meta set holder_pid = ${process.pid};
    commit
  `);
  crashPoint('sqlite.forget-leases', 'after');
}

function closeBoth(db: DatabaseSync, lock: FileLock): void {
  try {
    // The log is copied into the file, which is then whole without it.
    crashPoint('sqlite.checkpoint', 'before');
    db.exec('pragma wal_checkpoint(truncate)');
    crashPoint('sqlite.checkpoint', 'after');
  } finally {
    try {
      crashPoint('sqlite.close', 'before');
      db.close();
      crashPoint('sqlite.close', 'after');
    } finally {
      lock.release();
    }
  }
}
