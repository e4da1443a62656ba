import { describe, expect, it } from 'vitest';
import { planMessage, type MessageDefinition } from './message-plan.ts';

const deliver = { address: 'http://x' };
const base: MessageDefinition = { name: 'x', targets: [{ name: 'a', deliver }] };

describe('a message definition', () => {
  it('delivers at once, to all side by side, unless it says otherwise', () => {
    expect(planMessage(base)).toMatchObject({ order: 'parallel', delayMs: 0, checkAfterMs: 10_000 });
    expect(planMessage({ ...base, order: 'sequence', delayMs: 5, checkAfterMs: 7 })).toMatchObject({
      order: 'sequence',
      delayMs: 5,
      checkAfterMs: 7,
    });
  });

  it.each<[string, Partial<MessageDefinition>, string]>([
    ['has no targets', { targets: [] }, 'has no targets'],
    [
      'calls a target "producer"',
      { targets: [{ name: 'producer', deliver }] },
      'two branches are called producer',
    ],
    ['has a check-back without address', { check: { address: '' } }, 'the check-back has no address'],
    [
      'has a target without address',
      { targets: [{ name: 'a', deliver: { address: '' } }] },
      'delivery to a has no',
    ],
    ['asks back in the past', { checkAfterMs: -1 }, 'checkAfterMs is -1'],
    ['is delayed into the past', { delayMs: -1 }, 'delayMs is -1'],
    [
      'uses a result',
      { targets: [{ name: 'a', deliver: { ...deliver, inject: { n: { from: 'b', path: [] } } } }] },
      'takes "n" from b',
    ],
    [
      'retries never',
      {
        targets: [
          {
            name: 'a',
            deliver,
            retry: { kind: 'exponential', baseMs: 1, factor: 1, maxMs: 1, attemptsMax: 0 },
          },
        ],
      },
      'the attemptsMax of target a is 0',
    ],
  ])('does not build when it %s', (_, more, message) => {
    expect(() => planMessage({ ...base, ...more })).toThrow(message);
  });
});
