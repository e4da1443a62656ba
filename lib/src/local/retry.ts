import { isSettleError } from '../util/errors.ts';
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
  let at = error;
  for (let depth = 0; depth < causesMax && at instanceof Error; depth++) {
    if (isSettleError(at)) {
      // What is committed, or may be, must not happen twice.
      if (at.code === 'post_commit_failed' || at.code === 'commit_unknown' || at.code === 'implicit_commit')
        return false;
    } else {
      const { kind } = dialect.failureOf(at);
      if (kind === 'serialization' || kind === 'deadlock') return true;
    }
    at = at.cause;
  }
  return false;
}
