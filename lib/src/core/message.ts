/**
 * Two-phase message: delivered if and only if the producer's local transaction committed.
 *
 * Owns: when the producer is asked back, when delivery starts, in which order.
 * Does not own: when a call is repeated (engine/retry), what a reply means (wire/classify).
 *
 * - M1 Nothing is delivered before the producer submits, or answers the check-back with done.
 * - M2 Only a refused check-back, an abort by the producer, or an operator drops the message.
 * - M3 An unknown check-back is asked again, for ever.
 * - M4 Once delivery is decided there is no way back: a target that refuses is asked again, and shows up as stuck.
 */
import { assert, unreachable } from '../util/assert.ts';
import type { Json } from '../util/json.ts';
import { planted } from '../util/planted-bug.ts';
import { resolvePayload } from './call-spec.ts';
import type { BranchName } from './ids.ts';
import { producerBranch, type MessagePlan, type MessageTarget } from './message-plan.ts';
import type { Outcome } from './outcome.ts';
import type { BranchView, CallEffect, Effect, Event, Protocol } from './protocol.ts';
import { retryDefault } from './retry-policy.ts';

export type MessageState =
  /** The producer has the word. */
  | { readonly kind: 'prepared'; readonly check: CheckState }
  | { readonly kind: 'scheduled'; readonly deliverAt: number }
  | { readonly kind: 'delivering'; readonly targets: Deliveries }
  | { readonly kind: 'committed'; readonly targets: Deliveries }
  | { readonly kind: 'aborted'; readonly reason: string }
  | { readonly kind: 'forgotten'; readonly reason: string; readonly targets: Deliveries };

export type CheckState =
  | { readonly kind: 'waiting'; readonly askAt: number }
  | { readonly kind: 'asking'; readonly attempts: number; readonly reason?: string };

type Deliveries = readonly DeliveryState[];

export type DeliveryState =
  | { readonly kind: 'open'; readonly attempts: number; readonly reason?: string }
  | { readonly kind: 'done'; readonly attempts: number; readonly result?: Json }
  | { readonly kind: 'skipped'; readonly reason: string };

type Delivering = Extract<MessageState, { kind: 'delivering' }>;

export const message: Protocol<MessagePlan, MessageState> = { start, evolve, effects, branches };

function start(plan: MessagePlan, at: number): MessageState {
  if (plan.check === undefined || planted('deliver-before-submit')) return deliver(plan, at);
  return { kind: 'prepared', check: { kind: 'waiting', askAt: at + plan.checkAfterMs } };
}

function deliver(plan: MessagePlan, at: number): MessageState {
  return plan.delayMs > 0 ? { kind: 'scheduled', deliverAt: at + plan.delayMs } : delivering(plan);
}

function delivering(plan: MessagePlan): MessageState {
  return { kind: 'delivering', targets: plan.targets.map(() => ({ kind: 'open', attempts: 0 })) };
}

function evolve(plan: MessagePlan, state: MessageState, event: Event): MessageState {
  switch (event.kind) {
    case 'sent':
    case 'recovered':
      // Check-backs and deliveries are repeated until they are answered, so a lost one needs no trace.
      return state;
    case 'outcome':
      return event.op === 'check'
        ? checkAnswered(plan, state, event.at, event.outcome)
        : delivered(state, position(plan, event.branch), event.outcome);
    case 'clock':
      return onClock(plan, state, event.at);
    case 'commit':
    case 'force-commit':
      assert(state.kind === 'prepared', `${event.kind} in ${state.kind}`);
      return deliver(plan, event.at);
    case 'abort':
    case 'force-abort':
      assert(state.kind === 'prepared', `${event.kind} in ${state.kind}`);
      return { kind: 'aborted', reason: event.reason };
    case 'retry-now':
      assert(!isTerminal(state), `retry-now in ${state.kind}`);
      return retryNow(plan, state);
    case 'skip-branch': {
      assert(state.kind === 'delivering', `skip-branch in ${state.kind}`);
      const at = position(plan, event.branch);
      assert(deliveryAt(state, at).kind === 'open', 'only an open delivery is skipped');
      return finish(replace(state, at, { kind: 'skipped', reason: event.reason }));
    }
    case 'forget':
      assert(state.kind === 'prepared' || state.kind === 'delivering', `forget in ${state.kind}`);
      return {
        kind: 'forgotten',
        reason: event.reason,
        targets: state.kind === 'delivering' ? state.targets : [],
      };
    case 'registered':
      assert(false, 'a message has no branches to register');
      break;
    default:
      return unreachable(event, 'event of a message');
  }
}

function onClock(plan: MessagePlan, state: MessageState, at: number): MessageState {
  if (state.kind === 'prepared' && state.check.kind === 'waiting' && at >= state.check.askAt) {
    return { kind: 'prepared', check: { kind: 'asking', attempts: 0 } };
  }
  return state.kind === 'scheduled' && at >= state.deliverAt ? delivering(plan) : state;
}

