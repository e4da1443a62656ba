/** What a relay tells whoever listens. Losing one changes nothing: facts stand in the tables. */
import type { DeadCause } from './store.ts';

export type RelayEvent =
  /** One call of a publisher has ended. */
  | {
      readonly kind: 'batch';
      readonly target: string;
      readonly messages: number;
      readonly published: number;
      /** Of those published, how many the broker had already. */
      readonly duplicates: number;
      readonly durationMs: number;
    }
  /** A message failed, and is tried again. */
  | {
      readonly kind: 'failed';
      readonly id: string;
      readonly type: string;
      readonly destination: string;
      readonly attempts: number;
      readonly reason: string;
      readonly retryInMs: number;
    }
  /** A message was given up, and lies among the dead letters. */
  | {
      readonly kind: 'dead';
      readonly id: string;
      readonly type: string;
      readonly destination: string;
      readonly cause: DeadCause;
      readonly reason: string;
    }
  /** A publisher takes nothing, or takes messages again. */
  | { readonly kind: 'held'; readonly target: string; readonly reason: string; readonly retryInMs: number }
  | { readonly kind: 'open'; readonly target: string }
  /** Which lanes this relay has from now on. */
  | { readonly kind: 'lanes'; readonly held: number; readonly gained: number; readonly lost: number }
  /** Something a person should look at; nothing was lost. */
  | { readonly kind: 'warning'; readonly code: RelayWarning; readonly error: Error };

/**
 * - `store_unavailable`: the database did not answer; the relay tries again.
 * - `lease_lost`: others had taken lanes over before this relay could write down what it had published there.
 * - `no_publisher`: messages wait for a publisher that this relay does not have.
 * - `publisher_broken`: a publisher did not keep to its port.
 * - `wake`: a source of wake-ups does not work; messages wait for the next poll.
 */
export type RelayWarning = 'store_unavailable' | 'lease_lost' | 'no_publisher' | 'publisher_broken' | 'wake';

/** What fails in a listener is his own matter: it stops no message. */
export function tellSafely(
  listener: ((event: RelayEvent) => unknown) | undefined,
): (event: RelayEvent) => void {
  return (event) => {
    try {
      Promise.resolve(listener?.(event)).catch(() => undefined);
    } catch {
      // As above.
    }
  };
}
