import { describe, expect, it } from 'vitest';
import type { TransactionView } from '../core/patterns.ts';
import type { SagaDefinition, SagaStepDefinition } from '../core/saga-plan.ts';
import { engineWorld, gid, sagaOf, type EngineWorld } from '../testing/engine-world.ts';
import { done, misconfigured, ongoing, refused, silence, unknown } from '../testing/scripted-caller.ts';

type Saga = SagaDefinition & { readonly pattern: 'saga' };

/** Submits and waits for the end, or as long as a client may. */
function run(world: EngineWorld, definition: Saga, waitMs = 60_000): Promise<TransactionView> {
  return world.clock.until(world.engine.submit({ gid: gid('g'), definition, waitMs }));
}

function get(world: EngineWorld): Promise<TransactionView> {
  return world.clock.until(world.engine.get(gid('g')));
}

function act(
  world: EngineWorld,
  action: 'abort' | 'retry-now' | 'skip-branch',
  branch?: string,
): Promise<TransactionView> {
  const request = { action, reason: 'a test', actor: 'tester', ...(branch === undefined ? {} : { branch }) };
  return world.clock.until(world.engine.act(gid('g'), request, { waitMs: 30_000 }));
}

/** The saga a, b, c with something changed about its step b. */
function withB(change: Partial<SagaStepDefinition>): Saga {
  const saga = sagaOf('a', 'b', 'c');
  return { ...saga, steps: saga.steps.map((step) => (step.name === 'b' ? { ...step, ...change } : step)) };
}

function statuses(view: TransactionView): Readonly<Record<string, string>> {
  return Object.fromEntries(view.branches.map(({ branch, status }) => [branch, status]));
}

describe('a saga', () => {
  it('calls its steps in order and commits', async () => {
    const world = await engineWorld();
    const view = await run(world, sagaOf('a', 'b', 'c'));
    expect(view).toMatchObject({ status: 'committed', stuck: false });
    expect(world.participants.story).toEqual(['a/action', 'b/action', 'c/action']);
  });

  it('calls steps at once that do not depend on each other, and those behind them when all are done', async () => {
    const world = await engineWorld();
    let answer: (() => void) | undefined;
    world.participants.on('b/action', () => new Promise((resolve) => (answer = () => resolve(done()))));
    const saga = sagaOf('a', 'b', 'c');
    const definition = {
      ...saga,
      steps: saga.steps.map((step) => ({ ...step, after: step.name === 'c' ? ['a', 'b'] : [] })),
    };
    await world.clock.until(world.engine.submit({ gid: gid('g'), definition }));
    await world.clock.advance(100);
    expect(world.participants.story).toEqual(['a/action', 'b/action']);
    answer?.();
    await world.clock.advance(0);
    expect(world.participants.story).toEqual(['a/action', 'b/action', 'c/action']);
  });

  it('hands the result of a step to later ones, and to its own undo', async () => {
    const world = await engineWorld();
    world.participants.on('a/action', () => done({ id: 7 })).on('c/action', () => refused());
    const [a, b, c] = sagaOf('a', 'b', 'c').steps as readonly [
      SagaStepDefinition,
      SagaStepDefinition,
      SagaStepDefinition,
    ];
    const inject = { reserved: { from: 'a', path: ['id'] } };
    const undo = { address: 'service/undo-a', inject };
    const steps = [
      { ...a, compensation: undo },
      { ...b, action: { ...b.action, payload: { n: 1 }, inject } },
      c,
    ];
    await run(world, { ...sagaOf('a'), steps });
    const payloads = world.participants.calls.map(({ branch, op, payload }) => [`${branch}/${op}`, payload]);
    expect(payloads).toContainEqual(['b/action', { n: 1, reserved: 7 }]);
    expect(payloads).toContainEqual(['a/compensate', { reserved: 7 }]);
  });

  // covers C8
  it('undoes what was done in the exact reverse order after a refusal, and not the refused step', async () => {
    const world = await engineWorld();
    world.participants.on('c/action', () => refused('no credit'));
    const view = await run(world, sagaOf('a', 'b', 'c'));
    expect(view).toMatchObject({ status: 'aborted', reason: 'c refused: no credit' });
    expect(world.participants.story.slice(3)).toEqual(['b/compensate', 'a/compensate']);
  });

  it('sends nothing that stood beside a step whose payload needs a result that is not there', async () => {
    const world = await engineWorld();
    world.participants.on('a/action', () => done({ other: 1 }));
    const definition: Saga = {
      pattern: 'saga',
      name: 'test-saga',
      steps: [
        { name: 'a', action: { address: 'service/a' }, compensation: { address: 'service/undo-a' } },
        {
          name: 'b',
          action: { address: 'service/b', inject: { id: { from: 'a', path: ['id'] } } },
          after: ['a'],
        },
        {
          name: 'c',
          action: { address: 'service/c' },
          compensation: { address: 'service/undo-c' },
          after: ['a'],
        },
      ],
    };
    const view = await run(world, definition);
    expect(view).toMatchObject({
      status: 'aborted',
      reason: 'b refused: no result at a.id, which its payload needs',
    });
    expect(world.participants.story).toEqual(['a/action', 'a/compensate']);
  });
});

