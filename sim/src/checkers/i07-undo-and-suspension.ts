import type { Handled } from '../history.ts';
import type { Checker, Violation } from './checker.ts';
import { factsOf, type Facts } from './facts.ts';

export const undoAndSuspension: Checker = {
  id: 'I7',
  title: 'an undo without its action changes nothing, and no action takes effect after its undo',
  check: (history) => factsOf(history).flatMap(broken),
};

function broken({ gid, handled, effects }: Facts): readonly Violation[] {
  const found: Violation[] = [];
  const made = new Set<string>();
  const undone = new Set<string>();
  for (const { branch, op, how, seq } of handled) {
    const complain = (what: string): number => found.push({ invariant: 'I7', gid, seq, what });
    if (isForward({ op }) && how === 'worked') {
      if (undone.has(branch)) complain(`the ${op} of ${branch} took effect after its undo`);
      made.add(branch);
    }
    if (isUndo({ op })) {
      if (how === 'worked' && !made.has(branch)) complain(`${op} ${branch} worked on nothing`);
      if (how === 'worked' || how === 'null') undone.add(branch);
    }
    if (op === 'confirm' && how === 'worked' && !made.has(branch))
      complain(`${branch} is confirmed and was never tried`);
  }
  const moved = new Set<string>();
  for (const { branch, op, seq } of effects) {
    if (isForward({ op })) moved.add(branch);
    if (isUndo({ op }) && !moved.has(branch))
      found.push({
        invariant: 'I7',
        gid,
        seq,
        what: `${op} ${branch} changed the books, and there was nothing to undo`,
      });
  }
  return found;
}

function isForward({ op }: Pick<Handled, 'op'>): boolean {
  return op === 'action' || op === 'try';
}

function isUndo({ op }: Pick<Handled, 'op'>): boolean {
  return op === 'compensate' || op === 'cancel';
}
