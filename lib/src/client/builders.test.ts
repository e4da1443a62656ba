import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { planOf } from '../core/patterns.ts';
import { isSettleError } from '../util/errors.ts';
import { from, type PayloadWithReferences } from './references.ts';
import { sagaBuilder, type SagaBuilder, type SagaUrlStep } from './saga-builder.ts';

const none = (): never => {
  throw new Error('nothing is submitted here');
};
const start = (name = 'order'): SagaBuilder => sagaBuilder(name, {}, none);

describe('the builder of a saga of URLs', () => {
  it('lifts references out of the payload', () => {
    const definition = start()
      .step('reserve', { action: 'http://s/r', compensate: 'http://s/u', payload: { sku: 'A' } })
      .step('charge', {
        action: 'http://w/c',
        payload: { user: 1, total: from('reserve', 'lines', '0', 'total') },
      })
      .definition();
    expect(definition).toEqual({
      pattern: 'saga',
      name: 'order',
      steps: [
        {
          name: 'reserve',
          action: { address: 'http://s/r', payload: { sku: 'A' } },
          compensation: { address: 'http://s/u' },
        },
        {
          name: 'charge',
          action: {
            address: 'http://w/c',
            payload: { user: 1 },
            inject: { total: { from: 'reserve', path: ['lines', '0', 'total'] } },
          },
        },
      ],
    });
  });

  it('is immutable', () => {
    const one = start().step('a', { action: 'http://a' });
    one.step('b', { action: 'http://b' });
    expect(one.definition()).toMatchObject({ steps: [{ name: 'a' }] });
  });

  it.each<[string, PayloadWithReferences]>([
    ['deeper than the top', { deep: { total: from('a', 'total') } as never }],
    ['in place of the payload', from('a') as never],
    ['in a list', [from('a')] as never],
  ])('refuses a reference %s', (_where, payload) => {
    const build = () => start().step('a', { action: 'http://a' }).step('b', { action: 'http://b', payload });
    expect(build).toThrow(/^invalid_definition: from\('a'\) stands where/);
  });

  it('refuses a reference to a step that does not come before', () => {
    const saga = start()
      .step('a', { action: 'http://a', payload: { x: from('b') } })
      .step('b', { action: 'http://b' });
    expect(() => saga.definition()).toThrow(/^invalid_definition: step a takes "x" from b/);
  });

  it('always gives a definition that can be planned, or says what is wrong with it', () => {
    const name = mostly(fc.constantFrom('a', 'b', 'c', 'd', 'e'), fc.constantFrom('input', 'a b', ''));
    const reference = fc.dictionary(
      fc.constantFrom('x', '__proto__'),
      name.map((branch) => from(branch, 'id')),
    );
    const step = fc
      .tuple(
        fc.record({ action: mostly(fc.constant('http://x'), fc.constant('')) }),
        mostly(fc.constant({}), fc.record({ compensate: fc.constant('http://u') })),
        mostly(fc.constant({}), fc.record({ payload: fc.oneof(fc.jsonValue().map(asPayload), reference) })),
        mostly(fc.constant({}), fc.record({ after: fc.array(name, { maxLength: 2 }) })),
        mostly(fc.constant({}), fc.constant({ pivot: true as const })),
        mostly(fc.constant({}), fc.constant({ onExhausted: 'park' as const })),
      )
      .map((parts): SagaUrlStep => Object.assign({}, ...parts) as SagaUrlStep);
    let planned = 0;
    fc.assert(
      fc.property(fc.array(fc.tuple(name, step), { maxLength: 3 }), (steps) => {
        const outcome = plan(steps);
        if (outcome === 'saga') planned += 1;
        return outcome === 'saga' || (isSettleError(outcome) && outcome.code === 'invalid_definition');
      }),
      { numRuns: 1_000 },
    );
    expect(planned).toBeGreaterThan(20);
  });
});

/** The pattern of the plan, or the error. */
function plan(steps: readonly (readonly [string, SagaUrlStep])[]): unknown {
  try {
    return planOf(steps.reduce((saga, [name, how]) => saga.step(name, how), start()).definition()).pattern;
  } catch (error) {
    return error;
  }
}

function mostly<T, U>(usual: fc.Arbitrary<T>, rare: fc.Arbitrary<U>): fc.Arbitrary<T | U> {
  return fc.oneof({ weight: 4, arbitrary: usual }, { weight: 1, arbitrary: rare });
}

function asPayload(value: fc.JsonValue): PayloadWithReferences {
  return value as PayloadWithReferences;
}
