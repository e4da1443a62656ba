import type { History } from '../history.ts';
import type { Checker, Violation } from './checker.ts';
import { factsOf, wasActedOn, wasDecidedByPerson, type Facts, type Read } from './facts.ts';

export const conservation: Checker = {
  id: 'I5',
  title: 'nothing is made or lost, and no account goes below zero',
  check: (history) => [
    ...overdrawn(history),
    ...factsOf(history).flatMap(unbalanced),
    ...wrongTotals(history),
  ],
};

function overdrawn({ effects, final }: History): readonly Violation[] {
  const free = new Set(final.accounts.filter((a) => a.overdraft).map((a) => `${a.participant}/${a.account}`));
  return effects.flatMap(({ participant, account, balanceAfter, heldAfter, gid, seq, op }) => {
    const name = `${participant}/${account}`;
    if (heldAfter >= 0 && (balanceAfter >= 0 || free.has(name))) return [];
    const what = `${op} left ${name} with ${balanceAfter}, and ${heldAfter} held`;
    return [{ invariant: 'I5', gid, seq, what }];
  });
}

/** A branch of what has settled has moved what its author meant, or nothing. */
function unbalanced({ gid, last, intent, effects }: Facts): readonly Violation[] {
  if (last === undefined || intent === undefined || isBeyondPromise(last)) return [];
  const { status } = last.row;
  if (status !== 'committed' && status !== 'aborted') return [];
  const moved = new Map<string, number>();
  for (const { branch, delta, held } of effects) moved.set(branch, (moved.get(branch) ?? 0) + delta + held);
  const found: Violation[] = [];
  for (const [branch, { delta }] of intent.branches) {
    if (!isPartOf(last, branch)) continue;
    const is = moved.get(branch) ?? 0;
    const meant = status === 'committed' ? delta : 0;
    if (is !== meant)
      found.push({
        invariant: 'I5',
        gid,
        what: `it is ${status}, and ${branch} moved ${is} instead of ${meant}`,
      });
  }
  return found;
}

/** Not every branch that its initiator had in mind was registered. */
function isPartOf({ branches, plan }: Read, name: string): boolean {
  return plan.pattern !== 'tcc' || branches.some(({ branch }) => branch === name);
}

/** A person skipped a branch, or decided about a message without knowing what its producer did. */
function isBeyondPromise(last: Read): boolean {
  if (wasActedOn(last, 'skip-branch')) return true;
  return last.plan.pattern === 'message' && wasDecidedByPerson(last);
}

/** The books agree with what was seen to change them. */
function wrongTotals({ final, effects }: History): readonly Violation[] {
  const changes = new Map<string, number>();
  for (const { participant, account, delta, held } of effects) {
    const name = `${participant}/${account}`;
    changes.set(name, (changes.get(name) ?? 0) + delta + held);
  }
  return final.accounts.flatMap(({ participant, account, opening, balance, held }) => {
    const name = `${participant}/${account}`;
    const expected = opening + (changes.get(name) ?? 0);
    if (balance + held === expected) return [];
    return [{ invariant: 'I5', what: `${name} ends with ${balance + held} instead of ${expected}` }];
  });
}
