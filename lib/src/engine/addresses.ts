import type { Plan } from '../core/patterns.ts';
import type { TccBranchSpec } from '../core/tcc-plan.ts';

/** Every address that a plan may ever call. */
export function addressesOf(plan: Plan): Iterable<string> {
  switch (plan.pattern) {
    case 'saga':
      return plan.steps.flatMap(({ action, compensation }) =>
        compensation === undefined ? [action.address] : [action.address, compensation.address],
      );
    case 'tcc':
      return addressesOfBranches(plan.branches);
    case 'message': {
      const targets = plan.targets.map(({ deliver }) => deliver.address);
      return plan.check === undefined ? targets : [plan.check.address, ...targets];
    }
  }
}

export function addressesOfBranches(branches: readonly TccBranchSpec[]): readonly string[] {
  return branches.flatMap(({ try: attempt, confirm, cancel }) => [
    ...(attempt === undefined ? [] : [attempt.address]),
    confirm.address,
    cancel.address,
  ]);
}
