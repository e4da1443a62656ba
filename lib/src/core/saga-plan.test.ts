import { describe, expect, it } from 'vitest';
import { planSaga, type SagaDefinition, type SagaStepDefinition } from './saga-plan.ts';

const call = { address: 'http://x' };

function step(name: string, more: Partial<SagaStepDefinition> = {}): SagaStepDefinition {
  return { name, action: call, ...more };
}

function planOf(...steps: readonly SagaStepDefinition[]) {
  return planSaga({ name: 'x', steps });
}

const order = (...steps: readonly SagaStepDefinition[]) =>
  planOf(...steps).steps.map(({ name, after }) => [name, after]);

describe('the order of steps', () => {
  it('is the one they are written in, unless they say otherwise', () => {
    expect(order(step('a'), step('b'), step('c'))).toEqual([
      ['a', []],
      ['b', [0]],
      ['c', [1]],
    ]);
  });

  it('puts every step behind what it comes after, and keeps to the written order where it can', () => {
    expect(
      order(
        step('d', { after: ['b', 'c'] }),
        step('b', { after: ['a'] }),
        step('a', { after: [] }),
        step('c', { after: ['a', 'a'] }),
      ),
    ).toEqual([
      ['a', []],
      ['b', [0]],
      ['c', [0]],
      ['d', [1, 2]],
    ]);
  });

  it('takes a hundred steps that all depend on each other in no time', () => {
    const names = Array.from({ length: 100 }, (_, i) => `s${i}`);
    const plan = planOf(...names.map((name, i) => step(name, { after: names.slice(0, i) })).toReversed());
    expect(plan.steps.map(({ name }) => name)).toEqual(names);
  });
});

describe('a definition that does not build', () => {
  const pivot = step('p', { pivot: true });
  it.each<[string, Omit<SagaDefinition, 'name'> & { name?: string }, string]>([
    ['has no steps', { steps: [] }, 'has no steps'],
    ['has no name', { name: '', steps: [step('a')] }, '1 to 128 characters'],
    ['has a name that is too long', { name: 'x'.repeat(129), steps: [step('a')] }, '1 to 128 characters'],
    ['names two steps alike', { steps: [step('a'), step('a')] }, 'two branches are called a'],
    ['names a step "input"', { steps: [step('input')] }, 'reserved'],
    ['names a step badly', { steps: [step('a.b')] }, 'is not a branch name'],
    ['comes after a stranger', { steps: [step('a', { after: ['z'] })] }, 'a comes after z'],
    ['waits for itself', { steps: [step('a', { after: ['a'] })] }, 'the steps a wait for each other'],
    [
      'goes in a circle',
      { steps: [step('a', { after: ['c'] }), step('b'), step('c'), step('d', { after: [] })] },
      'the steps a, b, c wait for each other',
    ],
    ['has two pivots', { steps: [pivot, step('q', { pivot: true })] }, 'p, q are all pivots'],
    [
      'runs a step beside the pivot',
      { steps: [pivot, step('b', { after: [] })] },
      'b runs beside the pivot p',
    ],
    ['undoes the pivot', { steps: [{ ...pivot, compensation: call }] }, 'could never run'],
    [
      'undoes what comes after the pivot',
      { steps: [pivot, step('b', { compensation: call })] },
      'could never run',
    ],
    ['gives up the pivot', { steps: [{ ...pivot, onExhausted: 'compensate' }] }, 'cannot compensate'],
    [
      'has an action without address',
      { steps: [step('a', { action: { address: '' } })] },
      'a has no address',
    ],
    [
      'has a compensation without address',
      { steps: [step('a', { compensation: { address: '' } })] },
      'the compensation of step a has no address',
    ],
    [
      'uses a result before it is known',
      { steps: [step('a', { action: { ...call, inject: { n: { from: 'b', path: [] } } } }), step('b')] },
      'takes "n" from b',
    ],
    [
      'feeds an action with its own result',
      { steps: [step('a', { action: { ...call, inject: { n: { from: 'a', path: [] } } } })] },
      'takes "n" from a',
    ],
    [
      'injects into something that is no object',
      { steps: [step('a', { action: { ...call, payload: [1], inject: {} } })] },
      'not an object',
    ],
    ['has a deadline that is no number', { timeoutMs: NaN, steps: [step('a')] }, 'timeoutMs is NaN'],
    ['has an endless deadline', { timeoutMs: Infinity, steps: [step('a')] }, 'timeoutMs is Infinity'],
    ['gives a call no time', { callTimeoutMs: 0, steps: [step('a')] }, 'callTimeoutMs is 0'],
    [
      'retries backwards',
      { steps: [step('a', { retry: { kind: 'exponential', baseMs: 1, factor: 0.5, maxMs: 1 } })] },
      'the factor of step a is 0.5',
    ],
    [
      'has too many steps',
      { steps: Array.from({ length: 101 }, (_, i) => step(`s${i}`)) },
      '101 branches; a transaction has at most 100',
    ],
  ])('%s', (_, definition, message) => {
    expect(() => planSaga({ name: 'x', ...definition })).toThrow(message);
  });
});

describe('a definition that builds', () => {
  it('may use input, the results of all earlier steps, and its own to undo', () => {
    const inject = { i: { from: 'input', path: [] }, a: { from: 'a', path: ['id'] } };
    const compensation = { ...call, inject: { ...inject, own: { from: 'c', path: [] } } };
    expect(() =>
      planOf(step('a'), step('b'), step('c', { action: { ...call, payload: {}, inject }, compensation })),
    ).not.toThrow();
  });

  it('may use a result to which several ways lead', () => {
    const action = { ...call, inject: { a: { from: 'a', path: [] } } };
    expect(() =>
      planOf(
        step('a'),
        step('b', { after: ['a'] }),
        step('c', { after: ['a'] }),
        step('d', { after: ['b', 'c'], action }),
      ),
    ).not.toThrow();
  });

  it('may have a pivot between what can be undone and what cannot', () => {
    expect(() =>
      planOf(step('a', { compensation: call }), step('p', { pivot: true, onExhausted: 'park' }), step('z')),
    ).not.toThrow();
  });
});
