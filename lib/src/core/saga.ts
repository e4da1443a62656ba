/**
 * Saga: actions forward, compensations back.
 *
 * Owns: which step may run, what is undone and in which order, when the decision falls.
 * Does not own: when a call is repeated (engine/retry), what a reply means (wire/classify).
 *
 * - S1 A step is called when all it comes after is done or skipped.
 * - S2 The decision to commit falls when the pivot is done, or the last step; the decision to abort at a refusal,
 *      an exhausted step, the deadline or a request, and never while the pivot may have happened.
 * - S3 What may have happened is undone: done, unknown, parked; and refused, if an earlier attempt ended unknown.
 * - S4 A step is undone when nothing that comes after it is left to undo: the exact reverse of the way forward.
 * - S5 After a decision there is no other. A refused compensation stays to be done.
 */
import { assert, unreachable } from '../util/assert.ts';
import type { Json } from '../util/json.ts';
import { planted } from '../util/planted-bug.ts';
import { inputReference, resolvePayload, type CallSpec } from './call-spec.ts';
import type { Outcome } from './outcome.ts';
import type { BranchView, CallEffect, Effect, Event, Protocol } from './protocol.ts';
import { misconfiguredAttemptsMax, retryDefault } from './retry-policy.ts';
import type { SagaPlan, SagaStep } from './saga-plan.ts';

export type SagaState =
  /** Undecided, going forward. `abort`: asked for while the pivot was under way; it decides. */
  | { readonly kind: 'running'; readonly deadlineAt?: number; readonly abort?: string; readonly steps: Steps }
  /** Decided to commit; steps are left to do. */
  | { readonly kind: 'finishing'; readonly steps: Steps }
  /** Decided to abort; steps are left to undo. */
  | { readonly kind: 'compensating'; readonly reason: string; readonly steps: Steps }
  | { readonly kind: 'committed'; readonly steps: Steps }
  | { readonly kind: 'aborted'; readonly reason: string; readonly steps: Steps }
  /** An operator took over; what is not settled stays as it is. */
  | { readonly kind: 'forgotten'; readonly reason: string; readonly steps: Steps };

type Steps = readonly StepState[];

export type StepState =
  | { readonly kind: 'waiting' }
  /** A call left; `attempts` of them ended without an answer. */
  | { readonly kind: 'called'; readonly attempts: number; readonly doubt?: true; readonly reason?: string }
  | { readonly kind: 'done'; readonly attempts: number; readonly result?: Json }
  | { readonly kind: 'refused'; readonly attempts: number; readonly reason: string; readonly doubt?: true }
  | { readonly kind: 'parked'; readonly attempts: number; readonly reason: string }
  | { readonly kind: 'undoing'; readonly attempts: number; readonly result?: Json; readonly reason?: string }
  | { readonly kind: 'undone'; readonly attempts: number }
  | { readonly kind: 'skipped'; readonly reason: string };

type Called = Extract<StepState, { kind: 'called' }>;
type Running = Extract<SagaState, { kind: 'running' }>;
type Forward = Extract<SagaState, { kind: 'running' | 'finishing' }>;
type Compensating = Extract<SagaState, { kind: 'compensating' }>;

export const saga: Protocol<SagaPlan, SagaState> = { start, evolve, effects, branches };

function start(plan: SagaPlan, at: number): SagaState {
  const steps = plan.steps.map((): StepState => ({ kind: 'waiting' }));
  return plan.timeoutMs === undefined
    ? { kind: 'running', steps }
    : { kind: 'running', deadlineAt: at + plan.timeoutMs, steps };
}

function evolve(plan: SagaPlan, state: SagaState, event: Event): SagaState {
  switch (event.kind) {
    case 'sent':
      return event.op === 'action' && isForward(state)
        ? replace(state, position(plan, event.branch), called)
        : state;
    case 'outcome':
      return event.op === 'action'
        ? actionAnswered(plan, state, position(plan, event.branch), event.outcome)
        : compensationAnswered(state, position(plan, event.branch), event.outcome);
    case 'clock':
      return state.kind === 'running' && state.deadlineAt !== undefined && event.at >= state.deadlineAt
        ? abort(plan, state, `not finished within ${plan.timeoutMs} ms`)
        : state;
    case 'recovered':
      return isForward(state) ? { ...state, steps: mayHaveBeenCalled(plan, state.steps) } : state;
    case 'abort':
      assert(state.kind === 'running', `abort in ${state.kind}`);
      return abort(plan, state, event.reason);
    case 'force-abort':
      assert(state.kind === 'running', `force-abort in ${state.kind}`);
      return compensate(plan, state, event.reason);
    case 'force-commit':
      assert(state.kind === 'running', `force-commit in ${state.kind}`);
      return forward(plan, { kind: 'finishing', steps: state.steps.map(unpark) });
    case 'retry-now':
      assert(!isTerminal(state), `retry-now in ${state.kind}`);
      return isForward(state) ? { ...state, steps: state.steps.map(unpark) } : state;
    case 'skip-branch':
      return skip(plan, state, position(plan, event.branch), event.reason);
    case 'forget':
      assert(!isTerminal(state), `forget in ${state.kind}`);
      return { kind: 'forgotten', reason: event.reason, steps: state.steps };
    case 'registered':
    case 'commit':
      assert(false, `a saga has no ${event.kind}`);
      break;
    default:
      return unreachable(event, 'event of a saga');
  }
}

