import type { Op } from '../../../lib/src/core/outcome.ts';
import type { BranchStatus } from '../../../lib/src/core/protocol.ts';
import type { Checker, Violation } from './checker.ts';
import { factsOf, workedAt, type Facts } from './facts.ts';

export const oneEffect: Checker = {
  id: 'I6',
  title: 'an operation takes effect at most once, and once when its branch is reported done',
  check: (history) => factsOf(history).flatMap((facts) => [...twice(facts), ...never(facts)]),
};

function twice({ gid, handled }: Facts): readonly Violation[] {
  const seen = new Set<string>();
  return handled.flatMap(({ how, branch, op, seq }) => {
    if (how !== 'worked') return [];
    const key = `${op} ${branch}`;
    if (seen.has(key)) return [{ invariant: 'I6', gid, seq, what: `${key} took effect again` }];
    seen.add(key);
    return [];
  });
}

/** A branch that is `undone` may have had nothing to undo. */
const claims: Readonly<Partial<Record<BranchStatus, readonly Op[]>>> = {
  done: ['action', 'try'],
  confirmed: ['confirm'],
};

function never(facts: Facts): readonly Violation[] {
  const { gid, last } = facts;
  return (last?.branches ?? []).flatMap(({ branch, status, op }) => {
    const ops = claims[status];
    if (ops === undefined || op === 'check' || workedAt(facts, branch, ...ops).length > 0) return [];
    return [
      { invariant: 'I6', gid, what: `${branch} is reported ${status}, and its ${ops[0]} never worked` },
    ];
  });
}
