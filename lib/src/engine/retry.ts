import type { RetryPolicy } from '../core/retry-policy.ts';
import { planted } from '../util/planted-bug.ts';
import type { Random } from './ports.ts';

/**
 * Milliseconds until the next attempt: exponential, capped, with full jitter, so that callers who failed together do
 * not come back together (Brooker, "Exponential Backoff And Jitter"). A participant's own wish is a lower bound.
 */
export function retryDelayMs(policy: RetryPolicy, attempts: number, random: Random, wishMs = 0): number {
  if (planted('retry-at-once')) return 1;
  // 2 ** 1023 overflows only after far more attempts than the cap needs.
  const ceiling = Math.min(policy.maxMs, policy.baseMs * policy.factor ** Math.min(attempts - 1, 64));
  return Math.max(wishMs, 1, random.next() * ceiling);
}
