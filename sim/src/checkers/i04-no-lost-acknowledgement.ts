import { isFinal, type Operation } from '../history.ts';
import type { Checker } from './checker.ts';
import { factsOf, type Facts } from './facts.ts';

/** Judged by what clients were told: not one of those answers may have been about nothing. */
export const noLostAcknowledgement: Checker = {
  id: 'I4',
  title: 'what was acknowledged is in the store, and ends or is seen to be stuck',
  check: (history) =>
    factsOf(history).flatMap((facts) => {
      const acknowledged = facts.operations.find(isAcknowledged);
      if (acknowledged === undefined) return [];
      const what = lost(facts, acknowledged);
      return what === undefined ? [] : [{ invariant: 'I4', gid: facts.gid, seq: acknowledged.seq, what }];
    }),
};

function isAcknowledged({ request, answer }: Operation): boolean {
  return request.kind !== 'get' && answer.kind === 'view';
}

function lost({ writes, last, intent }: Facts, { answer, by }: Operation): string | undefined {
  const told = answer.kind === 'none' ? Infinity : answer.seq;
  const inserted = writes.find(({ kind }) => kind === 'insert');
  if (inserted === undefined || last === undefined) return `${by} was answered, and it was never stored`;
  if (inserted.seq > told) return `${by} was answered before it was stored`;
  const pruned = writes.find(({ kind }) => kind === 'prune');
  if (pruned !== undefined && pruned.before !== undefined && !isFinal(pruned.before.status))
    return `it was deleted while ${pruned.before.status}`;
  const { status, stuck } = last.row;
  return isFinal(status) || stuck || intent?.hopeless
    ? undefined
    : `it stays ${status}, and nobody is told that it is stuck`;
}
