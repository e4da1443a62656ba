/** How far a scope has come. */
import { messageOf } from '../util/errors.ts';

export type ScopeState =
  | { readonly kind: 'active' }
  /** The function has returned; what it began is waited for. */
  | { readonly kind: 'closing' }
  | { readonly kind: 'ended'; readonly reason: Ended };

export type Ended = { readonly kind: 'completed' } | { readonly kind: 'failed'; readonly error: unknown };

export const active: ScopeState = { kind: 'active' };
export const closing: ScopeState = { kind: 'closing' };
export const completed: Ended = { kind: 'completed' };

/** For messages, after the name of the scope. */
export function told(state: ScopeState): string {
  switch (state.kind) {
    case 'active':
      return 'goes on';
    case 'closing':
      return 'is ending';
    case 'ended':
      return state.reason.kind === 'completed' ? 'has ended' : `has failed: ${messageOf(state.reason.error)}`;
  }
}