function actionAnswered(plan: SagaPlan, state: SagaState, at: number, outcome: Outcome): SagaState {
  const step = stepAt(state, at);
  if (state.kind === 'compensating') return lateAnswer(state, at, outcome);
  // The answer to a call that an operator's skip, park or forget overtook changes nothing.
  if (!isForward(state) || step.kind !== 'called') return state;
  switch (outcome.kind) {
    case 'done': {
      const done: StepState = { kind: 'done', attempts: step.attempts, ...resultOf(outcome) };
      return forward(
        plan,
        replace(state, at, () => done),
      );
    }
    case 'ongoing':
      return state;
    case 'refused':
      return state.kind === 'finishing'
        ? replace(state, at, () => failed(step, `refused after the decision to commit: ${outcome.reason}`))
        : refused(plan, state, at, step, outcome.reason);
    case 'unknown': {
      const attempt = failed(step, outcome.reason);
      const next = replace(state, at, () => attempt);
      return next.kind === 'running' && isExhausted(planAt(plan, at), attempt.attempts, outcome)
        ? exhausted(plan, next, at, attempt.attempts, outcome.reason)
        : next;
    }
    default:
      return unreachable(outcome, 'outcome');
  }
}

function refused(plan: SagaPlan, state: Running, at: number, step: Called, reason: string): SagaState {
  const { attempts, doubt } = step;
  const refusal: StepState = { kind: 'refused', attempts, reason, ...(doubt === undefined ? {} : { doubt }) };
  return compensate(
    plan,
    replace(state, at, () => refusal),
    state.abort ?? `${planAt(plan, at).name} refused: ${reason}`,
  );
}

function isExhausted(step: SagaStep, attempts: number, outcome: Outcome & { kind: 'unknown' }): boolean {
  const limit = step.retry?.attemptsMax ?? Infinity;
  return attempts >= (outcome.misconfigured ? Math.min(limit, misconfiguredAttemptsMax) : limit);
}

function exhausted(plan: SagaPlan, state: Running, at: number, attempts: number, reason: string): SagaState {
  const step = planAt(plan, at);
  // S2: an unknown pivot cannot be undone, so it waits for a person.
  if (step.pivot || step.onExhausted === 'park')
    return replace(state, at, () => ({ kind: 'parked', attempts, reason }));
  return abort(plan, state, `${step.name} gave no answer in ${attempts} attempts: ${reason}`);
}

/** S1, S2: what follows from a step that is done or skipped. */
function forward(plan: SagaPlan, state: Forward): SagaState {
  if (state.steps.every(isPassed)) return { kind: 'committed', steps: state.steps };
  if (state.kind === 'finishing') return state;
  const pivot = plan.steps.findIndex((step) => step.pivot);
  if (pivot >= 0 && isPassed(stepAt(state, pivot)))
    return { kind: 'finishing', steps: state.steps.map(unpark) };
  return state;
}

/**
 * S2: a pivot that may have happened decides, not the wish to abort. After a crash that includes a pivot whose
 * predecessors are asked again: were one of them given up, its undo would face a pivot that stands.
 */
function abort(plan: SagaPlan, state: Running, reason: string): SagaState {
  const pivot = plan.steps.findIndex((step) => step.pivot);
  if (pivot < 0 || stepAt(state, pivot).kind === 'waiting' || planted('abort-past-the-pivot'))
    return compensate(plan, state, reason);
  return { kind: 'running', abort: state.abort ?? reason, steps: state.steps };
}

