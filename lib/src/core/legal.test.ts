import { describe, expect, it } from 'vitest';
import {
  abort,
  commit,
  forget,
  passed,
  sent,
  situationOf,
  skip,
  stateAfter,
  times,
  unknown,
} from '../testing/specification.ts';
import { actions, legalTable, whyIllegal, whyIllegalHere } from './legal.ts';
import { planMessage } from './message-plan.ts';
import {
  evolve,
  isTerminal,
  patterns,
  planOf,
  start,
  statuses,
  statusesOf,
  stuckBranches,
} from './patterns.ts';
import { planSaga } from './saga-plan.ts';
import { planTcc } from './tcc-plan.ts';

const call = { address: 'http://x' };
const saga = planSaga({
  name: 'saga',
  steps: [
    { name: 'a', action: call, compensation: call },
    { name: 'b', action: call, after: [] },
  ],
});
const tcc = planTcc({ name: 'tcc', branches: [{ name: 'a', try: call, confirm: call, cancel: call }] });
const message = planMessage({ name: 'message', check: call, targets: [{ name: 'a', deliver: call }] });

describe('the legal table', () => {
  it('has a line for every status of every pattern, and no other', () => {
    expect(Object.keys(legalTable).toSorted()).toEqual([...statuses].toSorted());
    expect(Object.keys(statusesOf)).toEqual(patterns);
  });

  it('lets an end be the end', () => {
    for (const status of ['committed', 'aborted', 'forgotten'] as const) {
      for (const action of actions)
        expect(whyIllegal(action, status, true)).toBe('the transaction has ended');
    }
  });

  // covers B6
  it('knows only one decision', () => {
    for (const status of ['finishing', 'confirming', 'delivering', 'scheduled'] as const) {
      for (const action of ['abort', 'force-abort', 'force-commit'] as const) {
        expect(whyIllegal(action, status, true)).toContain('commit has fallen');
      }
    }
    for (const status of ['compensating', 'cancelling'] as const) {
      for (const action of ['abort', 'force-abort', 'force-commit'] as const) {
        expect(whyIllegal(action, status, true)).toContain('abort has fallen');
      }
    }
  });

  it('has what is stuck forgotten or skipped, and nothing else', () => {
    expect(whyIllegal('forget', 'running', false)).toContain('no branch is stuck');
    expect(whyIllegal('forget', 'running', true)).toBeUndefined();
    expect(whyIllegal('abort', 'running', false)).toBeUndefined();
  });
});

describe('what only the branches can tell', () => {
  it('a branch is skipped by its name, and only when it is the stuck one', () => {
    const stuck = stateAfter(saga, sent('a'), ...times(10, unknown('a')));
    expect(whyIllegalHere('skip-branch', saga, start(saga, 0), 'a')).toContain('no branch is stuck');
    expect(whyIllegalHere('skip-branch', saga, stuck)).toBe('name a branch that is stuck: a');
    expect(whyIllegalHere('skip-branch', saga, stuck, 'b')).toBe('name a branch that is stuck: a');
    expect(whyIllegalHere('skip-branch', saga, stuck, 'a')).toBeUndefined();
    expect(() => evolve(saga, stuck, skip('a'))).not.toThrow();
  });

  it('a TCC transaction is not forced to confirm what was never tried', () => {
    expect(whyIllegalHere('force-commit', tcc, start(tcc, 0))).toContain('not tried');
    expect(whyIllegalHere('force-commit', tcc, stateAfter(tcc, ...passed('a', 'try')))).toBeUndefined();
    expect(whyIllegalHere('force-commit', message, start(message, 0))).toBeUndefined();
    expect(whyIllegalHere('force-commit', saga, start(saga, 0))).toBeUndefined();
  });
});

describe('a stuck branch', () => {
  // covers C16
  it('was asked in vain ten times', () => {
    const after = (count: number) => stateAfter(saga, sent('a'), ...times(count, unknown('a')));
    expect(stuckBranches(saga, after(9))).toEqual([]);
    expect(stuckBranches(saga, after(10))).toMatchObject([{ branch: 'a', op: 'action' }]);
  });

  it('or is parked', () => {
    const plan = planSaga({
      name: 'x',
      steps: [
        {
          name: 'p',
          action: call,
          pivot: true,
          retry: { kind: 'exponential', baseMs: 1, factor: 2, maxMs: 1, attemptsMax: 1 },
        },
      ],
    });
    const parked = stateAfter(plan, sent('p'), unknown('p'));
    expect(stuckBranches(plan, parked)).toMatchObject([{ branch: 'p', status: 'parked' }]);
    expect(whyIllegalHere('skip-branch', plan, parked, 'p')).toBeUndefined();
  });

  it('is none when nobody wants anything of it any more', () => {
    const b = [sent('b'), ...times(10, unknown('b'))];
    expect(stuckBranches(saga, stateAfter(saga, ...b))).toHaveLength(1);
    const back = stateAfter(saga, sent('a'), ...b, abort);
    expect(situationOf(saga, back).branches).toEqual({ a: 'undoing', b: 'called' });
    expect(stuckBranches(saga, back)).toEqual([]);
    expect(stuckBranches(saga, evolve(saga, back, forget))).toEqual([]);
  });

  it('can be one that refuses the decision', () => {
    const confirming = [...passed('a', 'try'), commit, ...times(10, unknown('a', 'confirm'))];
    expect(stuckBranches(tcc, stateAfter(tcc, ...confirming))).toMatchObject([{ op: 'confirm' }]);
    const cancelling = [...passed('a', 'try'), abort, ...times(10, unknown('a', 'cancel'))];
    expect(stuckBranches(tcc, stateAfter(tcc, ...cancelling))).toMatchObject([{ op: 'cancel' }]);
  });
});

it('a definition becomes the plan of its pattern', () => {
  expect(planOf({ pattern: 'saga', name: 'x', steps: [{ name: 'a', action: call }] }).pattern).toBe('saga');
  expect(planOf({ pattern: 'tcc', name: 'x' }).pattern).toBe('tcc');
  expect(planOf({ pattern: 'message', name: 'x', targets: [{ name: 'a', deliver: call }] }).pattern).toBe(
    'message',
  );
});

it('a transaction ends committed, aborted or forgotten', () => {
  expect(isTerminal(start(saga, 0))).toBe(false);
  const forgotten = stateAfter(saga, sent('a'), forget);
  const aborted = stateAfter(saga, abort);
  const committed = stateAfter(saga, ...passed('a'), ...passed('b'));
  expect([forgotten, aborted, committed].map(isTerminal)).toEqual([true, true, true]);
});
