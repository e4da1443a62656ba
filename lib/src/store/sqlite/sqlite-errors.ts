/** What an error of SQLite means for the store: try again later, or touch the file no more. */
import { isSettleError, messageOf, SettleError } from '../../util/errors.ts';
import { retryAfterMs } from './limits.ts';

export interface Verdict {
  readonly error: SettleError;
  /** Nothing more may be read or written through this connection. */
  readonly fatal: boolean;
}

/** https://www.sqlite.org/rescode.html: the primary code is the low byte. */
const primary = { busy: 5, locked: 6, ioerr: 10, corrupt: 11, full: 13, notadb: 26 } as const;

/**
 * SQLITE_IOERR_FSYNC, _DIR_FSYNC and _IN_PAGE: after a failed fsync the kernel has marked the pages clean, so neither
 * trying again nor reading back tells what is on the disk (https://www.usenix.org/conference/atc20/presentation/rebello).
 */
const lostSync: readonly number[] = [10 | (4 << 8), 10 | (5 << 8), 10 | (34 << 8)];

export function judge(error: unknown, path: string): Verdict {
  if (isSettleError(error) && error instanceof SettleError) return { error, fatal: false };
  const code = codeOf(error);
  if (isSystemError(error)) {
    const next = 'Check the file, its folder, and who may write there';
    return { error: unavailable(`${path}: ${messageOf(error)}`, next, error), fatal: false };
  }
  if (code === undefined) {
    return { error: new SettleError('internal', messageOf(error), { cause: error }), fatal: false };
  }
  switch (code & 0xff) {
    case primary.corrupt:
    case primary.notadb:
      return { error: corrupt(path, messageOf(error), error), fatal: true };
    case primary.full:
      return {
        error: unavailable(`the disk under ${path} is full`, 'Free space; it goes on by itself', error),
        fatal: false,
      };
    case primary.busy:
    case primary.locked:
      return {
        error: unavailable(`another program locks ${path}`, 'Let it end, such as a backup or a shell', error),
        fatal: false,
      };
    case primary.ioerr:
      if (lostSync.includes(code)) {
        return {
          error: new SettleError(
            'unavailable',
            `the disk under ${path} failed to sync: what it holds is unknown`,
            {
              next: 'Check the disk and start the process again; until then nothing is read or written',
              cause: error,
            },
          ),
          fatal: true,
        };
      }
      return { error: unavailable(`${path}: ${messageOf(error)}`, 'Check the disk', error), fatal: false };
    default:
      return {
        error: unavailable(`${path}: ${messageOf(error)}`, 'Check the file and its folder', error),
        fatal: false,
      };
  }
}

export function corrupt(path: string, what: string, cause?: unknown): SettleError {
  return new SettleError('store_corrupt', `${path} is damaged: ${what}`, {
    next: 'Keep a copy of the file and of its -wal for analysis, then restore a backup; Settle repairs nothing silently',
    cause,
  });
}

/** The operating system's own refusal, such as EACCES: nothing of it is a defect of ours. */
function isSystemError(error: unknown): boolean {
  return error instanceof Error && 'syscall' in error;
}

/** SQLite's extended result code, when the error is one of SQLite's. */
export function codeOf(error: unknown): number | undefined {
  if (typeof error !== 'object' || error === null || !('errcode' in error)) return undefined;
  return typeof error.errcode === 'number' ? error.errcode : undefined;
}

function unavailable(what: string, next: string, cause: unknown): SettleError {
  return new SettleError('unavailable', what, { next, retryAfterMs, cause });
}
