import { describe, expect, it } from 'vitest';
import { planMessage } from '../core/message-plan.ts';
import { planSaga, type SagaStepDefinition } from '../core/saga-plan.ts';
import { planTcc } from '../core/tcc-plan.ts';
import { explore } from './explore.ts';
import { settle, type Faults, type Setting } from './protocol-world.ts';
import { isTerminal } from '../core/patterns.ts';

const call = { address: 'x' };
const once = { kind: 'exponential', baseMs: 1, factor: 1, maxMs: 1, attemptsMax: 1 } as const;

function step(name: string, more: Partial<SagaStepDefinition> = {}): SagaStepDefinition {
  return { name, action: call, compensation: call, ...more };
}

const saga = (...steps: readonly SagaStepDefinition[]) => planSaga({ name: 'saga', steps });
const tcc = (...names: readonly string[]) =>
  planTcc({ name: 'tcc', branches: names.map((name) => ({ name, try: call, confirm: call, cancel: call })) });
const message = planMessage({
  name: 'message',
  check: call,
  targets: [
    { name: 'a', deliver: call },
    { name: 'b', deliver: call },
  ],
});

/** `SETTLE_EXPLORE=full` takes minutes and more worlds of the same kind; no setting is left out without it. */
const full = process.env['SETTLE_EXPLORE'] === 'full';
const all: Faults = { crashes: 1, losses: full ? 1 : 0, duplicates: 1, refusals: 1, actions: 1 };
const forgetful = () => false;

const withDeadline = planSaga({ name: 'saga', timeoutMs: 5, steps: [step('a'), step('b')] });
const withPivot = planSaga({
  name: 'saga',
  timeoutMs: 5,
  steps: [step('a', { retry: once }), { name: 'p', pivot: true, action: call }, { name: 'z', action: call }],
});
const withParking = saga(step('a', { retry: once, onExhausted: 'park' }), {
  name: 'p',
  pivot: true,
  action: call,
  retry: once,
});
const diamond = saga(step('a'), step('b', { after: [] }), { name: 'c', action: call, after: ['a', 'b'] });
const byItself = planTcc({ ...tcc('a', 'b'), decide: 'when-all-tried' });
const presumed = { name: 'b', confirm: call, cancel: call };
const byInitiator = planTcc({ ...tcc('a'), branches: [...tcc('a').branches, presumed] });

const settings: readonly [string, Setting][] = [
  ['a saga of three steps', { plan: saga(step('a'), step('b'), step('c')), faults: all }],
  [
    'a saga of three steps whose participants do not repeat their answers',
    {
      plan: saga(step('a'), step('b'), step('c')),
      keeps: forgetful,
      faults: { ...all, duplicates: 0, refusals: 2 },
    },
  ],
  ['a saga with two steps side by side, then one that cannot be undone', { plan: diamond, faults: all }],
  [
    'a saga with a deadline, saved at any moment',
    { plan: withDeadline, saves: 'any-time', faults: { ...all, losses: 1, duplicates: 0 } },
  ],
  [
    'a saga with a pivot, whose first step is soon given up',
    { plan: withPivot, faults: { ...all, losses: 1, duplicates: full ? 1 : 0 } },
  ],
  [
    'a saga with a pivot that is soon parked',
    { plan: withParking, saves: 'any-time', faults: { ...all, losses: full ? 2 : 1, duplicates: 0 } },
  ],
  ['a TCC of two branches', { plan: tcc('a', 'b'), faults: all }],
  [
    'a TCC of three branches',
    { plan: tcc('a', 'b', 'c'), faults: { ...all, losses: 0, refusals: full ? 1 : 0 } },
  ],
  [
    'a TCC of three branches, of which one refuses',
    { plan: tcc('a', 'b', 'c'), faults: { ...all, crashes: 0, losses: 0 } },
  ],
  [
    'a TCC that decides by itself',
    { plan: byItself, keeps: forgetful, faults: { ...all, duplicates: 0, refusals: full ? 2 : 1 } },
  ],
  ['a TCC with a branch whose try the initiator calls', { plan: byInitiator, faults: all }],
  ['a message to two targets', { plan: message, faults: all }],
  [
    'a delayed message to two targets in order, saved at any moment',
    { plan: { ...message, order: 'sequence', delayMs: 5 }, saves: 'any-time', faults: all },
  ],
];

describe(
  'in every world that crashes, losses, duplicates, refusals and actions lead to',
  { timeout: full ? 900_000 : 120_000 },
  () => {
    it.each(settings)('%s keeps its promises, and can end', (name, setting) => {
      let unsettled = 0;
      let visited = 0;
      const { worlds, kinds } = explore(setting, full ? 3_000_000 : 300_000, (world) => {
        // Every world could be settled in the same way; every hundredth is enough to know.
        if (visited++ % 100 !== 0) return;
        const { state } = settle(setting, world);
        if (!isTerminal(state)) unsettled++;
      });
      console.info(`${name}: ${worlds} worlds`);
      expect(unsettled).toBe(0);
      // A search that never commits and never aborts proves nothing.
      expect(kinds['committed']).toBeGreaterThan(0);
      expect(kinds['aborted']).toBeGreaterThan(0);
    });
  },
);
