/** Every limit of the SQLite store, with its unit (D9). */

/** Writes that go down in one transaction and one fsync; what waits beyond it goes with the next. */
export const groupWritesMax = 4_000;

/** Rows that one page of a list may look at; then the page ends short, with a cursor. */
export const listScanMax = 2_000;

/** Up to so many unfinished rows, a list of unfinished ones reads their index instead of walking all rows. */
export const listUnfinishedMax = 20_000;

/** Rows that one prune may look at. */
export const pruneScanMax = 2_000;

/** Bytes up to which the whole file is checked at opening; beyond, the parts `verify.ts` names. */
export const verifyWholeBytesMax: number = 64 * 1024 * 1024;

/** Rows of the newest end, and of the unfinished ones, that are read at opening when the file is larger than that. */
export const verifyRowsMax = 5_000;

/** Pages in the write-ahead log (8 KiB each) at which SQLite copies them into the file. */
export const checkpointPages = 1_000;

/** Bytes that the log keeps on disk after a checkpoint. */
export const logBytesKept: number = 64 * 1024 * 1024;

/** Milliseconds to wait for a holder that is just ending, before `store_locked`. */
export const lockWaitMs = 250;

/** Milliseconds to wait for another program (a backup, a shell) that locks the database; then `unavailable`. */
export const busyWaitMs = 2_000;

/** Milliseconds after which asking again makes sense when the disk is full or busy. */
export const retryAfterMs = 1_000;
