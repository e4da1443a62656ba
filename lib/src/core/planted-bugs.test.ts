/** Each bug planted in the protocols is found by the search through all small worlds, which finds nothing without it. */
import { afterEach, describe, expect, it } from 'vitest';
import { explore } from '../testing/explore.ts';
import { InvariantBroken, settle, type Faults, type Setting } from '../testing/protocol-world.ts';
import { plant, type PlantedBug } from '../util/planted-bug.ts';
import { planMessage } from './message-plan.ts';
import { planSaga, type SagaStepDefinition } from './saga-plan.ts';
import { planTcc } from './tcc-plan.ts';

const call = { address: 'x' };
const faults: Faults = { crashes: 0, losses: 1, duplicates: 0, refusals: 1, actions: 0 };

function step(name: string, more: Partial<SagaStepDefinition> = {}): SagaStepDefinition {
  return { name, action: call, compensation: call, ...more };
}

const once = { kind: 'exponential', baseMs: 1, factor: 1, maxMs: 1, attemptsMax: 1 } as const;
const inOrder = planSaga({ name: 'saga', steps: [step('a'), step('b'), step('c')] });
const sideBySide = planSaga({ name: 'saga', steps: [step('a'), step('b', { after: [] })] });
const withDeadline = planSaga({ name: 'saga', timeoutMs: 5, steps: [step('a'), step('b')] });
const withPivot = planSaga({
  name: 'saga',
  timeoutMs: 5,
  steps: [step('a'), { name: 'p', pivot: true, action: call, retry: once }],
});
const tried = planTcc({
  name: 'tcc',
  decide: 'when-all-tried',
  branches: ['a', 'b'].map((name) => ({ name, try: call, confirm: call, cancel: call })),
});
const oneStep = planSaga({ name: 'saga', timeoutMs: 5, steps: [step('a')] });
const message = planMessage({ name: 'message', check: call, targets: [{ name: 'a', deliver: call }] });

const planted: readonly (readonly [PlantedBug, Setting])[] = [
  ['compensate-forward', { plan: inOrder, faults }],
  ['compensate-only-what-is-known', { plan: withDeadline, faults }],
  ['believe-a-refusal-in-doubt', { plan: inOrder, keeps: () => false, faults }],
  ['abort-past-the-pivot', { plan: withPivot, faults }],
  ['give-up-a-compensation', { plan: oneStep, faults: { ...faults, losses: 5 } }],
  ['late-answer-ends-the-undo', { plan: sideBySide, faults }],
  ['step-before-its-turn', { plan: inOrder, faults }],
  ['confirm-what-is-not-tried', { plan: tried, faults }],
  ['cancel-only-what-is-known', { plan: tried, faults }],
  ['deadline-over-commit', { plan: tried, faults: { ...faults, duplicates: 1 } }],
  ['end-one-branch-early', { plan: tried, faults }],
  ['deliver-before-submit', { plan: message, faults }],
  ['drop-on-silence', { plan: message, faults }],
  ['refused-delivery-is-done', { plan: message, faults }],
];

describe('in small worlds', () => {
  afterEach(() => plant());

  it.each(planted)('the planted bug %s breaks a promise that stands without it', (bug, setting) => {
    expect(() => search(setting)).not.toThrow();
    plant(bug);
    expect(() => search(setting)).toThrow(InvariantBroken);
  });
});

function search(setting: Setting): void {
  explore(setting, 100_000, (world) => void settle(setting, world));
}
