import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { planMessage, type MessagePlan } from '../core/message-plan.ts';
import { isTerminal } from '../core/patterns.ts';
import { planSaga, type SagaPlan, type SagaStepDefinition } from '../core/saga-plan.ts';
import { planTcc, type TccPlan } from '../core/tcc-plan.ts';
import { check, checkState, firstWorld, moves, settle, type Faults, type Setting } from './protocol-world.ts';

const call = { address: 'x' };

const faults: fc.Arbitrary<Faults> = fc.record({
  crashes: fc.nat(3),
  losses: fc.nat(4),
  duplicates: fc.nat(3),
  refusals: fc.nat(2),
  actions: fc.nat(3),
});
const saves = fc.constantFrom('when-needed' as const, 'any-time' as const);

/** Steps with any dependencies on earlier ones, with and without compensation and pivot, in any mood. */
const sagaPlan: fc.Arbitrary<SagaPlan> = fc
  .record({
    timeoutMs: fc.constantFrom(undefined, 5),
    pivotAt: fc.constantFrom(-1, -1, 0, 1, 2),
    steps: fc.array(
      fc.record({
        after: fc.nat(15),
        undoable: fc.boolean(),
        attemptsMax: fc.constantFrom(undefined, 1, 2),
        onExhausted: fc.constantFrom('compensate' as const, 'park' as const),
      }),
      { minLength: 1, maxLength: 4 },
    ),
  })
  .map(({ timeoutMs, pivotAt, steps }) => {
    const definitions = steps.map(({ after, undoable, attemptsMax, onExhausted }, i): SagaStepDefinition => {
      const pivot = i === pivotAt;
      const behind = pivotAt >= 0 && i > pivotAt;
      const before = steps.flatMap((_, j) => {
        const isBefore = j < i && (pivot || (behind && j === pivotAt) || (after & (1 << j)) !== 0);
        return isBefore ? [`s${j}`] : [];
      });
      return {
        name: `s${i}`,
        action: call,
        after: before,
        onExhausted: pivot || behind ? 'park' : onExhausted,
        ...(undoable && !pivot && !behind ? { compensation: call } : {}),
        ...(pivot ? { pivot } : {}),
        ...(attemptsMax === undefined
          ? {}
          : { retry: { kind: 'exponential', baseMs: 1, factor: 1, maxMs: 1, attemptsMax } }),
      };
    });
    return planSaga({ name: 'x', ...(timeoutMs === undefined ? {} : { timeoutMs }), steps: definitions });
  });

const tccPlan: fc.Arbitrary<TccPlan> = fc
  .record({
    byInitiator: fc.boolean(),
    branches: fc.array(fc.boolean(), { minLength: 1, maxLength: 4 }),
  })
  .map(({ byInitiator, branches }) =>
    planTcc({
      name: 'x',
      decide: byInitiator ? 'initiator' : 'when-all-tried',
      branches: branches.map((presumed, i) => ({
        name: `b${i}`,
        ...(presumed && byInitiator ? {} : { try: call }),
        confirm: call,
        cancel: call,
      })),
    }),
  );

const messagePlan: fc.Arbitrary<MessagePlan> = fc
  .record({
    checked: fc.boolean(),
    targets: fc.integer({ min: 1, max: 4 }),
    order: fc.constantFrom('parallel' as const, 'sequence' as const),
    delayMs: fc.constantFrom(0, 5),
  })
  .map(({ checked, targets, order, delayMs }) =>
    planMessage({
      name: 'x',
      order,
      delayMs,
      ...(checked ? { check: call } : {}),
      targets: Array.from({ length: targets }, (_, i) => ({ name: `t${i}`, deliver: call })),
    }),
  );

/** Which participants keep their answers; a pivot must, for nothing could undo what it denied. */
const settingOf = (plan: fc.Arbitrary<Setting['plan']>): fc.Arbitrary<Setting> =>
  fc.record({ plan, faults, saves, forgetful: fc.nat(15) }).map(({ plan, faults, saves, forgetful }) => ({
    plan,
    faults,
    saves,
    keeps(branch) {
      const isPivot =
        plan.pattern === 'saga' && plan.steps.some(({ name, pivot }) => name === branch && pivot);
      return isPivot || (forgetful & (1 << Number(branch.slice(1)))) === 0;
    },
  }));

const choices = fc.array(fc.nat(), { maxLength: 60 });

describe('whatever happens, in whatever order', () => {
  it.each<[string, fc.Arbitrary<Setting['plan']>]>([
    ['a saga', sagaPlan],
    ['a TCC', tccPlan],
    ['a message', messagePlan],
  ])('%s keeps its promises, and can end', (_, plan) => {
    const ends = new Set<string>();
    fc.assert(
      fc.property(settingOf(plan), choices, (setting, picks) => {
        let world = firstWorld(setting);
        for (const pick of picks) {
          const possible = moves(setting, world);
          const move = possible[pick % Math.max(1, possible.length)];
          if (move === undefined) break;
          world = move.next();
          check(setting, world);
          checkState(setting, world.state);
        }
        const end = settle(setting, world);
        expect(isTerminal(end.state)).toBe(true);
        check(setting, end);
        ends.add(end.state.kind);
      }),
      { numRuns: 3_000 },
    );
    // Runs that never commit or never abort would prove nothing.
    expect([...ends].toSorted()).toEqual(['aborted', 'committed', 'forgotten']);
  });
});
