/**
 * Which calls were answered from a committed barrier row, so that the handler may announce it
 * (`settle-barrier: stored`): told by the barrier, asked by the handler, on the same call object.
 */
import type { Json } from '../util/json.ts';
import { resultOrRefusal, type Answer } from './answer.ts';

const kept = new WeakMap<object, Outcome>();

type Outcome =
  | { readonly kind: 'returned'; readonly result: unknown }
  | { readonly kind: 'thrown'; readonly error: unknown }
  /** Several barriers answered; none of them speaks for the whole call. */
  | { readonly kind: 'several' };

/** The answer to this call is committed; a repeat gets it again. */
export function keepAnswer(call: object, outcome: Outcome): void {
  kept.set(call, kept.has(call) ? { kind: 'several' } : outcome);
}

/**
 * Gives the result of an answer or throws its refusal, and marks the call as answered from a committed row: for the end of
 * a transaction that `barrier` ran in, once it **is committed**.
 */
export function tellAnswer(call: object, answer: Answer): Json | undefined {
  try {
    const result = resultOrRefusal(answer);
    keepAnswer(call, { kind: 'returned', result });
    return result;
  } catch (error) {
    keepAnswer(call, { kind: 'thrown', error });
    throw error;
  }
}

/** Whether what the work came to is the very answer that was kept, and not something made of it afterwards. */
export function isKept(call: object, outcome: Exclude<Outcome, { readonly kind: 'several' }>): boolean {
  const answer = kept.get(call);
  switch (answer?.kind) {
    case 'returned':
      return outcome.kind === 'returned' && outcome.result === answer.result;
    case 'thrown':
      return outcome.kind === 'thrown' && outcome.error === answer.error;
    case 'several':
    case undefined:
      return false;
  }
}