describe('a step without an answer', () => {
  // covers B1, C6, R7
  it('is asked again with pauses that grow up to the cap, for ever', async () => {
    const world = await engineWorld();
    const times: number[] = [];
    world.participants.on('b/action', () => {
      times.push(world.clock.monotonicMs());
      return unknown();
    });
    await run(world, withB({}), 10);
    await world.clock.advance(600_000);
    const pauses = times.slice(1).map((at, i) => Math.round(at - (times[i] ?? 0)));
    const expected = [
      200,
      400,
      800,
      1_600,
      3_200,
      6_400,
      12_800,
      25_600,
      ...Array<number>(pauses.length - 8).fill(30_000),
    ];
    // Beyond the resident time it comes back from the store by a claim, which adds up to its interval.
    const late = pauses.map((pause, i) => pause - (expected[i] ?? 0));
    expect(late.slice(0, 5)).toEqual([0, 0, 0, 0, 0]);
    expect(late.every((ms) => ms >= 0 && ms <= 1_000)).toBe(true);
    expect(pauses.length).toBeGreaterThan(20);
    expect(await get(world)).toMatchObject({ status: 'running', stuck: true });
  });

  it('carries the number of the attempt, and the same payload each time', async () => {
    const world = await engineWorld();
    world.participants.on('b/action', (_, nth) => (nth < 4 ? unknown() : done()));
    await run(world, withB({ action: { address: 'service/b', payload: { n: 1 } } }));
    const calls = world.participants.calls.filter(({ branch }) => branch === 'b');
    expect(calls.map(({ attempt, payload }) => [attempt, payload])).toEqual(
      [1, 2, 3, 4].map((n) => [n, { n: 1 }]),
    );
  });

  // covers R7
  it('is compensated too once its attempts are used up', async () => {
    const world = await engineWorld();
    world.participants.on('b/action', () => unknown('timeout'));
    const retry = { kind: 'exponential', baseMs: 10, factor: 2, maxMs: 100, attemptsMax: 3 } as const;
    const view = await run(world, withB({ retry }));
    expect(view).toMatchObject({ status: 'aborted', reason: 'b gave no answer in 3 attempts: timeout' });
    expect(world.participants.story).toEqual([
      'a/action',
      ...Array(3).fill('b/action'),
      'b/compensate',
      'a/compensate',
    ]);
  });

  // covers C16, R5
  it('gives up sooner when no retry is likely to mend it', async () => {
    const world = await engineWorld();
    world.participants.on('b/action', () => misconfigured('404'));
    expect(await run(world, withB({}))).toMatchObject({ status: 'aborted' });
    expect(world.participants.story.filter((call) => call === 'b/action')).toHaveLength(5);
  });

  it('is undone too when it was refused after an attempt that nobody answered', async () => {
    const world = await engineWorld();
    world.participants.on('b/action', (_, nth) => (nth === 1 ? unknown() : refused()));
    expect(await run(world, withB({}))).toMatchObject({ status: 'aborted' });
    expect(world.participants.story.slice(-2)).toEqual(['b/compensate', 'a/compensate']);
  });

  // covers R4
  it('waits as long as the participant asked', async () => {
    const world = await engineWorld();
    let first: number | undefined;
    world.participants.on('b/action', (_, nth) => {
      if (nth > 1) return done();
      first = world.clock.monotonicMs();
      return { outcome: { kind: 'unknown', reason: '503', retryAfterMs: 4_000 }, repeatable: false };
    });
    await run(world, withB({}));
    expect(world.clock.monotonicMs() - (first ?? 0)).toBe(4_000);
  });
});

