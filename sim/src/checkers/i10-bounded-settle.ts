import { isFinal } from '../history.ts';
import type { Checker } from './checker.ts';
import { factsOf, wasActedOn, type Facts, type Read } from './facts.ts';

export const boundedSettle: Checker = {
  id: 'I10',
  title: 'once faults stop, everything settles within the bound or waits for a person',
  check: (history) => {
    const { healedAt, settleBoundMs, endedAt } = history;
    const untilAt = healedAt + settleBoundMs;
    return factsOf(history).flatMap((facts) => {
      const { gid, last, writes } = facts;
      if (last === undefined) return [];
      const { status } = last.row;
      if (!isFinal(status)) {
        if (waitsForPerson(facts, last)) return [];
        const what = `${status}${last.row.stuck ? ' (stuck)' : ''} ${endedAt - healedAt} ms after the faults stopped`;
        return [{ invariant: 'I10', gid, what }];
      }
      const ended = writes.find(({ after }) => after !== undefined && isFinal(after.status));
      if (ended === undefined || ended.at <= untilAt) return [];
      const what = `settled ${ended.at - healedAt} ms after the faults stopped; the bound is ${settleBoundMs} ms`;
      return [{ invariant: 'I10', gid, seq: ended.seq, what }];
    });
  },
};

/**
 * Parked, hopeless by the workload's own doing, forced to do what a participant rightly never does, or in want of the
 * result of a branch that a person skipped.
 */
function waitsForPerson({ intent }: Facts, last: Read): boolean {
  if (intent?.hopeless === true || last.branches.some(({ status }) => status === 'parked')) return true;
  if (!last.row.stuck) return false;
  if (wasActedOn(last, 'force-commit', 'force-abort')) return true;
  return (
    wasActedOn(last, 'skip-branch') &&
    last.branches.some(({ reason }) => reason?.includes('no result at') === true)
  );
}
