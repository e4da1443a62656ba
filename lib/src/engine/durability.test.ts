/** D1 to D7, each with the planted bug that breaks it: the same scenario holds without the bug and fails with it. */
import { describe, expect, it } from 'vitest';
import type { PlantedBug } from '../util/planted-bug.ts';
import type { CommitReply } from './ports.ts';
import { done, refused } from '../testing/scripted-caller.ts';
import { engineWorld, gid, sagaOf, type EngineWorld } from '../testing/engine-world.ts';

/** Holds every commit back until told. */
function holdCommits(world: EngineWorld): { release(): void; readonly held: number } {
  const waiting: (() => void)[] = [];
  world.store.intercept = (_, pass) =>
    new Promise<CommitReply>((resolve) => waiting.push(() => resolve(pass())));
  return {
    release() {
      for (const go of waiting.splice(0)) go();
    },
    get held() {
      return waiting.length;
    },
  };
}

async function acknowledgedBeforeSync(bugs: readonly PlantedBug[]): Promise<boolean> {
  const world = await engineWorld({ bugs });
  holdCommits(world);
  const acknowledged: unknown[] = [];
  void world.engine
    .submit({ gid: gid('g'), definition: sagaOf('a') })
    .then((view) => acknowledged.push(view));
  await world.clock.advance(1_000);
  return acknowledged.length > 0 || world.participants.calls.length > 0;
}

async function compensatedBeforeDecision(bugs: readonly PlantedBug[]): Promise<boolean> {
  const world = await engineWorld({ bugs });
  world.participants.on('b/action', () => refused());
  world.store.intercept = (batch, pass) =>
    batch.some((write) => write.status === 'compensating') ? new Promise(() => undefined) : pass();
  await world.clock.until(world.engine.submit({ gid: gid('g'), definition: sagaOf('a', 'b') }));
  await world.clock.advance(1_000);
  return world.participants.story.includes('a/compensate');
}

async function wentOnWithoutWriting(bugs: readonly PlantedBug[]): Promise<boolean> {
  const world = await engineWorld({ bugs });
  world.participants.on('a/action', () => done({ n: 1 }, 'not repeatable'));
  const submitted = world.engine.submit({ gid: gid('g'), definition: sagaOf('a', 'b'), waitMs: 1_000 });
  let writes = 0;
  let writesBeforeB: number | undefined;
  world.store.intercept = (batch, pass) => {
    writes += batch.length;
    return pass();
  };
  world.participants.on('b/action', () => {
    writesBeforeB ??= writes;
    return done();
  });
  await world.clock.until(submitted);
  return writesBeforeB === 1;
}

async function staleOwnerWentOn(bugs: readonly PlantedBug[]): Promise<boolean> {
  const world = await engineWorld({ bugs });
  let answerA: (() => void) | undefined;
  world.participants.on('a/action', (_, nth) =>
    nth === 1
      ? new Promise((resolve) => (answerA = () => resolve(done(undefined, 'not repeatable'))))
      : done(),
  );
  await world.clock.until(world.engine.submit({ gid: gid('g'), definition: sagaOf('a', 'b') }));
  await world.clock.advance(10);
  // Another coordinator takes the transaction over and aborts it; the first one knows nothing of it yet.
  const other = world.another();
  await world.clock.until(other.start());
  const abort = { action: 'abort', reason: 'the customer left', actor: 'test' } as const;
  await world.clock.until(other.act(gid('g'), abort, { waitMs: 5_000 }));
  answerA?.();
  await world.clock.advance(1_000);
  return world.participants.story.includes('b/action');
}

async function waitedForATimer(bugs: readonly PlantedBug[]): Promise<boolean> {
  const world = await engineWorld({ bugs });
  const acknowledged: unknown[] = [];
  void world.engine
    .submit({ gid: gid('g'), definition: sagaOf('a') })
    .then((view) => acknowledged.push(view));
  await world.clock.advance(0);
  return acknowledged.length === 0;
}

const rules: readonly (readonly [string, PlantedBug, (bugs: readonly PlantedBug[]) => Promise<boolean>])[] = [
  // covers A1
  [
    'D1 acknowledges nothing, and calls nobody, before the record is durable',
    'acknowledge-before-sync',
    acknowledgedBeforeSync,
  ],
  [
    'D2 sends no compensation before the decision is durable',
    'effect-before-decision',
    compensatedBeforeDecision,
  ],
  [
    'D3 writes an answer down before going on, unless a repeat gives it again',
    'lazy-without-barrier',
    wentOnWithoutWriting,
  ],
  ['D4 lets a stale owner go no further than its next write', 'ignore-lost-write', staleOwnerWentOn],
  ['D6 waits for no timer to fill a batch', 'batch-by-timer', waitedForATimer],
];

describe('the durability rules', () => {
  it.each(rules)('%s', async (_, __, violated) => {
    expect(await violated([])).toBe(false);
  });

  it.each(rules)('%s: and the planted bug %s is found', async (_, bug, violated) => {
    expect(await violated([bug])).toBe(true);
  });

  it('D6 puts all that is ready into one group commit', async () => {
    const world = await engineWorld();
    const submits = [1, 2, 3].map((n) =>
      world.engine.submit({ gid: gid(`g-${n}`), definition: sagaOf('a') }),
    );
    await world.clock.until(Promise.all(submits));
    expect(world.store.batches[0]?.map((write) => write.gid)).toEqual(['g-1', 'g-2', 'g-3']);
  });

  it('D6 gathers what comes while the store is busy, and sends it the moment there is room', async () => {
    const world = await engineWorld();
    const hold = holdCommits(world);
    const submits: Promise<unknown>[] = [];
    for (let n = 0; n < 6; n++) {
      submits.push(world.engine.submit({ gid: gid(`g-${n}`), definition: sagaOf('a') }));
      await world.clock.advance(0);
    }
    expect(hold.held).toBe(2);
    hold.release();
    await world.clock.advance(0);
    expect(world.store.batches[2]?.map((write) => write.gid)).toEqual(['g-2', 'g-3', 'g-4', 'g-5']);
    hold.release();
    await world.clock.until(Promise.all(submits));
  });

  it('D7 reads nothing back on the happy path, and writes twice', async () => {
    const world = await engineWorld();
    const submitted = world.engine.submit({ gid: gid('g'), definition: sagaOf('a', 'b'), waitMs: 1_000 });
    expect((await world.clock.until(submitted)).status).toBe('committed');
    expect(world.store.loads).toBe(0);
    expect(world.store.batches.flat().map((write) => write.kind)).toEqual(['insert', 'update']);
  });

  it('D5 keeps its deadlines by the time the store tells', async () => {
    const world = await engineWorld();
    world.participants.on('a/action', () => ({
      outcome: { kind: 'ongoing', retryAfterMs: 50 },
      repeatable: false,
    }));
    const definition = { ...sagaOf('a'), timeoutMs: 1_000 };
    const view = await world.clock.until(world.engine.submit({ gid: gid('g'), definition, waitMs: 5_000 }));
    expect(view).toMatchObject({ status: 'aborted', reason: 'not finished within 1000 ms' });
    expect(world.clock.monotonicMs()).toBeGreaterThanOrEqual(1_000);
    expect(world.clock.monotonicMs()).toBeLessThan(1_100);
  });
});
