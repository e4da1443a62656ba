import type { Action } from '../../../lib/src/core/legal.ts';
import type { Status } from '../../../lib/src/core/patterns.ts';
import type { Operation } from '../history.ts';
import type { Checker, Violation } from './checker.ts';
import { decisionOf, factsOf, type Facts } from './facts.ts';

/**
 * Linearizability per gid. The store's order of writes is the order there is, so nothing has to be searched for: what is
 * told has stood, nobody is told of an earlier status than anybody was told before he asked, and a decision that was
 * answered stands from then on.
 */
export const truthfulAnswers: Checker = {
  id: 'I18',
  title: 'what a client was told was durable, and is never contradicted',
  check: (history) =>
    factsOf(history).flatMap((facts) => {
      const told = facts.operations.flatMap((operation) => tellingOf(facts, operation) ?? []);
      return told.flatMap((telling): readonly Violation[] => {
        const what = untrue(facts, telling, told);
        return what === undefined ? [] : [{ invariant: 'I18', gid: facts.gid, seq: telling.asked, what }];
      });
    }),
};

/** Somebody was told a status; `stood` are all that the row had until then, in order. */
interface Telling {
  readonly operation: Operation;
  readonly asked: number;
  readonly answered: number;
  readonly status: Status;
  readonly stood: readonly Status[];
}

function tellingOf({ writes }: Facts, operation: Operation): Telling | undefined {
  const { answer, seq: asked } = operation;
  if (answer.kind !== 'view') return undefined;
  const stood = writes.flatMap(({ seq, after }) =>
    seq < answer.seq && after !== undefined ? [after.status] : [],
  );
  return { operation, asked, answered: answer.seq, status: answer.view.status, stood };
}

function untrue(
  facts: Facts,
  { operation, asked, status, stood }: Telling,
  all: readonly Telling[],
): string | undefined {
  const { by, coordinator, request } = operation;
  const place = stood.lastIndexOf(status);
  if (place < 0) return `${coordinator} told ${by} ${status}, which was not durable`;
  // What only the store knows of has not happened to anybody yet.
  const newer = all.find((other) => other.answered < asked && other.stood.indexOf(other.status) > place);
  if (newer !== undefined)
    return `${coordinator} told ${by} ${status}; before he asked, ${newer.operation.by} was told ${newer.status}`;
  const wanted = promised(facts, request.kind === 'act' ? request.action : request.kind);
  const now = stood.at(-1);
  if (wanted === undefined || now === undefined || now === 'forgotten') return undefined;
  if (decisionOf(now) === wanted) return undefined;
  return `${coordinator} answered the ${request.kind} of ${by}, and it was durably ${now}`;
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