/** M1, M2, M3. An answer that comes after the producer's own word changes nothing. */
function checkAnswered(plan: MessagePlan, state: MessageState, at: number, outcome: Outcome): MessageState {
  if (state.kind !== 'prepared' || state.check.kind !== 'asking') return state;
  switch (outcome.kind) {
    case 'done':
      return deliver(plan, at);
    case 'refused':
      return {
        kind: 'aborted',
        reason: `the producer's local transaction did not commit: ${outcome.reason}`,
      };
    case 'ongoing':
      return state;
    case 'unknown':
      if (planted('drop-on-silence')) return { kind: 'aborted', reason: outcome.reason };
      return {
        kind: 'prepared',
        check: { kind: 'asking', attempts: state.check.attempts + 1, reason: outcome.reason },
      };
    default:
      return unreachable(outcome, 'outcome');
  }
}

/** M4 */
function delivered(state: MessageState, at: number, outcome: Outcome): MessageState {
  if (state.kind !== 'delivering') return state;
  const target = deliveryAt(state, at);
  if (target.kind !== 'open' || outcome.kind === 'ongoing') return state;
  const attempts = target.attempts + 1;
  if (outcome.kind === 'refused' && planted('refused-delivery-is-done'))
    return finish(replace(state, at, { kind: 'done', attempts }));
  if (outcome.kind !== 'done') return replace(state, at, { kind: 'open', attempts, reason: outcome.reason });
  const result = outcome.result === undefined ? {} : { result: outcome.result };
  return finish(replace(state, at, { kind: 'done', attempts, ...result }));
}

function finish(state: Delivering): MessageState {
  return state.targets.every((target) => target.kind !== 'open') ? { ...state, kind: 'committed' } : state;
}

function retryNow(plan: MessagePlan, state: MessageState): MessageState {
  if (state.kind === 'prepared' && state.check.kind === 'waiting') {
    return { kind: 'prepared', check: { kind: 'asking', attempts: 0 } };
  }
  return state.kind === 'scheduled' ? delivering(plan) : state;
}

function effects(plan: MessagePlan, state: MessageState): readonly Effect[] {
  switch (state.kind) {
    case 'prepared':
      return state.check.kind === 'waiting'
        ? [{ kind: 'wake', at: state.check.askAt }]
        : [checkCall(plan, state.check.attempts)];
    case 'scheduled':
      return [{ kind: 'wake', at: state.deliverAt }];
    case 'delivering': {
      const open = state.targets.flatMap((target, at) =>
        target.kind === 'open' ? [deliveryCall(targetAt(plan, at), target.attempts)] : [],
      );
      return plan.order === 'parallel' ? open : open.slice(0, 1);
    }
    case 'committed':
    case 'aborted':
    case 'forgotten':
      return [];
    default:
      return unreachable(state, 'state of a message');
  }
}

function checkCall(plan: MessagePlan, attempts: number): CallEffect {
  assert(plan.check !== undefined, 'a prepared message has a check-back');
  const { address } = plan.check;
  const payload = resolvePayload(plan.check, () => undefined, 'omit');
  return {
    kind: 'call',
    branch: producerBranch,
    op: 'check',
    address,
    payload,
    attempts,
    retry: retryDefault,
  };
}

function deliveryCall(target: MessageTarget, attempts: number): CallEffect {
  const { name, deliver: how, retry = retryDefault } = target;
  const payload = resolvePayload(how, () => undefined, 'omit');
  return { kind: 'call', branch: name, op: 'action', address: how.address, payload, attempts, retry };
}

function branches(plan: MessagePlan, state: MessageState): readonly BranchView[] {
  const targets = plan.targets.map(({ name }, at): BranchView => {
    const target = 'targets' in state ? state.targets[at] : undefined;
    if (target === undefined) return { branch: name, op: 'action', status: 'waiting', attempts: 0 };
    const { kind, ...rest } = target;
    return { branch: name, op: 'action', status: kind === 'open' ? 'called' : kind, attempts: 0, ...rest };
  });
  if (state.kind !== 'prepared') return targets;
  const { kind, ...check } = state.check;
  const asking = 'attempts' in check ? check : { attempts: 0 };
  return [
    { branch: producerBranch, op: 'check', status: kind === 'asking' ? 'called' : 'waiting', ...asking },
    ...targets,
  ];
}

function isTerminal(state: MessageState): boolean {
  return state.kind === 'committed' || state.kind === 'aborted' || state.kind === 'forgotten';
}

function replace(state: Delivering, at: number, target: DeliveryState): Delivering {
  return { ...state, targets: state.targets.with(at, target) };
}

function deliveryAt(state: Delivering, at: number): DeliveryState {
  const target = state.targets[at];
  assert(target !== undefined, 'every target of the plan has a state');
  return target;
}

function targetAt(plan: MessagePlan, at: number): MessageTarget {
  const target = plan.targets[at];
  assert(target !== undefined, 'every state belongs to a target of the plan');
  return target;
}

function position(plan: MessagePlan, branch: BranchName): number {
  const at = plan.targets.findIndex((target) => target.name === branch);
  assert(at >= 0, `${branch} is a target of ${plan.name}`);
  return at;
}
