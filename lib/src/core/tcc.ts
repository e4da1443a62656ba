/**
 * TCC: try reserves, confirm makes it real, cancel gives it back.
 *
 * Owns: when everything is confirmed or cancelled, and which branches are asked.
 * Does not own: when a call is repeated (engine/retry), what a reply means (wire/classify).
 *
 * - T1 Confirm falls only when every branch is tried and the initiator commits (or left that to us).
 * - T2 Cancel falls at a refused or exhausted try, the deadline, or a request.
 * - T3 What may have been tried is cancelled: tried, unknown; and refused, if an earlier attempt ended unknown.
 * - T4 After a decision there is no other; confirm and cancel are repeated until done, in parallel.
 */
import { assert, unreachable } from '../util/assert.ts';
import type { Json } from '../util/json.ts';
import { planted } from '../util/planted-bug.ts';
import { resolvePayload, type CallSpec } from './call-spec.ts';
import type { BranchName } from './ids.ts';
import type { Outcome } from './outcome.ts';
import type { BranchStatus, BranchView, CallEffect, Effect, Event, Protocol } from './protocol.ts';
import { misconfiguredAttemptsMax, retryDefault, tryRetryDefault } from './retry-policy.ts';
import type { TccBranchSpec, TccPlan } from './tcc-plan.ts';

export type TccState =
  | { readonly kind: 'trying'; readonly deadlineAt: number; readonly branches: Branches }
  | { readonly kind: 'confirming'; readonly branches: Branches }
  | { readonly kind: 'cancelling'; readonly reason: string; readonly branches: Branches }
  | { readonly kind: 'committed'; readonly branches: Branches }
  | { readonly kind: 'aborted'; readonly reason: string; readonly branches: Branches }
  | { readonly kind: 'forgotten'; readonly reason: string; readonly branches: Branches };

type Branches = readonly TccBranchState[];

/** A branch carries its specification only where the plan does not: when it was registered later. */
export interface TccBranchState {
  readonly spec?: TccBranchSpec;
  readonly at: TccProgress;
}

export type TccProgress =
  | { readonly kind: 'waiting' }
  | { readonly kind: 'called'; readonly attempts: number; readonly doubt?: true; readonly reason?: string }
  /** The initiator calls try itself; we never know before it commits. */
  | { readonly kind: 'presumed' }
  | { readonly kind: 'tried'; readonly attempts: number; readonly result?: Json }
  | { readonly kind: 'refused'; readonly attempts: number; readonly reason: string; readonly doubt?: true }
  /** Confirm or cancel, as the transaction's kind says, is under way. */
  | { readonly kind: 'settling'; readonly attempts: number; readonly result?: Json; readonly reason?: string }
  | { readonly kind: 'settled'; readonly attempts: number; readonly result?: Json }
  | { readonly kind: 'skipped'; readonly reason: string };

type Trying = Extract<TccState, { kind: 'trying' }>;
type Settling = Extract<TccState, { kind: 'confirming' | 'cancelling' }>;

export const tcc: Protocol<TccPlan, TccState> = { start, evolve, effects, branches };

function start(plan: TccPlan, at: number): TccState {
  const branches = plan.branches.map((spec) => ({ at: first(spec) }));
  return { kind: 'trying', deadlineAt: at + plan.timeoutMs, branches };
}

function first(spec: TccBranchSpec): TccProgress {
  return spec.try === undefined ? { kind: 'presumed' } : { kind: 'waiting' };
}

