/** Tables of given (plan, events) / when (event) / then (status, effects, branches) for the protocols of the core. */
import { parseBranchName } from '../core/ids.ts';
import type { Op, Outcome } from '../core/outcome.ts';
import { branches, effects, evolve, start, type Plan, type State } from '../core/patterns.ts';
import type { CallEffect, Effect, Event } from '../core/protocol.ts';
import type { Json } from '../util/json.ts';

/** Where a transaction stands: what a test compares. */
export interface Situation {
  readonly status: State['kind'];
  /** `op branch` of every call that must be made, and `wake at`, in their order. */
  readonly effects: readonly string[];
  /** Each branch by name with the status people see. */
  readonly branches: Readonly<Record<string, string>>;
}

/** Starts at 0 and lets all of it happen. */
export function stateAfter(plan: Plan, ...events: readonly Event[]): State {
  return events.reduce((state, event) => evolve(plan, state, event), start(plan, 0));
}

export function situation(plan: Plan, ...events: readonly Event[]): Situation {
  return situationOf(plan, stateAfter(plan, ...events));
}

export function situationOf(plan: Plan, state: State): Situation {
  const views = branches(plan, state).map(({ branch, status }) => [branch, status] as const);
  return {
    status: state.kind,
    effects: effects(plan, state).map(nameOf),
    branches: Object.fromEntries(views),
  };
}

/** The call that must be made next of this branch. Throws when there is none. */
export function callOf(plan: Plan, state: State, branch: string): CallEffect {
  for (const effect of effects(plan, state)) {
    if (effect.kind === 'call' && effect.branch === branch) return effect;
  }
  throw new Error(`${branch} is not called in ${JSON.stringify(state)}`);
}

function nameOf(effect: Effect): string {
  return effect.kind === 'wake' ? `wake ${effect.at}` : `${effect.op} ${effect.branch}`;
}

// ---- events, at the time 0 unless they say otherwise

export function sent(branch: string, op: Op = 'action'): Event {
  return { kind: 'sent', at: 0, branch: parseBranchName(branch), op };
}

export function answered(branch: string, op: Op, outcome: Outcome, at = 0): Event {
  return { kind: 'outcome', at, branch: parseBranchName(branch), op, outcome };
}

export function done(branch: string, op: Op = 'action', result?: Json): Event {
  return answered(branch, op, result === undefined ? { kind: 'done' } : { kind: 'done', result });
}

export function refused(branch: string, op: Op = 'action', reason = 'no'): Event {
  return answered(branch, op, { kind: 'refused', reason });
}

export function unknown(branch: string, op: Op = 'action', reason = 'timeout'): Event {
  return answered(branch, op, { kind: 'unknown', reason });
}

export function misconfigured(branch: string, op: Op = 'action'): Event {
  return answered(branch, op, { kind: 'unknown', reason: '404', misconfigured: true });
}

export function ongoing(branch: string, op: Op = 'action'): Event {
  return answered(branch, op, { kind: 'ongoing' });
}

export function clock(at: number): Event {
  return { kind: 'clock', at };
}

export const recovered: Event = { kind: 'recovered', at: 0 };
export const commit: Event = { kind: 'commit', at: 0 };
export const retryNow: Event = { kind: 'retry-now', at: 0 };
export const abort: Event = { kind: 'abort', at: 0, reason: 'asked for' };
export const forceCommit: Event = { kind: 'force-commit', at: 0, reason: 'asked for' };
export const forceAbort: Event = { kind: 'force-abort', at: 0, reason: 'asked for' };
export const forget: Event = { kind: 'forget', at: 0, reason: 'asked for' };

export function skip(branch: string): Event {
  return { kind: 'skip-branch', at: 0, branch: parseBranchName(branch), reason: 'asked for' };
}

/** A step that was called and did it: the usual pair. */
export function passed(branch: string, op: Op = 'action', result?: Json): readonly Event[] {
  return [sent(branch, op), done(branch, op, result)];
}

/** The same event that often. */
export function times(count: number, event: Event): readonly Event[] {
  return Array.from({ length: count }, () => event);
}
