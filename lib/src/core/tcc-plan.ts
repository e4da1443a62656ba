import { SettleError } from '../util/errors.ts';
import {
  checkCallSpec,
  checkCommon,
  checkNumber,
  checkRetry,
  checkUniqueNames,
  type PlanCommon,
} from './plan.ts';
import type { CallSpec } from './call-spec.ts';
import { parseBranchName, type BranchName } from './ids.ts';
import type { RetryPolicy } from './retry-policy.ts';

/** A TCC transaction as its initiator writes it. */
export interface TccDefinition extends PlanCommon {
  /** Milliseconds from begin after which everything is cancelled. Default 60,000. */
  readonly timeoutMs?: number;
  /** Who decides to confirm: the initiator by a commit (default), or the coordinator once all is tried. */
  readonly decide?: 'initiator' | 'when-all-tried';
  /** Branches known from the start; with `decide: 'initiator'` more can be registered later. */
  readonly branches?: readonly TccBranchDefinition[];
}

export interface TccBranchDefinition {
  readonly name: string;
  /** Without it the initiator calls try itself; the branch then counts as tried when it commits. */
  readonly try?: CallSpec;
  readonly confirm: CallSpec;
  readonly cancel: CallSpec;
  /** How often a try without an answer is repeated before everything is cancelled. Default 4 attempts. */
  readonly retry?: RetryPolicy;
}

export interface TccPlan extends PlanCommon {
  readonly pattern: 'tcc';
  readonly timeoutMs: number;
  readonly decide: 'initiator' | 'when-all-tried';
  readonly branches: readonly TccBranchSpec[];
}

export interface TccBranchSpec extends TccBranchDefinition {
  readonly name: BranchName;
}

export const tccTimeoutDefaultMs = 60_000;

/** Checks a definition. Throws `invalid_definition` that names the branch and what to change. */
export function planTcc(definition: TccDefinition): TccPlan {
  checkCommon(definition);
  checkNumber('timeoutMs', definition.timeoutMs, 1);
  const { decide = 'initiator', timeoutMs = tccTimeoutDefaultMs, branches = [] } = definition;
  const specs = planTccBranches(branches, []);
  if (decide === 'when-all-tried') {
    if (specs.length === 0)
      throw invalid(`${definition.name} has no branches to try`, 'Give it at least one branch');
    const untried = specs.find((spec) => spec.try === undefined);
    if (untried !== undefined) {
      throw invalid(
        `branch ${untried.name} has no try, so it can never be known to be tried`,
        'Give it a try',
      );
    }
  }
  return { ...definition, pattern: 'tcc', decide, timeoutMs, branches: specs };
}

/** Checks branches that join those already there. */
export function planTccBranches(
  added: readonly TccBranchDefinition[],
  present: readonly TccBranchSpec[],
): readonly TccBranchSpec[] {
  checkUniqueNames(
    [...present, ...added].map((branch) => branch.name),
    'branch',
  );
  return added.map((branch) => {
    const isOwn = (name: string): boolean => name === branch.name;
    if (branch.try !== undefined) checkCallSpec(`the try of ${branch.name}`, branch.try);
    checkCallSpec(`the confirm of ${branch.name}`, branch.confirm, isOwn);
    checkCallSpec(`the cancel of ${branch.name}`, branch.cancel, isOwn);
    checkRetry(`branch ${branch.name}`, branch.retry);
    return { ...branch, name: parseBranchName(branch.name) };
  });
}

function invalid(what: string, next: string): SettleError {
  return new SettleError('invalid_definition', what, { next });
}
