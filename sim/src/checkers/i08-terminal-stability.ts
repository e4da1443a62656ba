import type { Status } from '../../../lib/src/core/patterns.ts';
import { isFinal } from '../history.ts';
import type { Checker, Violation } from './checker.ts';
import { factsOf } from './facts.ts';

export const terminalStability: Checker = {
  id: 'I8',
  title: 'an end that a client was told of stays the end',
  check: (history) =>
    factsOf(history).flatMap(({ gid, operations, writes }): readonly Violation[] => {
      let end: { readonly status: Status; readonly seq: number; readonly by: string } | undefined;
      const told = operations.flatMap(({ answer, by, seq }) =>
        answer.kind === 'view' ? [{ by, asked: seq, seq: answer.seq, status: answer.view.status }] : [],
      );
      for (const { by, seq, status } of told.toSorted((a, b) => a.seq - b.seq)) {
        if (!isFinal(status)) continue;
        if (end === undefined || seq < end.seq) end = { status, seq, by };
      }
      if (end === undefined) return [];
      const { status, seq, by } = end;
      const heard = told.find((later) => later.asked > seq && later.status !== status);
      if (heard !== undefined) {
        const what = `${by} was told ${status}, and later ${heard.by} ${heard.status}`;
        return [{ invariant: 'I8', gid, seq: heard.seq, what }];
      }
      const written = writes.find((later) => later.seq > seq && (later.after?.status ?? status) !== status);
      if (written === undefined) return [];
      const what = `${by} was told ${status}, and later it was written to be ${written.after?.status}`;
      return [{ invariant: 'I8', gid, seq: written.seq, what }];
    }),
};
