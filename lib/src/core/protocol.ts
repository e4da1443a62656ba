/**
 * What every pattern is: three pure functions over a plan (immutable, stored once) and a state (a union on `kind`).
 *
 *   start(plan, at)             the first state
 *   evolve(plan, state, event)  the next state; asserts where the event may come
 *   effects(plan, state)        what must happen next: derived, never stored
 *
 * Nothing here knows of clocks, networks, stores or promises. `at` and `event.at` are milliseconds of the store's clock.
 */
import type { BranchName } from './ids.ts';
import type { Op, Outcome } from './outcome.ts';
import type { Payload } from './call-spec.ts';
import type { RetryPolicy } from './retry-policy.ts';
import type { TccBranchSpec } from './tcc-plan.ts';

export interface Protocol<Plan, State extends { readonly kind: string }> {
  start(plan: Plan, at: number): State;
  evolve(plan: Plan, state: State, event: Event): State;
  effects(plan: Plan, state: State): readonly Effect[];
  /** The branches as people and the API see them. */
  branches(plan: Plan, state: State): readonly BranchView[];
}

/** Something that happened. `at` is the store's time in milliseconds. */
export type Event =
  /** A call is about to leave; from here on it may have happened. */
  | { readonly kind: 'sent'; readonly at: number; readonly branch: BranchName; readonly op: Op }
  | {
      readonly kind: 'outcome';
      readonly at: number;
      readonly branch: BranchName;
      readonly op: Op;
      readonly outcome: Outcome;
    }
  /** A `wake` effect came due. */
  | { readonly kind: 'clock'; readonly at: number }
  /** The state was read back from the store: calls that left after it was written are not in it. */
  | { readonly kind: 'recovered'; readonly at: number }
  /** The initiator of a TCC transaction adds branches. */
  | { readonly kind: 'registered'; readonly at: number; readonly branches: readonly TccBranchSpec[] }
  /** The initiator's decision: a TCC confirms, a message is delivered. */
  | { readonly kind: 'commit'; readonly at: number }
  | { readonly kind: 'abort'; readonly at: number; readonly reason: string }
  | { readonly kind: 'retry-now'; readonly at: number }
  | { readonly kind: 'force-commit'; readonly at: number; readonly reason: string }
  | { readonly kind: 'force-abort'; readonly at: number; readonly reason: string }
  | {
      readonly kind: 'skip-branch';
      readonly at: number;
      readonly branch: BranchName;
      readonly reason: string;
    }
  | { readonly kind: 'forget'; readonly at: number; readonly reason: string };

/** What must happen next. The engine never repeats one that is already under way. */
export type Effect =
  | CallEffect
  /** Send `{ kind: 'clock' }` once the store's time has reached `at`. */
  | { readonly kind: 'wake'; readonly at: number };

export interface CallEffect {
  readonly kind: 'call';
  readonly branch: BranchName;
  readonly op: Op;
  readonly address: string;
  readonly payload: Payload;
  /** Calls of this op that already ended unknown; the pause before the next one grows with it. */
  readonly attempts: number;
  readonly retry: RetryPolicy;
}

/** One branch, flattened for people: what it is at, and since how many attempts. */
export interface BranchView {
  readonly branch: BranchName;
  /** The op it is at, or the last one that was asked. */
  readonly op: Op;
  readonly status: BranchStatus;
  readonly attempts: number;
  readonly result?: import('../util/json.ts').Json;
  readonly reason?: string;
}

export type BranchStatus =
  | 'waiting'
  | 'called'
  | 'done'
  | 'refused'
  | 'parked'
  | 'skipped'
  | 'undoing'
  | 'undone'
  | 'confirming'
  | 'confirmed';
