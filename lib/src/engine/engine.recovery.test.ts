/** Crash after every single step of every pattern, restart over the same store, and judge by the participants' ledger. */
import { describe, expect, it } from 'vitest';
import { isTerminal, type Definition, type State } from '../core/patterns.ts';
import { memoryStore } from '../store/memory/index.ts';
import { engineWorld, gid, sagaOf, tccOf, WatchedStore } from '../testing/engine-world.ts';
import { Ledger, type Fate } from '../testing/ledger.ts';
import { mortalEngine, type Mortal } from '../testing/mortal-engine.ts';
import { done } from '../testing/scripted-caller.ts';
import { VirtualClock } from '../testing/virtual-clock.ts';
import { assert } from '../util/assert.ts';
import { plant, type PlantedBug } from '../util/planted-bug.ts';
import type { EngineOptions } from './engine.ts';
import type { BranchCall } from './ports.ts';

type Fates = (call: BranchCall, nth: number) => Fate;

const well: Fates = () => 'done';
const refusedLast: Fates = ({ branch, op }) =>
  branch === 'c' && (op === 'action' || op === 'try') ? 'refuse' : 'done';
/** The last one refuses; every answer of the others is lost once. */
const unansweredOnce: Fates = (call, nth) =>
  nth === 1 && call.branch !== 'c' ? 'unanswered' : refusedLast(call, nth);
/** The second one's first call arrives long after its caller, and maybe the coordinator, is gone. */
const lateOnce: Fates = (call, nth) => (nth === 1 && call.branch === 'b' ? 'late' : refusedLast(call, nth));

/** Every action is answered the first time it is asked, and never again. */
const onceOnly: Fates = ({ op }, nth) => (op === 'action' && nth > 1 ? 'lost' : 'done');

const parallel: Definition = {
  ...sagaOf('a', 'b', 'c'),
  steps: sagaOf('a', 'b', 'c').steps.map((step) => ({ ...step, after: step.name === 'c' ? ['a', 'b'] : [] })),
};
/** Its deadline comes after every crash; what one that passes meanwhile does is another matter. */
const patient: Definition = { ...tccOf('a', 'b', 'c'), timeoutMs: 3_600_000 };
const message: Definition = {
  pattern: 'message',
  name: 'test-message',
  check: { address: 'service/check' },
  checkAfterMs: 1_000,
  targets: ['a', 'b', 'c'].map((name) => ({ name, deliver: { address: `service/${name}` } })),
};

interface Scenario {
  readonly name: string;
  readonly definition: Definition;
  readonly fates: Fates;
  /** The outcomes that are right, whenever the coordinator dies. */
  readonly ends: readonly State['kind'][];
}

const scenarios: readonly Scenario[] = [
  { name: 'a saga that goes well', definition: sagaOf('a', 'b', 'c'), fates: well, ends: ['committed'] },
  { name: 'a parallel saga that goes well', definition: parallel, fates: well, ends: ['committed'] },
  {
    name: 'a saga whose last step refuses',
    definition: sagaOf('a', 'b', 'c'),
    fates: refusedLast,
    ends: ['aborted'],
  },
  {
    name: 'a parallel saga whose last step refuses',
    definition: parallel,
    fates: refusedLast,
    ends: ['aborted'],
  },
  {
    name: 'a saga whose answers are lost',
    definition: sagaOf('a', 'b', 'c'),
    fates: unansweredOnce,
    ends: ['aborted'],
  },
  { name: 'a saga with a late call', definition: sagaOf('a', 'b', 'c'), fates: lateOnce, ends: ['aborted'] },
  { name: 'a TCC that goes well', definition: patient, fates: well, ends: ['committed'] },
  { name: 'a TCC with a refusal', definition: patient, fates: refusedLast, ends: ['aborted'] },
  {
    name: 'a TCC whose answers are lost',
    definition: patient,
    fates: unansweredOnce,
    ends: ['aborted'],
  },
  { name: 'a TCC with a late call', definition: patient, fates: lateOnce, ends: ['aborted'] },
  { name: 'a message that is checked back', definition: message, fates: well, ends: ['committed'] },
  {
    name: 'a message whose producer rolled back',
    definition: message,
    fates: ({ op }) => (op === 'check' ? 'refuse' : 'done'),
    ends: ['aborted'],
  },
];

interface Ran {
  readonly steps: number;
  readonly ledger: Ledger;
  readonly status: State['kind'];
}

