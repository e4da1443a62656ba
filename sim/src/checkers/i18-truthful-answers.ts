import type { Action } from '../../../lib/src/core/legal.ts';
import type { Status } from '../../../lib/src/core/patterns.ts';
import type { Operation } from '../history.ts';
import type { Checker, Violation } from './checker.ts';
import { decisionOf, factsOf, type Facts } from './facts.ts';

/**
 * Linearizability per gid, with the store's own order of writes as the order: a read tells of a status that stood, and a
 * decision that was answered stands from then on.
 */
export const truthfulAnswers: Checker = {
  id: 'I18',
  title: 'what a client was told was durable, and is never contradicted',
  check: (history) =>
    factsOf(history).flatMap((facts) =>
      facts.operations.flatMap((operation): readonly Violation[] => {
        const what = untrue(facts, operation);
        return what === undefined ? [] : [{ invariant: 'I18', gid: facts.gid, seq: operation.seq, what }];
      }),
    ),
};

function untrue(facts: Facts, { answer, request, by, coordinator }: Operation): string | undefined {
  if (answer.kind !== 'view') return undefined;
  const { status } = answer.view;
  const stood = statusesUntil(facts, answer.seq);
  if (!stood.includes(status)) return `${coordinator} told ${by} ${status}, which was not durable`;
  const wanted = promised(facts, request.kind === 'act' ? request.action : request.kind);
  const now = stood.at(-1);
  if (wanted === undefined || now === undefined || now === 'forgotten') return undefined;
  if (decisionOf(now) === wanted) return undefined;
  return `${coordinator} answered the ${request.kind} of ${by}, and it was durably ${now}`;
}

/** Every status the row ever had before this moment. */
function statusesUntil({ writes }: Facts, seq: number): readonly Status[] {
  return writes.flatMap((write) =>
    write.seq < seq && write.after !== undefined ? [write.after.status] : [],
  );
}

/** The decision that an answered request stands for. A saga past its pivot decides itself what becomes of an abort. */
function promised(
  { intent }: Facts,
  request: Action | Operation['request']['kind'],
): 'commit' | 'abort' | undefined {
  switch (request) {
    case 'commit':
    case 'force-commit':
      return 'commit';
    case 'force-abort':
      return 'abort';
    case 'abort':
      return intent?.pattern === 'saga' ? undefined : 'abort';
    default:
      return undefined;
  }
}
