import type { Operation } from '../history.ts';
import type { Checker, Violation } from './checker.ts';
import { factsOf, type Facts } from './facts.ts';

export const idempotentSubmit: Checker = {
  id: 'I12',
  title: 'one gid is one transaction: the same definition is the same one, another is a conflict',
  check: (history) => factsOf(history).flatMap(broken),
};

function broken({ gid, operations, writes }: Facts): readonly Violation[] {
  const found: Violation[] = [];
  let isThere = false;
  for (const { kind, seq } of writes) {
    if (kind === 'insert' && isThere) found.push({ invariant: 'I12', gid, seq, what: 'inserted twice' });
    if (kind === 'insert' || kind === 'prune') isThere = kind === 'insert';
  }
  // Its gid may have been used again since.
  if (writes.some(({ kind }) => kind === 'prune')) return found;
  const submits = operations.filter(({ request }) => request.kind === 'submit');
  const accepted = submits.filter(({ answer }) => answer.kind === 'view');
  const [first] = accepted;
  if (first === undefined) return found;
  const complain = ({ seq, by }: Operation, what: string): number =>
    found.push({ invariant: 'I12', gid, seq, what: `${by} ${what}` });
  for (const other of accepted) {
    if (other.fingerprint !== first.fingerprint)
      complain(other, `was accepted with another definition than ${first.by}`);
  }
  for (const other of submits) {
    const isConflict = other.answer.kind === 'error' && other.answer.code === 'gid_conflict';
    if (isConflict && other.fingerprint === first.fingerprint)
      complain(other, `was told of a conflict with its own definition`);
  }
  return found;
}
