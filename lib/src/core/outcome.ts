import type { Json } from '../util/json.ts';

/** What a branch can be asked to do. */
export type Op = 'action' | 'compensate' | 'try' | 'confirm' | 'cancel' | 'check';

/**
 * What is known after asking a branch.
 * - `done`: it happened, durably.
 * - `refused`: the business said no; nothing happened.
 * - `ongoing`: still at it; ask again at the same pace.
 * - `unknown`: may or may not have happened; may only lead to asking again, or to undoing.
 *   `misconfigured` marks answers no retry is likely to mend (404, a redirect): they exhaust sooner.
 *   `contrary` marks a no to what follows a decision, which no participant may refuse.
 */
export type Outcome =
  | { readonly kind: 'done'; readonly result?: Json }
  | { readonly kind: 'refused'; readonly reason: string }
  | { readonly kind: 'ongoing'; readonly retryAfterMs?: number }
  | {
      readonly kind: 'unknown';
      readonly reason: string;
      readonly misconfigured?: true;
      readonly contrary?: true;
      readonly retryAfterMs?: number;
    };
