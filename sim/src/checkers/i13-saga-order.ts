import type { SagaPlan } from '../../../lib/src/core/saga-plan.ts';
import type { Checker, Violation } from './checker.ts';
import { factsOf, type Facts } from './facts.ts';

/** For parallel sagas the order of their dependencies; for sequential ones that is the order they are written in. */
export const sagaOrder: Checker = {
  id: 'I13',
  title: 'actions take effect in the order of the plan, compensations in the reverse',
  check: (history) =>
    factsOf(history).flatMap((facts) =>
      facts.last?.plan.pattern === 'saga' ? broken(facts, facts.last.plan) : [],
    ),
};

function broken({ gid, handled, last }: Facts, plan: SagaPlan): readonly Violation[] {
  const positions = new Map<string, number>(plan.steps.map(({ name }, at) => [name, at]));
  // An operator answers for what was skipped.
  const isSkipped = (at: number): boolean => last?.branches[at]?.status === 'skipped';
  const made = new Set<number>();
  const undone = new Set<number>();
  const found: Violation[] = [];
  const nameOf = (at: number): string => plan.steps[at]?.name ?? String(at);
  for (const { branch, op, how, seq } of handled) {
    const at = positions.get(branch);
    if (at === undefined || how !== 'worked') continue;
    if (op === 'action') {
      made.add(at);
      for (const before of plan.steps[at]?.after ?? []) {
        if (made.has(before) || isSkipped(before)) continue;
        found.push({ invariant: 'I13', gid, seq, what: `${branch} took effect before ${nameOf(before)}` });
      }
    }
    if (op === 'compensate') {
      undone.add(at);
      for (const later of made) {
        if (undone.has(later) || isSkipped(later) || !comesAfter(plan, later, at)) continue;
        if (plan.steps[later]?.compensation === undefined) continue;
        found.push({ invariant: 'I13', gid, seq, what: `${branch} was undone before ${nameOf(later)}` });
      }
    }
  }
  return found;
}

function comesAfter(plan: SagaPlan, later: number, earlier: number): boolean {
  return plan.steps[later]?.after.some((at) => at === earlier || comesAfter(plan, at, earlier)) ?? false;
}
