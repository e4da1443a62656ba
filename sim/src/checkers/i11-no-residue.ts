import { isFinal, type History } from '../history.ts';
import type { Checker, Violation } from './checker.ts';
import { factsOf, wasActedOn, type Facts } from './facts.ts';

export const noResidue: Checker = {
  id: 'I11',
  title: 'what has settled holds nothing, neither at participants nor in coordinators',
  check: (history) => [...factsOf(history).flatMap(holds), ...leftInMemory(history)],
};

function holds({ gid, last, effects }: Facts): readonly Violation[] {
  if (last === undefined || wasActedOn(last, 'skip-branch', 'forget')) return [];
  const { status } = last.row;
  if (!isFinal(status)) return [];
  const held = new Map<string, number>();
  for (const effect of effects) {
    const name = `${effect.participant}/${effect.account}`;
    held.set(name, (held.get(name) ?? 0) + effect.held);
  }
  return [...held].flatMap(([name, amount]) =>
    amount === 0 ? [] : [{ invariant: 'I11', gid, what: `it is ${status} and holds ${amount} at ${name}` }],
  );
}

/**
 * A call that was decided against may still be under way, and one of several coordinators may not have noticed yet that
 * another one ended what both had; what a coordinator leaves behind when it stops, the run looks at itself.
 */
function leftInMemory({ final, leases }: History): readonly Violation[] {
  const found: Violation[] = [];
  const complain = (what: string): number => found.push({ invariant: 'I11', what });
  const unfinished = final.rows.filter(({ status }) => !isFinal(status)).length;
  const isAlone = final.coordinators.length === 1;
  for (const { coordinator, transactions, writesWaiting } of final.coordinators) {
    if (isAlone && transactions > unfinished)
      complain(`${coordinator} has ${transactions} transactions in memory; ${unfinished} are unfinished`);
    if (writesWaiting > 0) complain(`${coordinator} still has ${writesWaiting} writes waiting`);
  }
  // A join of which nobody heard leaves a lease that runs out by itself: nobody renews it.
  const isRenewed = (epoch: number): boolean =>
    leases.some((lease) => lease.kind === 'renewed' && lease.epoch === epoch);
  const kept = final.leases.filter(isRenewed).length;
  if (kept > final.coordinators.length)
    complain(`${kept} leases are kept by ${final.coordinators.length} coordinators`);
  return found;
}