/** Runs the scenario with a crash at these steps (from 1), each of another incarnation, until it has ended. */
async function runWith({ definition, fates }: Scenario, crashes: readonly number[]): Promise<Ran> {
  const clock = new VirtualClock();
  const store = memoryStore({ nowMs: () => 1_000_000 + clock.monotonicMs() });
  const ledger = new Ledger(clock);
  ledger.fate = fates;
  const options: EngineOptions = {
    store,
    clock,
    caller: ledger,
    random: { next: () => 0.999 },
    ids: { gid: () => gid('generated') },
  };
  let steps = 0;
  const acknowledged = new Set<string>();
  const live = async (crashAt: number | undefined): Promise<Mortal> => {
    steps = 0;
    const mortal = mortalEngine(options, (_, self) => {
      if (++steps === crashAt) self.crash();
    });
    await clock.until(mortal.engine.start());
    return mortal;
  };
  const submit = (mortal: Mortal): void => {
    mortal.engine.submit({ gid: gid('g'), definition }).then(
      ({ gid: which }) => acknowledged.add(which),
      () => undefined,
    );
  };
  for (const crashAt of crashes) {
    const mortal = await live(crashAt);
    submit(mortal);
    await clock.advance(60_000);
    mortal.crash();
    await clock.advance(10_000);
  }
  const last = await live(undefined);
  // A client that never heard an answer asks again.
  if (acknowledged.size === 0) submit(last);
  await clock.advance(300_000);
  const { status } = await clock.until(last.engine.get(gid('g')));
  await clock.until(last.engine.stop());
  return { steps, ledger, status };
}

/** All branches ended alike, each effect once, nothing that may never happen. */
function judge({ ends }: Scenario, { ledger, status }: Ran, when: string): void {
  assert(isTerminal({ kind: status } as State), `${when}: it has not ended`);
  assert(ends.includes(status), `${when}: it is ${status}`);
  assert(ledger.violations.length === 0, `${when}: ${ledger.violations.join('; ')}`);
  const standings = Object.values(ledger.of('g')).filter((standing) => standing !== 'nothing');
  const isRight =
    status === 'aborted'
      ? standings.every((standing) => standing === 'undone')
      : /^(made,made,made|confirmed,confirmed,confirmed)$/.test(standings.join());
  assert(isRight, `${when}: it is ${status}, but ${JSON.stringify(ledger.of('g'))}`);
}

describe.each(scenarios)('$name', (scenario) => {
  // covers A1, A2, A3, A4, A5, A6, A7, A8, A17, B2, B4, B11
  it('is all or nothing, each effect once, whenever the coordinator dies', async () => {
    const { steps } = await runWith(scenario, []);
    expect(steps).toBeGreaterThanOrEqual(4);
    for (let at = 1; at <= steps + 1; at++) {
      judge(scenario, await runWith(scenario, [at]), `crash at step ${at}`);
    }
  });

  // covers A32
  it('is all or nothing when the next coordinators die during the recovery, several times in a row', async () => {
    for (const crashes of [
      [3, 1, 1, 1, 1],
      [4, 2, 1, 2, 1],
      [6, 3, 2, 1, 1],
      [8, 4, 4, 4, 4],
    ]) {
      judge(scenario, await runWith(scenario, crashes), `crashes at ${crashes.join(', ')}`);
    }
  });
});

/**
 * Both steps are done, their answers kept by a barrier and so not written. After the crash nobody answers any more until
 * the deadline decides, from what the new coordinator knows.
 */
async function leftUndone(bugs: readonly PlantedBug[]): Promise<boolean> {
  plant(...bugs);
  try {
    const definition = { ...sagaOf('a', 'b'), timeoutMs: 90_000 };
    for (let at = 1; at <= 8; at++) {
      const { ledger, status } = await runWith({ name: '', definition, fates: onceOnly, ends: [] }, [at]);
      const made = Object.values(ledger.of('g')).filter((standing) => standing === 'made').length;
      if (made !== (status === 'aborted' ? 0 : 2)) return true;
    }
    return false;
  } finally {
    plant();
  }
}

describe('what a crash must not be forgotten for', () => {
  it('nothing is left done without its undo', async () => {
    expect(await leftUndone([])).toBe(false);
  });

  it('and the planted bug recover-without-doubt is found', async () => {
    expect(await leftUndone(['recover-without-doubt'])).toBe(true);
  });
});

async function crashedWith(count: number): Promise<{
  readonly clock: VirtualClock;
  readonly store: WatchedStore;
  readonly ledger: Ledger;
  readonly options: EngineOptions;
}> {
  const clock = new VirtualClock();
  const store = new WatchedStore(memoryStore({ nowMs: () => 1_000_000 + clock.monotonicMs() }));
  const ledger = new Ledger(clock);
  let gids = 0;
  const options: EngineOptions = {
    store,
    clock,
    caller: ledger,
    random: { next: () => 0.999 },
    ids: { gid: () => gid(`g-${++gids}`) },
  };
  ledger.fate = () => 'lost';
  const first = mortalEngine(options);
  await clock.until(first.engine.start());
  const submits = Array.from({ length: count }, () => first.engine.submit({ definition: sagaOf('a') }));
  await clock.until(Promise.all(submits));
  first.crash();
  await clock.advance(20_000);
  ledger.calls.splice(0);
  return { clock, store, ledger, options };
}

