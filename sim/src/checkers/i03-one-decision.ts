import type { Checker, Violation } from './checker.ts';
import { decisionOf, factsOf } from './facts.ts';

export const oneDecision: Checker = {
  id: 'I3',
  title: 'at most one of commit and abort is ever durable',
  check: (history) =>
    factsOf(history).flatMap(({ gid, writes }): readonly Violation[] => {
      let first: 'commit' | 'abort' | undefined;
      for (const { kind, after, seq, coordinator } of writes) {
        // The gid of what was pruned may be used again.
        if (kind === 'prune') first = undefined;
        const decision = after === undefined ? undefined : decisionOf(after.status);
        if (decision === undefined) continue;
        first ??= decision;
        if (decision === first) continue;
        const what = `${first} was durable before ${coordinator} wrote ${after?.status}`;
        return [{ invariant: 'I3', gid, seq, what }];
      }
      return [];
    }),
};
