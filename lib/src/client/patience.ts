import { isSettleError, SettleError } from '../util/errors.ts';

/** How long, and at which pace, a request without an answer is repeated. */
export interface Patience {
  /** Milliseconds after which the last error is thrown. 0: never repeat. Default 15,000. */
  readonly forMs: number;
  /** Milliseconds of the first pause, which doubles; each is drawn between 0 and that ("full jitter"). Default 100. */
  readonly baseMs: number;
  /** Milliseconds no pause exceeds, unless the coordinator asks for more. Default 2,000. */
  readonly maxMs: number;
}

export const patienceDefault: Patience = { forMs: 15_000, baseMs: 100, maxMs: 2_000 };

/** What was not answered, and whether asking again can do harm. */
export type Attempt<T> =
  | { readonly kind: 'answered'; readonly value: T }
  | { readonly kind: 'failed'; readonly error: SettleError; readonly again: boolean };

/**
 * Asks until there is an answer, an error that a repeat would not mend, or no patience left.
 * Rejects with the signal's reason when it aborts.
 */
export async function patiently<T>(
  attempt: () => Promise<Attempt<T>>,
  { forMs, baseMs, maxMs }: Patience,
  signal: AbortSignal | undefined,
): Promise<T> {
  const startedMs = performance.now();
  for (let pauseMs = baseMs; ; pauseMs = Math.min(pauseMs * 2, maxMs)) {
    signal?.throwIfAborted();
    const reply = await attempt();
    if (reply.kind === 'answered') return reply.value;
    signal?.throwIfAborted();
    const delayMs = Math.max(Math.random() * pauseMs, reply.error.retryAfterMs ?? 0);
    if (!reply.again || performance.now() - startedMs + delayMs > forMs) throw reply.error;
    await pause(delayMs, signal);
  }
}

/** Refusals that pass by themselves, and before which nothing happened or a repeat finds what happened. */
export function mayPass(error: unknown): boolean {
  if (!isSettleError(error)) return false;
  switch (error.code) {
    case 'overloaded':
    case 'unavailable':
    case 'shutting_down':
    case 'lease_lost':
      return true;
    default:
      return false;
  }
}

function pause(delayMs: number, signal: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve, reject) => {
    const done = (): void => {
      signal?.removeEventListener('abort', aborted);
      resolve();
    };
    const timer = setTimeout(done, delayMs);
    const aborted = (): void => {
      clearTimeout(timer);
      reject(signal?.reason instanceof Error ? signal.reason : new Error('aborted'));
    };
    signal?.addEventListener('abort', aborted, { once: true });
  });
}
