/**
 * One process, one store, one file. The lock is one of the operating system, so it vanishes with the process however
 * that ends.
 *
 * It is held on a file beside the database (`<path>.lock`, empty, never deleted): POSIX drops a process's locks on a
 * file as soon as the process closes any handle of that file, and a backup that copies the database from within the
 * same process does just that. SQLite takes and keeps the lock: it knows how to on every platform, and between threads.
 */
import { DatabaseSync } from 'node:sqlite';
import { SettleError } from '../../util/errors.ts';
import { lockWaitMs } from './limits.ts';
import { codeOf } from './sqlite-errors.ts';

export interface FileLock {
  release(): void;
}

/** Throws `store_locked`. The path is a real one, without links. */
export function lockFile(path: string): FileLock {
  const db = new DatabaseSync(`${path}.lock`);
  try {
    db.exec(`pragma busy_timeout = ${lockWaitMs}; begin exclusive`);
  } catch (error) {
    db.close();
    const code = codeOf(error);
    if (code === undefined || (code & 0xff) !== 5) throw error;
    const pid = holderOf(path);
    throw new SettleError(
      'store_locked',
      `${path} is in use by ${pid === undefined ? 'another store' : `process ${pid}`}`,
      {
        next: 'One coordinator uses a file at a time: stop the other one, or give this one a file of its own',
        cause: error,
      },
    );
  }
  return { release: () => db.close() };
}

/** Best effort: the holder noted its pid when it opened the file. */
function holderOf(path: string): number | undefined {
  let db: DatabaseSync | undefined;
  try {
    db = new DatabaseSync(path, { readOnly: true });
    const pid = db.prepare('select holder_pid from settle_meta').get()?.['holder_pid'];
    return typeof pid === 'number' ? pid : undefined;
  } catch {
    return undefined;
  } finally {
    db?.close();
  }
}
