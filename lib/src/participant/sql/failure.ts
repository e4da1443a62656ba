/** What a database's error means for the barrier, and what the caller is told of it. */
import { messageOf, SettleError } from '../../util/errors.ts';

/**
 * - `conflict`: a deadlock or a serialization failure; the whole transaction may succeed when it is tried again.
 * - `busy`: it waited too long, for a lock or for its end.
 * - `lost`: the connection is gone; the server rolls back what was not committed.
 * - `no-table`: the barrier's table is not there.
 * - `ended`: no transaction is open, or not the one the call began in.
 * - `aborted`: a statement failed before, and the server refuses all that follow.
 */
export type Failure = 'conflict' | 'busy' | 'lost' | 'no-table' | 'ended' | 'aborted';

const next: Record<Failure | 'other', string> = {
  conflict:
    'It is asked again. If it stays, many calls change the same rows: raise attemptsMax, or lock in one order',
  busy: 'It is asked again. If it stays, look for a transaction that holds locks for long',
  lost: 'It is asked again, and answered from its row if it was committed',
  'no-table': 'Call migrate() at the start; the table belongs into the database of the business data',
  ended:
    'Work must neither begin nor end a transaction, nor change tables where that commits (MySQL, MariaDB)',
  aborted:
    'Work must not go on after an error of the database, unless it rolls back to a savepoint of its own',
  other: 'It is asked again; the cause says what the database complains of',
};

const what: Record<Failure | 'other', string> = {
  conflict: 'its transaction met another one',
  busy: 'it waited too long in the database',
  lost: 'the connection to the database was lost',
  'no-table': 'the table settle_barrier is missing',
  ended: 'the transaction ended while a call was running in it, or was never begun',
  aborted: 'its transaction can only be rolled back',
  other: 'its transaction failed',
};

/** The error a caller gets for one of the database: `unavailable`, so that the call comes again. */
export function explained(error: unknown, failure: Failure | undefined): SettleError {
  const kind = failure ?? 'other';
  return new SettleError('unavailable', `the barrier: ${what[kind]}: ${messageOf(error)}`, {
    next: next[kind],
    retryAfterMs: 1_000,
    cause: error,
  });
}

/** Asks for the meaning of an error, and of what it was made of: libraries wrap the errors of their drivers. */
export function failureIn<F>(error: unknown, meaning: (error: object) => F | undefined): F | undefined {
  let at = error;
  for (let depth = 0; depth < causesMax; depth++) {
    if (typeof at !== 'object' || at === null) return undefined;
    const found = meaning(at);
    if (found !== undefined) return found;
    at = 'cause' in at ? at.cause : undefined;
  }
  return undefined;
}

const causesMax = 10;

/** Errors of the socket, by the code Node gives them. */
const socketErrors = new Set([
  'ECONNRESET',
  'ECONNREFUSED',
  'ECONNABORTED',
  'EPIPE',
  'ETIMEDOUT',
  'EHOSTUNREACH',
  'ENETUNREACH',
]);

export function isSocketError(code: unknown): boolean {
  return typeof code === 'string' && socketErrors.has(code);
}
