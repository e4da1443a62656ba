/** What a consumer tells whoever listens, for metrics and logs. Losing one changes nothing. */
import type { DeadCause } from '../inbox/dead-letters.ts';
import type { IncomingMessage } from './incoming.ts';

export type ConsumerEvent = { readonly consumer: string; readonly message: IncomingMessage } & (
  | {
      readonly kind: 'handled';
      /** It was handled at an earlier delivery. */
      readonly duplicate: boolean;
      /** The one that succeeded, from 1 on. */
      readonly attempt: number;
      /** From its arrival on, pauses included. */
      readonly durationMs: number;
    }
  /** An attempt failed, and another one follows. */
  | { readonly kind: 'failed'; readonly attempt: number; readonly error: unknown; readonly retryInMs: number }
  /** It lies among the dead letters. */
  | { readonly kind: 'dead'; readonly cause: DeadCause; readonly reason: string; readonly attempts: number }
  /** Nobody here handles its type, which is known. */
  | { readonly kind: 'skipped' }
  /** It stays with its broker, and comes again. */
  | { readonly kind: 'not-handled'; readonly reason: string }
  /** It is handled, and what was to follow its commit failed. */
  | { readonly kind: 'hook-failed'; readonly error: unknown }
);