describe('a step that is still at it', () => {
  it('is asked again at the same pace, without ever counting as an attempt', async () => {
    const world = await engineWorld();
    const times: number[] = [];
    world.participants.on('b/action', (_, nth) => {
      times.push(world.clock.monotonicMs());
      return nth <= 15 ? ongoing() : done();
    });
    const retry = { kind: 'exponential', baseMs: 10, factor: 2, maxMs: 100, attemptsMax: 2 } as const;
    expect(await run(world, withB({ retry }))).toMatchObject({ status: 'committed', stuck: false });
    expect(new Set(times.slice(1).map((at, i) => at - (times[i] ?? 0)))).toEqual(new Set([1_000]));
  });

  it('sets its own pace when it says one', async () => {
    const world = await engineWorld();
    world.participants.on('b/action', (_, nth) => (nth <= 3 ? ongoing(50) : done()));
    await run(world, withB({}));
    expect(world.clock.monotonicMs()).toBe(150);
  });
});

describe('a parked step', () => {
  const retry = { kind: 'exponential', baseMs: 10, factor: 2, maxMs: 100, attemptsMax: 2 } as const;
  const parks = withB({ retry, onExhausted: 'park' });

  it('waits for a person, and an alarm names it', async () => {
    const world = await engineWorld();
    world.participants.on('b/action', () => unknown('timeout'));
    const view = await run(world, parks, 5_000);
    expect(view).toMatchObject({ status: 'running', stuck: true });
    expect(statuses(view)).toEqual({ a: 'done', b: 'parked', c: 'waiting' });
    const alarms = world.events.flatMap((event) => (event.kind === 'alarm' ? [event] : []));
    expect(alarms).toMatchObject([{ code: 'stuck', gid: 'g', message: 'g is stuck: b (action) timeout' }]);
    await world.clock.advance(3_600_000);
    expect(world.participants.story.filter((call) => call === 'b/action')).toHaveLength(2);
  });

  it('goes on after retry-now', async () => {
    const world = await engineWorld();
    world.participants.on('b/action', (_, nth) => (nth <= 2 ? unknown() : done()));
    await run(world, parks, 5_000);
    expect(await act(world, 'retry-now')).toMatchObject({ status: 'committed', stuck: false });
  });

  it('is left out after skip-branch', async () => {
    const world = await engineWorld();
    world.participants.on('b/action', () => unknown());
    await run(world, parks, 5_000);
    const view = await act(world, 'skip-branch', 'b');
    expect(view.status).toBe('committed');
    expect(statuses(view)).toEqual({ a: 'done', b: 'skipped', c: 'done' });
  });

  it('is undone too after an abort', async () => {
    const world = await engineWorld();
    world.participants.on('b/action', () => unknown());
    await run(world, parks, 5_000);
    expect(await act(world, 'abort')).toMatchObject({ status: 'aborted', reason: 'a test' });
    expect(world.participants.story.slice(-2)).toEqual(['b/compensate', 'a/compensate']);
  });

  it('does not stay in memory while it waits', async () => {
    const world = await engineWorld();
    world.participants.on('b/action', () => unknown());
    await run(world, parks, 5_000);
    await world.clock.advance(10_000);
    expect(world.engine.load().transactions).toBe(0);
    expect(await act(world, 'abort')).toMatchObject({ status: 'aborted' });
  });
});

