/** The patterns that exist, as one type: what engine, API and store know of them. A new pattern is added here. */
import type { Gid } from './ids.ts';
import { message, type MessageState } from './message.ts';
import { planMessage, type MessageDefinition, type MessagePlan } from './message-plan.ts';
import type { BranchStatus, BranchView, Effect, Event, Protocol } from './protocol.ts';
import { stuckAfterAttempts } from './retry-policy.ts';
import { saga, type SagaState } from './saga.ts';
import { planSaga, type SagaDefinition, type SagaPlan } from './saga-plan.ts';
import { tcc, type TccState } from './tcc.ts';
import { planTcc, type TccDefinition, type TccPlan } from './tcc-plan.ts';

export type Plan = SagaPlan | TccPlan | MessagePlan;
export type State = SagaState | TccState | MessageState;
export type Pattern = Plan['pattern'];
export type Status = State['kind'];

/** A definition as it is submitted: which pattern, and what its author wrote. */
export type Definition =
  | ({ readonly pattern: 'saga' } & SagaDefinition)
  | ({ readonly pattern: 'tcc' } & TccDefinition)
  | ({ readonly pattern: 'message' } & MessageDefinition);

/** Every status a transaction of a pattern can be in. */
export const statusesOf: Readonly<Record<Pattern, readonly Status[]>> = {
  saga: ['running', 'finishing', 'compensating', 'committed', 'aborted', 'forgotten'],
  tcc: ['trying', 'confirming', 'cancelling', 'committed', 'aborted', 'forgotten'],
  message: ['prepared', 'scheduled', 'delivering', 'committed', 'aborted', 'forgotten'],
};

export const patterns: readonly Pattern[] = ['saga', 'tcc', 'message'];

export const statuses: readonly Status[] = [...new Set(Object.values(statusesOf).flat())];

// A state is only ever handed to the protocol of the plan it was started from.
const protocols: Readonly<Record<Pattern, Protocol<Plan, State>>> = { saga, tcc, message };

/** Checks a definition. Throws `invalid_definition` or `limit_exceeded`. */
export function planOf(definition: Definition): Plan {
  switch (definition.pattern) {
    case 'saga':
      return planSaga(definition);
    case 'tcc':
      return planTcc(definition);
    case 'message':
      return planMessage(definition);
  }
}

export function start(plan: Plan, at: number): State {
  return protocols[plan.pattern].start(plan, at);
}

export function evolve(plan: Plan, state: State, event: Event): State {
  return protocols[plan.pattern].evolve(plan, state, event);
}

export function effects(plan: Plan, state: State): readonly Effect[] {
  return protocols[plan.pattern].effects(plan, state);
}

export function branches(plan: Plan, state: State): readonly BranchView[] {
  return protocols[plan.pattern].branches(plan, state);
}

/** No effect follows any more, and no event is legal. */
export function isTerminal(state: State): boolean {
  return state.kind === 'committed' || state.kind === 'aborted' || state.kind === 'forgotten';
}

/** What a branch is at while the transaction still wants something of it. The others rest, whatever they are at. */
const underWay: Readonly<Record<Status, BranchStatus | undefined>> = {
  running: 'called',
  finishing: 'called',
  compensating: 'undoing',
  trying: 'called',
  confirming: 'confirming',
  cancelling: 'undoing',
  prepared: 'called',
  scheduled: undefined,
  delivering: 'called',
  committed: undefined,
  aborted: undefined,
  forgotten: undefined,
};

/** Branches that wait for a person, or were asked so often in vain. */
export function stuckBranches(
  plan: Plan,
  state: State,
  afterAttempts: number = stuckAfterAttempts,
): readonly BranchView[] {
  const wanted = underWay[state.kind];
  if (wanted === undefined) return [];
  return branches(plan, state).filter(({ status, attempts }) =>
    status === 'parked' ? wanted === 'called' : status === wanted && attempts >= afterAttempts,
  );
}

/** One transaction as people and the API see it. Times are milliseconds since 1970 of the store's clock. */
export interface TransactionView {
  readonly gid: Gid;
  readonly pattern: Pattern;
  readonly name: string;
  readonly status: Status;
  /** A branch waits for a person, or was asked many times in vain. */
  readonly stuck: boolean;
  /** Why it aborted, compensates or was forgotten. */
  readonly reason?: string;
  readonly createdAtMs: number;
  readonly updatedAtMs: number;
  readonly branches: readonly BranchView[];
  /** Only from `get`: what was asked and answered, oldest first; the middle is left out beyond {@link historyEntriesMax}. */
  readonly history?: readonly HistoryEntry[];
}

export const historyEntriesMax = 200;

export type HistoryEntry =
  | {
      readonly kind: 'call';
      readonly atMs: number;
      readonly branch: string;
      readonly op: string;
      readonly attempt: number;
      readonly outcome: 'done' | 'refused' | 'ongoing' | 'unknown';
      readonly detail?: string;
    }
  | {
      readonly kind: 'action';
      readonly atMs: number;
      readonly action: string;
      readonly reason: string;
      readonly actor: string;
    }
  | { readonly kind: 'status'; readonly atMs: number; readonly status: Status }
  | { readonly kind: 'left-out'; readonly atMs: number; readonly count: number };
