import type { Op } from '../../../lib/src/core/outcome.ts';
import type { Status } from '../../../lib/src/core/patterns.ts';
import type { SagaPlan } from '../../../lib/src/core/saga-plan.ts';
import type { CallRecord } from '../history.ts';
import type { Checker } from './checker.ts';
import { factsOf, read, type Facts, type Read } from './facts.ts';

/** D1, D2 and D3, judged at the moment a call leaves by what a crash at that very moment would leave. */
export const decisionBeforeEffect: Checker = {
  id: 'I2',
  title: 'what a call rests on is durable when the call leaves',
  check: (history) =>
    factsOf(history).flatMap((facts) =>
      facts.calls.flatMap((call) => {
        const what = broken(facts, call);
        if (what === undefined) return [];
        const { gid, branch, op, seq } = call;
        return [{ invariant: 'I2', gid, seq, what: `${op} ${branch} left ${what}` }];
      }),
    ),
};

/** What must be durable before; once somebody else has ended the transaction, a late call is absorbed. */
const decided: Readonly<Partial<Record<Op, readonly Status[]>>> = {
  compensate: ['compensating', 'aborted', 'forgotten'],
  cancel: ['cancelling', 'aborted', 'forgotten'],
  confirm: ['confirming', 'committed', 'forgotten'],
};
const delivered: readonly Status[] = ['scheduled', 'delivering', 'committed', 'forgotten'];
const pastPivot: readonly Status[] = ['finishing', 'committed', 'forgotten'];

function broken(facts: Facts, { durable, op, branch }: CallRecord): string | undefined {
  if (durable === undefined) return wasPruned(facts) ? undefined : 'before the transaction was durable';
  const { status, pattern } = durable;
  const needed = pattern === 'message' && op === 'action' ? delivered : decided[op];
  if (needed !== undefined)
    return needed.includes(status) ? undefined : `while the durable status was ${status}`;
  if (pattern !== 'saga' || op !== 'action') return undefined;
  const known = read(durable);
  return known?.plan.pattern === 'saga' ? tooEarly(facts, known.plan, known, branch) : undefined;
}

function tooEarly(facts: Facts, plan: SagaPlan, { row, branches }: Read, branch: string): string | undefined {
  const step = plan.steps.find(({ name }) => name === branch);
  for (const at of step?.after ?? []) {
    const before = plan.steps[at];
    if (before === undefined) continue;
    if (before.pivot && !pastPivot.includes(row.status) && row.status !== 'aborted')
      return `after the pivot ${before.name}, while the durable status was ${row.status}`;
    const isRepeated = facts.intent?.branches.get(before.name)?.announces ?? true;
    const status = branches[at]?.status;
    // In any other status an owner that does not know yet sends what rests on an older row.
    if (row.status === 'running' && !isRepeated && status !== 'done' && status !== 'skipped')
      return `while ${before.name}, which may answer a repeat differently, was durably ${status}`;
  }
  return undefined;
}

function wasPruned({ writes }: Facts): boolean {
  return writes.some(({ kind }) => kind === 'prune');
}
