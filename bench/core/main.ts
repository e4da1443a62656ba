/**
 * What the pure core costs: nanoseconds per event (evolve, then effects) on the way of a transaction that commits and
 * of one that is undone. `npm run bench -- core`.
 */
import {
  effects,
  evolve,
  parseBranchName,
  planOf,
  start,
  type Definition,
  type Event,
  type Op,
  type Outcome,
  type Plan,
} from 'settle/core';

const call = { address: 'http://127.0.0.1/x', payload: { amount: 1 } };

function sagaOf(count: number): Plan {
  const steps = Array.from({ length: count }, (_, i) => ({
    name: `s${i}`,
    action: call,
    compensation: call,
  }));
  return planOf({ pattern: 'saga', name: 'bench', steps });
}

function besideEachOther(count: number): Plan {
  const steps = Array.from({ length: count }, (_, i) => ({
    name: `s${i}`,
    action: call,
    compensation: call,
    after: [],
  }));
  return planOf({ pattern: 'saga', name: 'bench', steps });
}

function tccOf(count: number): Plan {
  const branches = Array.from({ length: count }, (_, i) => ({
    name: `s${i}`,
    try: call,
    confirm: call,
    cancel: call,
  }));
  const definition: Definition = { pattern: 'tcc', name: 'bench', decide: 'when-all-tried', branches };
  return planOf(definition);
}

const done: Outcome = { kind: 'done', result: { id: 1 } };
const refused: Outcome = { kind: 'refused', reason: 'no' };

/** Runs to the end, always taking the first call; the last step refuses when it is to be undone. Returns the events. */
function run(plan: Plan, refusing: string | undefined): number {
  let state = start(plan, 0);
  let events = 0;
  const happens = (event: Event): void => {
    state = evolve(plan, state, event);
    events++;
  };
  const refuses = refusing === undefined ? undefined : parseBranchName(refusing);
  for (;;) {
    const effect = effects(plan, state).find(({ kind }) => kind === 'call');
    if (effect?.kind !== 'call') return events;
    const { branch, op } = effect;
    happens({ kind: 'sent', at: 0, branch, op });
    const outcome = branch === refuses && isForward(op) ? refused : done;
    happens({ kind: 'outcome', at: 0, branch, op, outcome });
  }
}

function isForward(op: Op): boolean {
  return op === 'action' || op === 'try';
}

/** The best of several rounds, so that what else the machine does counts least. */
function nanosecondsPerEvent(plan: Plan, refusing?: string): number {
  const runs = Math.ceil(20_000 / run(plan, refusing));
  let best = Infinity;
  for (let round = 0; round < 12; round++) {
    const startedAt = performance.now();
    let events = 0;
    for (let i = 0; i < runs; i++) events += run(plan, refusing);
    best = Math.min(best, ((performance.now() - startedAt) * 1e6) / events);
  }
  return Math.round(best);
}

console.table(
  [2, 10, 100].flatMap((count) => {
    const last = `s${count - 1}`;
    const plans: readonly (readonly [string, Plan])[] = [
      [`saga, ${count} steps in order`, sagaOf(count)],
      [`saga, ${count} steps side by side`, besideEachOther(count)],
      [`TCC, ${count} branches`, tccOf(count)],
    ];
    return plans.map(([transaction, plan]) => ({
      transaction,
      'ns/event, committed': nanosecondsPerEvent(plan),
      'ns/event, undone': nanosecondsPerEvent(plan, last),
    }));
  }),
);