/** S3 */
function compensate(plan: SagaPlan, state: Running, reason: string): SagaState {
  const steps = state.steps.map((step, i): StepState => {
    if (planAt(plan, i).compensation === undefined) return step;
    switch (step.kind) {
      case 'done':
        return { kind: 'undoing', attempts: 0, ...resultOf(step) };
      case 'called':
      case 'parked':
        return planted('compensate-only-what-is-known') ? step : { kind: 'undoing', attempts: 0 };
      case 'refused':
        return step.doubt && !planted('believe-a-refusal-in-doubt') ? { kind: 'undoing', attempts: 0 } : step;
      default:
        return step;
    }
  });
  return backward({ kind: 'compensating', reason, steps });
}

function backward(state: Compensating): SagaState {
  return state.steps.some((step) => step.kind === 'undoing') ? state : { ...state, kind: 'aborted' };
}

/** The answer of an action that was under way when the decision fell. */
function lateAnswer(state: Compensating, at: number, outcome: Outcome): SagaState {
  const step = stepAt(state, at);
  if (outcome.kind !== 'done') return state;
  switch (step.kind) {
    // Nothing undoes it, so at least it is seen to stand.
    case 'called':
      return replace(state, at, () => ({ kind: 'done', attempts: step.attempts, ...resultOf(outcome) }));
    // The result helps the undo, until the first attempt of that: the next ones carry the same payload.
    case 'undoing':
      if (planted('late-answer-ends-the-undo'))
        return backward(replace(state, at, () => ({ ...step, kind: 'done' })));
      return step.attempts > 0 || step.result !== undefined
        ? state
        : replace(state, at, () => ({ ...step, ...resultOf(outcome) }));
    default:
      return state;
  }
}

/** S5: only `done` ends a compensation. */
function compensationAnswered(state: SagaState, at: number, outcome: Outcome): SagaState {
  const step = stepAt(state, at);
  if (state.kind !== 'compensating' || step.kind !== 'undoing') return state;
  if (outcome.kind === 'ongoing') return state;
  const attempts = step.attempts + 1;
  const givenUp = planted('give-up-a-compensation') && attempts >= misconfiguredAttemptsMax;
  if (outcome.kind === 'done' || givenUp)
    return backward(replace(state, at, () => ({ kind: 'undone', attempts })));
  return replace(state, at, () => ({ ...step, attempts, reason: outcome.reason }));
}

function skip(plan: SagaPlan, state: SagaState, at: number, reason: string): SagaState {
  const step = stepAt(state, at);
  if (state.kind === 'compensating') {
    assert(step.kind === 'undoing', `skip of a step that is ${step.kind}`);
    return backward(replace(state, at, () => ({ kind: 'skipped', reason })));
  }
  assert(isForward(state), `skip-branch in ${state.kind}`);
  assert(isOpen(step), `skip of a step that is ${step.kind}`);
  return forward(
    plan,
    replace(state, at, () => ({ kind: 'skipped', reason })),
  );
}

/**
 * D3 lets the engine send a call before the answers it rests on are written. So after a crash every waiting step may
 * have been called, which S3 then undoes if need be; except behind a parked step: it was not passed when the state was
 * written, and what an operator does about it is durable before anything else is sent.
 */
function mayHaveBeenCalled(plan: SagaPlan, steps: Steps): Steps {
  const blocked = new Set<number>();
  return steps.map((step, at) => {
    if (step.kind === 'parked' || planAt(plan, at).after.some((i) => blocked.has(i))) blocked.add(at);
    if (step.kind === 'called') return { ...step, doubt: true };
    return step.kind === 'waiting' && !blocked.has(at) ? { kind: 'called', attempts: 0, doubt: true } : step;
  });
}

function effects(plan: SagaPlan, state: SagaState): readonly Effect[] {
  switch (state.kind) {
    case 'running':
    case 'finishing': {
      const found: Effect[] = [];
      state.steps.forEach((step, at) => {
        if (isCallable(step) && (isFree(plan, state, at) || planted('step-before-its-turn'))) {
          found.push(actionCall(plan, state, step, at));
        }
      });
      if (state.kind === 'running' && state.deadlineAt !== undefined)
        found.push({ kind: 'wake', at: state.deadlineAt });
      return found;
    }
    case 'compensating':
      return compensationCalls(plan, state);
    case 'committed':
    case 'aborted':
    case 'forgotten':
      return [];
    default:
      return unreachable(state, 'state of a saga');
  }
}

/** S1 */
function isFree(plan: SagaPlan, state: SagaState, at: number): boolean {
  return planAt(plan, at).after.every((i) => isPassed(stepAt(state, i)));
}

