/** `settle/store/sqlite`: the durable store for one process, one file, no dependency. */
import type { Store } from '../../engine/ports.ts';
import { SqliteStore } from './sqlite-store.ts';

export { groupWritesMax, listScanMax, verifyRowsMax, verifyWholeBytesMax } from './limits.ts';
export type { Store } from '../../engine/ports.ts';

export interface SqliteStoreOptions {
  /**
   * How much of the file is checked when it is opened. `bounded` (the default): all of it up to 64 MiB; of a larger
   * one the schema, the unfinished and the newest transactions. `whole`: all of it, which takes as long
   * as reading the file does (284 MB from a warm cache: 0.2 s).
   */
  readonly verify?: 'bounded' | 'whole';
}

/** A {@link Store} in a file, which can be opened ahead of its first use. */
export interface SqliteFileStore extends Store {
  /** Resolves once the file is open and checked; rejects with what every other call would reject with. */
  ready(): Promise<void>;
}

/**
 * A store in one SQLite file, created if it does not exist, opened at the first call. Made for one process: a second
 * one, or a second store in this one, is refused.
 *
 * Guarantees: what `commit` answered as written has been synced to the disk (WAL, `synchronous=FULL`); a file that is
 * damaged, newer or in use is left untouched; a wall clock that jumps moves no deadline while the store is open.
 * Does not guarantee: that a disk which lies about syncing keeps anything; that a changed byte inside a stored text is
 * noticed, or that damage to the very last commit is told from a write torn by a power failure. Not for network file
 * systems, whose locks and syncs are not to be trusted.
 *
 * @param path Of the file; relative ones count from the current folder. Beside it lie `-wal`, `-shm` and `.lock`.
 * @throws SettleError, by rejection of every call: `store_locked`, `store_corrupt`, `store_newer`, `config_invalid`
 * (no such folder); of single calls: `unavailable` (disk full, busy or failing; the worker thread is gone),
 * `cluster_mismatch` (of `join`), * `limit_exceeded`, `invalid_request`, and `shutting_down` after `close()`.
 */
export function sqliteStore(path: string, options: SqliteStoreOptions = {}): SqliteFileStore {
  return new SqliteStore({ path, verify: options.verify ?? 'bounded', synchronous: 'full' });
}
