import type { BranchView } from '../../../lib/src/core/protocol.ts';
import type { Checker } from './checker.ts';
import { factsOf, wasActedOn, workedAt, type Facts, type Read } from './facts.ts';

/** Judged by what the participants really did; a person's `forget` and `skip-branch` are recorded exceptions. */
export const atomicity: Checker = {
  id: 'I1',
  title: 'no branch stands where another was undone',
  check: (history) =>
    factsOf(history).flatMap((facts) =>
      broken(facts).map((what) => ({ invariant: 'I1', gid: facts.gid, what })),
    ),
};

function broken(facts: Facts): readonly string[] {
  const { last } = facts;
  if (last === undefined) {
    return facts.handled.some(({ how }) => how === 'worked')
      ? ['a participant worked for what was never stored']
      : [];
  }
  const confirmed = facts.handled.some(({ op, how }) => op === 'confirm' && how === 'worked');
  const cancelled = facts.handled.some(({ op, how }) => op === 'cancel' && how === 'worked');
  if (confirmed && cancelled) return ['one branch is confirmed and another cancelled'];
  const { status } = last.row;
  if (status !== 'committed' && status !== 'aborted') return [];
  return last.branches
    .filter((view) => view.status !== 'skipped' && view.op !== 'check')
    .flatMap((view) => {
      const what = status === 'committed' ? missing(facts, last, view) : left(facts, last, view);
      return what === undefined ? [] : [`${view.branch} ${what}, yet it is ${status}`];
    });
}

function missing(facts: Facts, { plan }: Read, { branch }: BranchView): string | undefined {
  if (workedAt(facts, branch, 'compensate', 'cancel').length > 0) return 'is undone';
  const op = plan.pattern === 'tcc' ? 'confirm' : 'action';
  return workedAt(facts, branch, op).length > 0 ? undefined : `has no ${op}`;
}

function left(facts: Facts, last: Read, { branch }: BranchView): string | undefined {
  if (workedAt(facts, branch, 'confirm').length > 0) return 'is confirmed';
  const stands =
    workedAt(facts, branch, 'action', 'try').length > workedAt(facts, branch, 'compensate', 'cancel').length;
  if (!stands) return undefined;
  const { plan } = last;
  if (plan.pattern !== 'saga') return 'stands';
  const step = plan.steps.find(({ name }) => name === branch);
  if (step?.compensation !== undefined) return 'stands';
  // A person who forces an abort answers for the pivot. Any other step without a compensation may be left.
  return step?.pivot && !wasActedOn(last, 'force-abort') ? 'is a pivot, and stands' : undefined;
}