describe('an abort of a saga', () => {
  it('waits for the call under way and undoes its step with the rest', async () => {
    const world = await engineWorld();
    let answer: (() => void) | undefined;
    world.participants.on(
      'b/action',
      () => new Promise((resolve) => (answer = () => resolve(done({ id: 2 })))),
    );
    await world.clock.until(world.engine.submit({ gid: gid('g'), definition: sagaOf('a', 'b', 'c') }));
    await world.clock.advance(10);
    const aborted = act(world, 'abort');
    await world.clock.advance(10);
    expect((await get(world)).status).toBe('compensating');
    expect(world.participants.story).toEqual(['a/action', 'b/action']);
    answer?.();
    expect(await aborted).toMatchObject({ status: 'aborted' });
    expect(world.participants.story).toEqual(['a/action', 'b/action', 'b/compensate', 'a/compensate']);
  });

  it('is harmless when repeated, before and after the end', async () => {
    const world = await engineWorld();
    world.participants.on('b/action', () => refused());
    await run(world, sagaOf('a', 'b'));
    expect(await act(world, 'abort')).toMatchObject({ status: 'aborted', reason: 'b refused: no' });
  });

  it('is illegal after the saga committed', async () => {
    const world = await engineWorld();
    await run(world, sagaOf('a'));
    await expect(act(world, 'abort')).rejects.toMatchObject({ code: 'illegal_action', gid: 'g' });
  });

  // covers C9, C14
  it('keeps asking a compensation that refuses, alarms, and never calls it done', async () => {
    const world = await engineWorld();
    world.participants
      .on('b/action', () => refused())
      .on('a/compensate', (_, nth) => (nth <= 12 ? refused('never') : done()));
    await run(world, sagaOf('a', 'b'), 60_000);
    await world.clock.advance(60_000);
    expect(await get(world)).toMatchObject({ status: 'compensating', stuck: true });
    const codes = world.events.flatMap((event) => (event.kind === 'alarm' ? [event.code] : []));
    expect(codes).toEqual(['phase_2_refused', 'stuck']);
    await world.clock.advance(120_000);
    expect(await get(world)).toMatchObject({ status: 'aborted', stuck: false });
  });

  it('lets a pivot under way decide', async () => {
    const world = await engineWorld();
    let answer: (() => void) | undefined;
    world.participants.on('b/action', () => new Promise((resolve) => (answer = () => resolve(done()))));
    const saga = sagaOf('a', 'b', 'c');
    const steps = saga.steps.map(({ compensation, ...step }) =>
      step.name === 'a'
        ? { ...step, ...(compensation && { compensation }) }
        : step.name === 'b'
          ? { ...step, pivot: true as const }
          : step,
    );
    await world.clock.until(world.engine.submit({ gid: gid('g'), definition: { ...saga, steps } }));
    await world.clock.advance(10);
    const asked = act(world, 'abort');
    await world.clock.advance(10);
    answer?.();
    expect(await asked).toMatchObject({ status: 'committed' });
    expect(world.participants.story).toEqual(['a/action', 'b/action', 'c/action']);
  });
});

describe('the deadline of a saga', () => {
  it('undoes what was done, and what may have been', async () => {
    const world = await engineWorld();
    world.participants.on('b/action', () => unknown());
    const view = await run(world, { ...sagaOf('a', 'b', 'c'), timeoutMs: 5_000 });
    expect(view).toMatchObject({ status: 'aborted', reason: 'not finished within 5000 ms' });
    expect(world.participants.story.slice(-2)).toEqual(['b/compensate', 'a/compensate']);
  });

  it('is kept by a call that never ends', async () => {
    const world = await engineWorld();
    world.participants.on('a/action', silence);
    await run(world, { ...sagaOf('a', 'b'), timeoutMs: 5_000 }, 6_000);
    expect(await get(world)).toMatchObject({ status: 'compensating', reason: 'not finished within 5000 ms' });
  });

  it('changes nothing about a saga that committed in time', async () => {
    const world = await engineWorld();
    await run(world, { ...sagaOf('a'), timeoutMs: 5_000 });
    await world.clock.advance(10_000);
    expect(await get(world)).toMatchObject({ status: 'committed' });
  });
});

describe('what the client hears', () => {
  it('is the state after its wait, when the saga needs longer', async () => {
    const world = await engineWorld();
    world.participants.on('b/action', () => ongoing());
    expect(await run(world, sagaOf('a', 'b'), 3_000)).toMatchObject({ status: 'running' });
    expect(world.clock.monotonicMs()).toBe(3_000);
  });

  it('is the whole history when asked, calls and changes of state in their order', async () => {
    const world = await engineWorld();
    world.participants.on('b/action', (_, nth) => (nth === 1 ? unknown('reset') : refused('no credit')));
    await run(world, sagaOf('a', 'b'));
    const { history = [] } = await get(world);
    expect(
      history.map((entry) => ('op' in entry ? `${entry.branch}/${entry.op} ${entry.outcome}` : entry.kind)),
    ).toEqual([
      'a/action done',
      'b/action unknown',
      'b/action refused',
      'status',
      'b/compensate done',
      'a/compensate done',
      'status',
    ]);
  });
});

describe('after the end (D9)', () => {
  it('nothing is left in memory and no timer waits but those of the engine itself', async () => {
    const world = await engineWorld();
    await world.clock.advance(10);
    const idle = world.clock.pending;
    world.participants.on('b/action', (_, nth) =>
      nth === 1 ? ongoing(10) : nth === 2 ? unknown() : refused(),
    );
    await run(world, { ...sagaOf('a', 'b', 'c'), timeoutMs: 60_000 });
    await world.clock.advance(0);
    expect(world.engine.load()).toEqual({ transactions: 0, writesWaiting: 0 });
    expect(world.clock.pending).toBe(idle);
  });
});