function actionCall(plan: SagaPlan, state: SagaState, step: StepState, at: number): CallEffect {
  const { name, action, retry = retryDefault } = planAt(plan, at);
  const attempts = step.kind === 'called' ? step.attempts : 0;
  const payload = resolvePayload(action, resultsOf(plan, state), 'required');
  return { kind: 'call', branch: name, op: 'action', address: action.address, payload, attempts, retry };
}

/** S4, walking from the last step to the first: `held` are the steps that something undone later still needs. */
function compensationCalls(plan: SagaPlan, state: Compensating): readonly Effect[] {
  const found: Effect[] = [];
  const held = new Set<number>();
  for (let at = state.steps.length - 1; at >= 0; at--) {
    const step = stepAt(state, at);
    const { name, compensation, after, retry = retryDefault } = planAt(plan, at);
    if (step.kind === 'undoing') {
      assert(compensation !== undefined, 'only steps with a compensation are undone');
      if (!held.has(at) || planted('compensate-forward')) {
        const payload = resolvePayload(withPayloadOf(plan, at, compensation), resultsOf(plan, state), 'omit');
        const { attempts } = step;
        found.push({
          kind: 'call',
          branch: name,
          op: 'compensate',
          address: compensation.address,
          payload,
          attempts,
          retry,
        });
      }
    }
    if (step.kind === 'undoing' || held.has(at)) for (const dependency of after) held.add(dependency);
  }
  return planted('compensate-forward') ? found.slice(-1) : found;
}

/** A compensation that says nothing of its payload gets the one of its action. */
function withPayloadOf(plan: SagaPlan, at: number, compensation: CallSpec): CallSpec {
  if (compensation.payload !== undefined || compensation.inject !== undefined) return compensation;
  return { ...planAt(plan, at).action, address: compensation.address };
}

function resultsOf(plan: SagaPlan, state: SagaState): (from: string) => Json | undefined {
  return (from) => {
    if (from === inputReference) return plan.input;
    const step = stepAt(state, position(plan, from));
    return step.kind === 'done' || step.kind === 'undoing' ? step.result : undefined;
  };
}

function branches(plan: SagaPlan, state: SagaState): readonly BranchView[] {
  return state.steps.map((step, at) => {
    const { kind: status, ...rest } = step;
    const op = status === 'undoing' || status === 'undone' ? 'compensate' : 'action';
    const view = {
      branch: planAt(plan, at).name,
      op,
      status,
      attempts: 'attempts' in rest ? rest.attempts : 0,
    } as const;
    return {
      ...view,
      ...('reason' in rest ? { reason: rest.reason } : {}),
      ...('result' in rest ? { result: rest.result } : {}),
    };
  });
}

function isForward(state: SagaState): state is Forward {
  return state.kind === 'running' || state.kind === 'finishing';
}

function isTerminal(state: SagaState): boolean {
  return state.kind === 'committed' || state.kind === 'aborted' || state.kind === 'forgotten';
}

function isPassed(step: StepState): boolean {
  return step.kind === 'done' || step.kind === 'skipped';
}

function isCallable(step: StepState): boolean {
  return step.kind === 'waiting' || step.kind === 'called';
}

function isOpen(step: StepState): boolean {
  return isCallable(step) || step.kind === 'parked';
}

function called(step: StepState): StepState {
  return step.kind === 'waiting' ? { kind: 'called', attempts: 0 } : step;
}

function failed(step: Called, reason: string): Called {
  return { kind: 'called', attempts: step.attempts + 1, doubt: true, reason };
}

function unpark(step: StepState): StepState {
  return step.kind === 'parked' ? { kind: 'called', attempts: 0, doubt: true, reason: step.reason } : step;
}

function resultOf(from: { readonly result?: Json }): { readonly result?: Json } {
  return from.result === undefined ? {} : { result: from.result };
}

function replace<S extends SagaState>(state: S, at: number, change: (step: StepState) => StepState): S {
  return { ...state, steps: state.steps.with(at, change(stepAt(state, at))) };
}

function stepAt(state: SagaState, at: number): StepState {
  const step = state.steps[at];
  assert(step !== undefined, 'every step of the plan has a state');
  return step;
}

function planAt(plan: SagaPlan, at: number): SagaStep {
  const step = plan.steps[at];
  assert(step !== undefined, 'every state belongs to a step of the plan');
  return step;
}

function position(plan: SagaPlan, branch: string): number {
  const at = plan.steps.findIndex((step) => step.name === branch);
  assert(at >= 0, `${branch} is a step of ${plan.name}`);
  return at;
}
