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

function leftInMemory(history: History): readonly Violation[] {
  const { final } = history;
  const found: Violation[] = [];
  const complain = (what: string): number => found.push({ invariant: 'I11', what });
  const unfinished = final.rows.filter(({ status }) => !isFinal(status)).length;
  for (const { coordinator, transactions, writesWaiting, callsUnderWay } of final.coordinators) {
    if (transactions > unfinished)
      complain(`${coordinator} has ${transactions} transactions in memory; ${unfinished} are unfinished`);
    if (writesWaiting > 0) complain(`${coordinator} still has ${writesWaiting} writes waiting`);
    if (callsUnderWay > unfinished) complain(`${coordinator} still has ${callsUnderWay} calls under way`);
  }
  if (final.leases.length > final.coordinators.length)
    complain(`${final.leases.length} leases for ${final.coordinators.length} coordinators`);
  return found;
}