function evolve(plan: TccPlan, state: TccState, event: Event): TccState {
  switch (event.kind) {
    case 'sent':
      return event.op === 'try' && state.kind === 'trying'
        ? replace(state, position(plan, state, event.branch), called)
        : state;
    case 'outcome':
      return event.op === 'try'
        ? tryAnswered(plan, state, position(plan, state, event.branch), event.outcome)
        : settlingAnswered(state, position(plan, state, event.branch), event.op, event.outcome);
    case 'clock':
      if (planted('deadline-over-commit') && state.kind === 'confirming')
        return { ...state, kind: 'cancelling', reason: 'deadline' };
      return state.kind === 'trying' && event.at >= state.deadlineAt
        ? cancel(state, `not committed within ${plan.timeoutMs} ms`)
        : state;
    case 'recovered':
      return state.kind === 'trying' ? { ...state, branches: state.branches.map(mayHaveBeenCalled) } : state;
    case 'registered': {
      assert(state.kind === 'trying', `registered in ${state.kind}`);
      const added = event.branches.map((spec) => ({ spec, at: first(spec) }));
      return { ...state, branches: [...state.branches, ...added] };
    }
    case 'commit':
    case 'force-commit':
      assert(state.kind === 'trying' && untried(plan, state).length === 0, `${event.kind} in ${state.kind}`);
      return confirm(state);
    case 'abort':
    case 'force-abort':
      assert(state.kind === 'trying', `${event.kind} in ${state.kind}`);
      return cancel(state, event.reason);
    case 'retry-now':
      assert(!isTerminal(state), `retry-now in ${state.kind}`);
      return state;
    case 'skip-branch':
      return skip(state, position(plan, state, event.branch), event.reason);
    case 'forget':
      assert(!isTerminal(state), `forget in ${state.kind}`);
      return { kind: 'forgotten', reason: event.reason, branches: state.branches };
    default:
      return unreachable(event, 'event of a TCC transaction');
  }
}

function tryAnswered(plan: TccPlan, state: TccState, at: number, outcome: Outcome): TccState {
  const branch = branchAt(state, at);
  if (state.kind === 'cancelling') return lateAnswer(state, at, outcome);
  if (state.kind !== 'trying' || branch.at.kind !== 'called') return state;
  const { attempts, doubt } = branch.at;
  switch (outcome.kind) {
    case 'done': {
      const next = replace(state, at, () => ({ kind: 'tried', attempts, ...resultOf(outcome) }));
      return plan.decide === 'when-all-tried' && untried(plan, next).length === 0 ? confirm(next) : next;
    }
    case 'ongoing':
      return state;
    case 'refused': {
      const { reason } = outcome;
      const refused = {
        kind: 'refused',
        attempts,
        reason,
        ...(doubt === undefined ? {} : { doubt }),
      } as const;
      return cancel(
        replace(state, at, () => refused),
        `${specAt(plan, state, at).name} refused: ${reason}`,
      );
    }
    case 'unknown': {
      const { name, retry = tryRetryDefault } = specAt(plan, state, at);
      const { reason } = outcome;
      const next = replace(state, at, () => ({
        kind: 'called',
        attempts: attempts + 1,
        doubt: true,
        reason,
      }));
      const limit = retry.attemptsMax ?? Infinity;
      const exhausted =
        attempts + 1 >= (outcome.misconfigured ? Math.min(limit, misconfiguredAttemptsMax) : limit);
      return exhausted ? cancel(next, `${name} gave no answer in ${attempts + 1} attempts: ${reason}`) : next;
    }
    default:
      return unreachable(outcome, 'outcome');
  }
}

/**
 * The answer of a try that was under way when the decision fell: its result helps the cancel, until the first attempt of
 * that, since the next ones carry the same payload.
 */
function lateAnswer(state: Settling, at: number, outcome: Outcome): TccState {
  const { at: progress } = branchAt(state, at);
  if (outcome.kind !== 'done' || progress.kind !== 'settling') return state;
  if (progress.attempts > 0 || progress.result !== undefined) return state;
  return replace(state, at, () => ({ ...progress, ...resultOf(outcome) }));
}

