import { producerBranch } from '../../../lib/src/core/message-plan.ts';
import type { Checker, Violation } from './checker.ts';
import { factsOf, wasActedOn, wasDecidedByPerson, type Facts } from './facts.ts';

export const messageIffCommit: Checker = {
  id: 'I14',
  title: 'a message is delivered if and only if its producer committed',
  check: (history) => factsOf(history).flatMap(broken),
};

function broken({ gid, last, effects, handled }: Facts): readonly Violation[] {
  if (last?.plan.pattern !== 'message' || last.plan.check === undefined) return [];
  const found: Violation[] = [];
  const complain = (what: string, seq?: number): number =>
    found.push(seq === undefined ? { invariant: 'I14', gid, what } : { invariant: 'I14', gid, what, seq });
  const committed = effects.find(({ branch, op }) => branch === producerBranch && op === 'action');
  const denied = handled.find(({ op, how }) => op === 'check' && how === 'refused');
  if (committed !== undefined && denied !== undefined && denied.seq < committed.seq)
    complain('the producer committed after its check-back said no', committed.seq);
  if (wasActedOn(last, 'forget') || wasDecidedByPerson(last)) return found;
  const delivered = handled.find(
    ({ branch, op, how }) => branch !== producerBranch && op === 'action' && how === 'worked',
  );
  if (delivered !== undefined && (committed === undefined || delivered.seq < committed.seq))
    complain(`delivered to ${delivered.branch}, and the producer had not committed`, delivered.seq);
  if (committed !== undefined && last.row.status === 'aborted')
    complain('dropped, and the producer committed', committed.seq);
  if (committed === undefined && last.row.status === 'committed')
    complain('it is committed, and the producer is not');
  return found;
}
