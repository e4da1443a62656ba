import { describe, expect, it } from 'vitest';
import { abort, passed, stateAfter } from '../testing/specification.ts';
import { codecVersion, decode, encodePlan, encodeProgress, type Progress } from './codec.ts';
import { planSaga } from './saga-plan.ts';

const call = { address: 'http://x' };
const plan = planSaga({
  name: 'x',
  input: { text: 'ä "\u2028', none: null },
  timeoutMs: 5,
  steps: [{ name: 'a', action: call, compensation: call }],
});
const progress: Progress = {
  state: stateAfter(plan, ...passed('a', 'action', { id: 7 }).slice(0, 1), abort),
  history: [{ kind: 'status', atMs: 1, status: 'compensating' }],
};

describe('what a store keeps', () => {
  it('reads back as what was written', () => {
    expect(decode(encodePlan(plan), encodeProgress(progress))).toEqual({ kind: 'readable', plan, progress });
  });

  const planText = encodePlan(plan);
  const progressText = encodeProgress(progress);
  it.each<[string, string, string, string]>([
    ['a torn plan', planText.slice(0, -1), progressText, 'not JSON'],
    ['a torn state', planText, progressText.slice(0, -1), 'not JSON'],
    ['a plan that is no object', '7', progressText, 'the pattern is not known'],
    ['a pattern of a later version', '{"pattern":"xa"}', progressText, 'the pattern is not known'],
    ['progress that is no object', planText, '[]', 'written by another version'],
    [
      'a later version',
      planText,
      progressText.replace(`"v":${codecVersion}`, `"v":${codecVersion + 1}`),
      'written by another version',
    ],
    [
      'a status of a later version',
      planText,
      '{"v":1,"state":{"kind":"preparing"},"history":[]}',
      'the state is not',
    ],
    ['a state that is no object', planText, '{"v":1,"state":7,"history":[]}', 'the state is not known'],
    ['no history', planText, '{"v":1,"state":{"kind":"running"}}', 'the state is not known'],
    [
      'a status of another pattern',
      planText,
      '{"v":1,"state":{"kind":"trying","branches":[]},"history":[]}',
      'the state is not known',
    ],
  ])('%s is left alone, with the reason (D8)', (_, plan, progress, reason) => {
    const decoded = decode(plan, progress);
    expect(decoded.kind).toBe('unreadable');
    expect(decoded).toMatchObject({ reason: expect.stringContaining(reason) as unknown });
  });
});