describe('a recovery', () => {
  it('brings in no more at once than its limit, in batches, and leaves room for new ones (A33)', async () => {
    const { clock, store, ledger, options } = await crashedWith(30);
    const claims: number[] = [];
    const claim = store.claim.bind(store);
    store.claim = async (epoch, limit) => {
      const claimed = await claim(epoch, limit);
      if (claimed.length > 0) claims.push(claimed.length);
      return claimed;
    };
    const { engine } = mortalEngine({ ...options, limits: { recoveringMax: 10, claimBatch: 4 } });
    await clock.until(engine.start());
    await clock.advance(3_000);
    expect(claims).toEqual([4, 4, 2]);
    expect(engine.load().transactions).toBe(10);
    ledger.fate = () => 'done';
    expect(
      await clock.until(engine.submit({ gid: gid('new'), definition: sagaOf('a'), waitMs: 100 })),
    ).toMatchObject({ status: 'committed' });
    await clock.advance(60_000);
    expect(claims.reduce((sum, n) => sum + n)).toBeGreaterThanOrEqual(30);
    expect((await clock.until(engine.list({ status: ['committed'] }))).items).toHaveLength(31);
  });

  // covers A3
  it('starts within the claim interval, and with the oldest', async () => {
    const { clock, ledger, options } = await crashedWith(5);
    ledger.fate = () => 'done';
    const { engine } = mortalEngine(options);
    await clock.until(engine.start());
    await clock.advance(0);
    expect(ledger.calls.map((call) => call.gid)).toEqual(['g-1', 'g-2', 'g-3', 'g-4', 'g-5']);
  });
});

async function stored(
  world: Awaited<ReturnType<typeof engineWorld>>,
  name: string,
): Promise<{ readonly plan: string; readonly progress: string }> {
  world.participants.on('a/action', () => ({ outcome: { kind: 'ongoing' }, repeatable: false }));
  await world.clock.until(world.engine.submit({ gid: gid(name), definition: sagaOf('a') }));
  const row = await world.store.load(gid(name));
  if (row === undefined) throw new Error('it was stored');
  return row;
}

// covers H1
describe('a row that this version cannot read (D8)', () => {
  it.each([
    ['is of another version', '{"v":999,"state":{"kind":"running"},"history":[]}'],
    ['is not JSON', 'garbage'],
    ['has a state that is unknown', '{"v":1,"state":{"kind":"dancing"},"history":[]}'],
    ['has a state of another shape', '{"v":1,"state":{"kind":"running"},"history":[]}'],
    [
      'has a state of another pattern',
      '{"v":1,"state":{"kind":"trying","deadlineAt":1,"branches":[]},"history":[]}',
    ],
  ])('that %s is left as it is and alarmed, while the others go on', async (_, progress) => {
    const world = await engineWorld();
    const nowMs = 1_000_000 + world.clock.monotonicMs();
    const { plan } = await stored(world, 'template');
    const row = {
      pattern: 'saga',
      name: 'test-saga',
      plan,
      status: 'running',
      stuck: false,
      epoch: 0,
      createdAtMs: nowMs,
    } as const;
    const good = await stored(world, 'template');
    await world.store.commit([
      { kind: 'insert', ...row, gid: gid('good-1'), progress: good.progress, dueAtMs: nowMs - 3 },
      { kind: 'insert', ...row, gid: gid('bad'), progress, dueAtMs: nowMs - 2 },
      { kind: 'insert', ...row, gid: gid('good-2'), progress: good.progress, dueAtMs: nowMs - 1 },
    ]);
    world.participants.on('a/action', () => done());
    await world.clock.advance(2_000);
    const statuses = await Promise.all(
      ['good-1', 'good-2'].map((which) => world.clock.until(world.engine.get(gid(which)))),
    );
    expect(statuses.map(({ status }) => status)).toEqual(['committed', 'committed']);
    expect(await world.store.load(gid('bad'))).toMatchObject({ progress, plan, status: 'running' });
    expect(world.events).toContainEqual(
      expect.objectContaining({ kind: 'alarm', code: 'unreadable', gid: 'bad' }),
    );
    const view = await world.clock.until(world.engine.get(gid('bad')));
    expect(view.reason).toContain('unreadable here');
    const refusal = world.engine.commit(gid('bad')).catch((error: unknown) => error);
    expect(await world.clock.until(refusal)).toMatchObject({ code: 'internal', gid: 'bad' });
    // Another coordinator, which may be of the version that can read it, is not kept from it.
    expect(await world.store.load(gid('bad'))).toMatchObject({ epoch: 0 });
  });
});