function settlingAnswered(state: TccState, at: number, op: string, outcome: Outcome): TccState {
  const { at: progress } = branchAt(state, at);
  if (!isSettling(state) || progress.kind !== 'settling' || op !== opOf(state) || outcome.kind === 'ongoing')
    return state;
  const attempts = progress.attempts + 1;
  if (outcome.kind === 'done')
    return finish(replace(state, at, () => ({ kind: 'settled', attempts, ...resultOf(progress) })));
  // T4: a refusal cannot change a decision; it is retried, and shows up as stuck.
  return replace(state, at, () => ({ ...progress, attempts, reason: outcome.reason }));
}

/** Names of the branches that keep the transaction from being committed. */
export function untried(plan: TccPlan, state: TccState): readonly BranchName[] {
  return state.branches.flatMap(({ at }, i) =>
    at.kind === 'tried' ||
    at.kind === 'presumed' ||
    (planted('confirm-what-is-not-tried') && at.kind === 'called')
      ? []
      : [specAt(plan, state, i).name],
  );
}

function confirm(state: Trying): TccState {
  const branches = state.branches.map((branch) => ({ ...branch, at: settling(branch.at) }));
  return finish({ kind: 'confirming', branches });
}

/** T3 */
function cancel(state: Trying, reason: string): TccState {
  const branches = state.branches.map((branch) =>
    mayBeTried(branch.at) ? { ...branch, at: settling(branch.at) } : branch,
  );
  return finish({ kind: 'cancelling', reason, branches });
}

function settling(progress: TccProgress): TccProgress {
  return { kind: 'settling', attempts: 0, ...(progress.kind === 'tried' ? resultOf(progress) : {}) };
}

function mayBeTried(progress: TccProgress): boolean {
  return (
    progress.kind === 'tried' ||
    (progress.kind === 'called' && !planted('cancel-only-what-is-known')) ||
    progress.kind === 'presumed' ||
    (progress.kind === 'refused' && progress.doubt === true)
  );
}

function finish(state: Settling): TccState {
  const open = state.branches.filter(({ at }) => at.kind === 'settling').length;
  if (open > (planted('end-one-branch-early') ? 1 : 0)) return state;
  return state.kind === 'confirming' ? { ...state, kind: 'committed' } : { ...state, kind: 'aborted' };
}

function skip(state: TccState, at: number, reason: string): TccState {
  const { kind } = branchAt(state, at).at;
  const skipped = (): TccProgress => ({ kind: 'skipped', reason });
  if (isSettling(state)) {
    assert(kind === 'settling', `skip of a branch that is ${kind}`);
    return finish(replace(state, at, skipped));
  }
  assert(false, `skip-branch in ${state.kind}`);
}

/** D3: after a crash a try that was not recorded may have left all the same. */
function mayHaveBeenCalled(branch: TccBranchState): TccBranchState {
  if (branch.at.kind === 'called') return { ...branch, at: { ...branch.at, doubt: true } };
  return branch.at.kind === 'waiting'
    ? { ...branch, at: { kind: 'called', attempts: 0, doubt: true } }
    : branch;
}

function effects(plan: TccPlan, state: TccState): readonly Effect[] {
  switch (state.kind) {
    case 'trying': {
      const found: Effect[] = [];
      state.branches.forEach(({ at }, i) => {
        const spec = specAt(plan, state, i);
        if (spec.try === undefined || (at.kind !== 'waiting' && at.kind !== 'called')) return;
        const attempts = at.kind === 'called' ? at.attempts : 0;
        found.push(call(spec, 'try', spec.try, undefined, attempts));
      });
      found.push({ kind: 'wake', at: state.deadlineAt });
      return found;
    }
    case 'confirming':
    case 'cancelling':
      return state.branches.flatMap(({ at }, i) => {
        if (at.kind !== 'settling') return [];
        const spec = specAt(plan, state, i);
        const op = opOf(state);
        return [call(spec, op, withPayloadOfTry(spec, spec[op]), at.result, at.attempts)];
      });
    case 'committed':
    case 'aborted':
    case 'forgotten':
      return [];
    default:
      return unreachable(state, 'state of a TCC transaction');
  }
}

