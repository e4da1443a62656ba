import { isSettleError, type ErrorCode } from '../util/errors.ts';
import type { Dialect } from './dialect.ts';
import { retryBaseMsDefault, retryMaxMsDefault, type RetryOptions } from './options.ts';

/**
 * Milliseconds to wait before the transaction is tried again, with full jitter; undefined when it is not, because the
 * attempts are used up or the error is not one that another attempt may mend.
 */
export function pauseBeforeRetryMs(
  error: unknown,
  attempt: number,
  retry: RetryOptions,
  dialect: Dialect,
  random: () => number,
): number | undefined {
  if (attempt >= retry.attemptsMax || !mayMend(error, dialect)) return undefined;
  const { baseMs = retryBaseMsDefault, maxMs = retryMaxMsDefault } = retry;
  return random() * Math.min(maxMs, baseMs * 2 ** (attempt - 1));
}

const causesMax = 10;

function mayMend(error: unknown, dialect: Dialect): boolean {
  const causes: Error[] = [];
  for (let at = error; at instanceof Error && causes.length < causesMax; at = at.cause) causes.push(at);
  if (causes.some(mayBeCommitted)) return false;
  return causes.some((cause) => {
    if (isSettleError(cause)) return false;
    const { kind } = dialect.failureOf(cause);
    return kind === 'serialization' || kind === 'deadlock';
  });
}

/** What is committed, or may be, must not happen twice, whoever wrapped the error that says so. */
function mayBeCommitted(error: Error): boolean {
  return isSettleError(error) && committing.has(error.code);
}

const committing = new Set<ErrorCode>(['post_commit_failed', 'commit_unknown', 'implicit_commit']);
