/** What the failure of an attempt means for the message. */
import { isOngoing, isRefused } from '../define/answers.ts';
import { isSettleError, messageOf, type ErrorCode } from '../util/errors.ts';

/**
 * - `refused`: it will never succeed.
 * - `message`: it may succeed later, and counts against the attempts of the message.
 * - `surroundings`: the database or its tables; no fault of the message, which must not die of it.
 * - `committed`: it was handled, and a hook after the commit failed.
 */
export type AttemptFailure = Failed<'refused' | 'message' | 'surroundings'> | { readonly kind: 'committed' };

export interface Failed<Kind extends string> {
  readonly kind: Kind;
  readonly reason: string;
  /** Milliseconds before which another attempt is of no use. */
  readonly notBeforeMs: number;
}

export function attemptFailure(error: unknown, isWorkDone: boolean): AttemptFailure {
  if (isRefused(error)) return { kind: 'refused', reason: error.reason, notBeforeMs: 0 };
  const reason = messageOf(error);
  if (isOngoing(error)) return { kind: 'message', reason, notBeforeMs: error.retryAfterMs ?? 0 };
  if (!isSettleError(error)) return { kind: 'message', reason, notBeforeMs: 0 };
  if (isWorkDone && error.code === 'post_commit_failed') return { kind: 'committed' };
  const kind = surroundings.has(error.code) ? 'surroundings' : 'message';
  return { kind, reason, notBeforeMs: error.retryAfterMs ?? 0 };
}

const surroundings = new Set<ErrorCode>([
  'connection_lost',
  'pool_exhausted',
  'database_unreachable',
  'database_access_denied',
  'commit_unknown',
  'transaction_cancelled',
  'tables_missing',
  'store_newer',
  'unavailable',
  'overloaded',
  'shutting_down',
]);