function call(
  spec: TccBranchSpec,
  op: 'try' | 'confirm' | 'cancel',
  how: CallSpec,
  result: Json | undefined,
  attempts: number,
): CallEffect {
  const payload = resolvePayload(
    how,
    (from) => (from === spec.name ? result : undefined),
    op === 'try' ? 'required' : 'omit',
  );
  const retry = op === 'try' ? (spec.retry ?? tryRetryDefault) : retryDefault;
  return { kind: 'call', branch: spec.name, op, address: how.address, payload, attempts, retry };
}

/** A confirm or cancel that says nothing of its payload gets the one of its try. */
function withPayloadOfTry(spec: TccBranchSpec, how: CallSpec): CallSpec {
  if (how.payload !== undefined || how.inject !== undefined || spec.try === undefined) return how;
  return { ...spec.try, address: how.address };
}

function branches(plan: TccPlan, state: TccState): readonly BranchView[] {
  return state.branches.map(({ at }, i) => ({
    branch: specAt(plan, state, i).name,
    op: opOfBranch(state, at),
    status: statusOf(state, at),
    attempts: 'attempts' in at ? at.attempts : 0,
    ...('reason' in at ? { reason: at.reason } : {}),
    ...('result' in at ? { result: at.result } : {}),
  }));
}

function statusOf(state: TccState, progress: TccProgress): BranchStatus {
  const confirms = state.kind === 'confirming' || state.kind === 'committed';
  switch (progress.kind) {
    case 'presumed':
      return 'called';
    case 'tried':
      return 'done';
    case 'settling':
      return confirms ? 'confirming' : 'undoing';
    case 'settled':
      return confirms ? 'confirmed' : 'undone';
    default:
      return progress.kind;
  }
}

function opOfBranch(state: TccState, progress: TccProgress): 'try' | 'confirm' | 'cancel' {
  if (progress.kind !== 'settling' && progress.kind !== 'settled') return 'try';
  return state.kind === 'confirming' || state.kind === 'committed' ? 'confirm' : 'cancel';
}

function opOf(state: Settling): 'confirm' | 'cancel' {
  return state.kind === 'confirming' ? 'confirm' : 'cancel';
}

function isSettling(state: TccState): state is Settling {
  return state.kind === 'confirming' || state.kind === 'cancelling';
}

function isTerminal(state: TccState): boolean {
  return state.kind === 'committed' || state.kind === 'aborted' || state.kind === 'forgotten';
}

function called(progress: TccProgress): TccProgress {
  return progress.kind === 'waiting' ? { kind: 'called', attempts: 0 } : progress;
}

function resultOf(from: { readonly result?: Json }): { readonly result?: Json } {
  return from.result === undefined ? {} : { result: from.result };
}

function replace<S extends TccState>(
  state: S,
  at: number,
  change: (progress: TccProgress) => TccProgress,
): S {
  const branch = branchAt(state, at);
  return { ...state, branches: state.branches.with(at, { ...branch, at: change(branch.at) }) };
}

function branchAt(state: TccState, at: number): TccBranchState {
  const branch = state.branches[at];
  assert(branch !== undefined, 'the branch is registered');
  return branch;
}

/** The branches of a transaction with their specifications, in the order they were registered. */
export function specsOf(plan: TccPlan, state: TccState): readonly TccBranchSpec[] {
  return state.branches.map((_, at) => specAt(plan, state, at));
}

function specAt(plan: TccPlan, state: TccState, at: number): TccBranchSpec {
  const spec = state.branches[at]?.spec ?? plan.branches[at];
  assert(spec !== undefined, 'every branch has a specification');
  return spec;
}

function position(plan: TccPlan, state: TccState, branch: BranchName): number {
  const at = state.branches.findIndex((_, i) => specAt(plan, state, i).name === branch);
  assert(at >= 0, `${branch} is a branch of ${plan.name}`);
  return at;
}
