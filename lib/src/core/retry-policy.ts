/**
 * When a call whose outcome is unknown is asked again: exponential with full jitter, capped.
 * In phase 2 (confirm, cancel, compensate, delivery) the attempts have no limit, whatever the policy says.
 */
export interface RetryPolicy {
  readonly kind: 'exponential';
  readonly baseMs: number;
  readonly factor: number;
  readonly maxMs: number;
  /** Phase 1 only: calls after which the branch is exhausted; without it, until the deadline or for ever. */
  readonly attemptsMax?: number;
}

export const retryDefault: RetryPolicy = { kind: 'exponential', baseMs: 200, factor: 2, maxMs: 30_000 };

/** A try is exhausted sooner: somebody holds resources while it is open. */
export const tryRetryDefault: RetryPolicy = { ...retryDefault, attemptsMax: 4 };

/** Phase 1 answers that no retry is likely to mend (404, redirect, bad request) exhaust a branch after this many. */
export const misconfiguredAttemptsMax = 5;

/** A branch that needed this many attempts is shown as stuck. It is still retried. */
export const stuckAfterAttempts = 10;
