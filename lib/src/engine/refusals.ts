/**
 * Why a request is refused, in words for whoever asked.
 *
 * Owns: what a refusal says, and the conditions that the legal table does not know. Does not own: that table
 * (core/legal.ts), and when a request is looked at (engine.ts).
 */
import type { ActionRequest } from '../core/coordinator.ts';
import type { Gid } from '../core/ids.ts';
import { branches, type Plan, type State } from '../core/patterns.ts';
import type { TccBranchDefinition } from '../core/tcc-plan.ts';
import { isSettleError, messageOf, SettleError } from '../util/errors.ts';
import { firstDifference } from '../util/json.ts';
import { planted } from '../util/planted-bug.ts';
import type { Runner } from './runner.ts';

/** The second confirmation (G4): whoever forgets a transaction has named what stays unresolved. */
export function whyNotForgotten(
  { plan, state }: Runner,
  { action, unresolved: named = [] }: ActionRequest,
): string | undefined {
  if (action !== 'forget') return undefined;
  const missing = unresolved(plan, state).filter((branch) => !named.includes(branch));
  return missing.length === 0 ? undefined : `name every unresolved branch; not named: ${missing.join(', ')}`;
}

function unresolved(plan: Plan, state: State): readonly string[] {
  const resolved = new Set(['done', 'undone', 'confirmed', 'refused', 'skipped']);
  return branches(plan, state).flatMap(({ branch, status }) => (resolved.has(status) ? [] : [branch]));
}

export function isGoingBack(state: State): boolean {
  return state.kind === 'compensating' || state.kind === 'cancelling' || state.kind === 'aborted';
}

/** As text, so that what JSON leaves out does not count as a difference. */
export function differenceOf(
  a: Plan | TccBranchDefinition,
  b: Plan | TccBranchDefinition,
): string | undefined {
  return firstDifference(JSON.parse(JSON.stringify(a)), JSON.parse(JSON.stringify(b)));
}

const addressOfCall =
  /^(\/check|\/(?:steps|branches|targets)\/\d+\/(?:action|compensation|try|confirm|cancel|deliver))\/address$/;

/** The same gid may only mean the same transaction; the error names where the two first differ. */
export function refuseOther(gid: Gid, present: Plan, submitted: Plan): void {
  const difference = differenceOf(present, submitted);
  if (difference === undefined || planted('accept-another-body')) return;
  // What a call's address is to a plan, is its `url` to whoever wrote it.
  const where = difference.replace(addressOfCall, '$1/url');
  throw new SettleError(
    'gid_conflict',
    `${gid} was submitted before with another definition; they differ at ${where}`,
    {
      gid,
      next: 'Use a new gid for a new transaction, or send the same definition again',
    },
  );
}

export function illegal({ gid, state }: Runner, action: string, why = `it is ${state.kind}`): SettleError {
  const what = `${action} is not possible while ${gid} is ${state.kind}: ${why}`;
  return new SettleError('illegal_action', what, {
    gid,
    next: 'Read its state and choose an action that is legal in it',
  });
}

export function leaseLost(gid: Gid): SettleError {
  return new SettleError('lease_lost', `another coordinator took ${gid} over`, {
    gid,
    next: 'Ask again; the decision that stands is in the store',
    retryAfterMs: 200,
  });
}

export function unreadable(gid: Gid, reason: string): SettleError {
  return new SettleError('internal', `${gid} cannot be read by this version: ${reason}`, {
    gid,
    next: 'It is left untouched; use a coordinator of the version that wrote it, or a newer one',
  });
}

export function asSettleError(error: unknown, gid: Gid | undefined): SettleError {
  if (isSettleError(error)) return error;
  return new SettleError('internal', messageOf(error), { gid, cause: error });
}
