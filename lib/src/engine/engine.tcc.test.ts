import { describe, expect, it } from 'vitest';
import type { Definition, TransactionView } from '../core/patterns.ts';
import type { TccDefinition } from '../core/tcc-plan.ts';
import { isSettleError } from '../util/errors.ts';
import { engineWorld, gid, tccBranch, tccOf, type EngineWorld } from '../testing/engine-world.ts';
import { done, misconfigured, ongoing, refused, silence, unknown } from '../testing/scripted-caller.ts';

type Tcc = TccDefinition & { readonly pattern: 'tcc' };

function initiated(...names: readonly string[]): Tcc {
  return { pattern: 'tcc', name: 'test-tcc', branches: names.map(tccBranch) };
}

function begin(world: EngineWorld, definition: Definition, waitMs = 0): Promise<TransactionView> {
  return world.clock.until(world.engine.submit({ gid: gid('g'), definition, waitMs }));
}

const commit = (world: EngineWorld, waitMs = 30_000): Promise<TransactionView> =>
  world.clock.until(world.engine.commit(gid('g'), { waitMs }));
const register = (world: EngineWorld, name: string, waitMs = 5_000): Promise<TransactionView> =>
  world.clock.until(world.engine.register(gid('g'), [tccBranch(name)], { waitMs }));
const get = (world: EngineWorld): Promise<TransactionView> => world.clock.until(world.engine.get(gid('g')));
const abort = { action: 'abort', reason: 'a test', actor: 'tester' } as const;

function failure(promise: Promise<unknown>): Promise<unknown> {
  return promise.then(
    () => 'no failure',
    (error: unknown) => error,
  );
}

function statuses(view: TransactionView): Readonly<Record<string, string>> {
  return Object.fromEntries(view.branches.map(({ branch, status }) => [branch, status]));
}

describe('a TCC that the coordinator decides', () => {
  it('confirms everything once everything is tried', async () => {
    const world = await engineWorld();
    const view = await world.clock.until(
      world.engine.submit({ gid: gid('g'), definition: tccOf('a', 'b'), waitMs: 1_000 }),
    );
    expect(view.status).toBe('committed');
    expect(world.participants.story).toEqual(['a/try', 'b/try', 'a/confirm', 'b/confirm']);
  });

  // covers C8
  it('cancels what may have been tried after a refusal, and not what refused', async () => {
    const world = await engineWorld();
    world.participants.on('b/try', () => refused('no credit')).on('c/try', () => unknown());
    const view = await begin(world, tccOf('a', 'b', 'c'), 30_000);
    expect(view).toMatchObject({ status: 'aborted', reason: 'b refused: no credit' });
    expect(world.participants.story.slice(3).toSorted()).toEqual(['a/cancel', 'c/cancel']);
  });

  // covers R7
  it('gives a try without an answer four attempts, and cancels it too', async () => {
    const world = await engineWorld();
    world.participants.on('b/try', () => unknown('timeout'));
    const view = await begin(world, tccOf('a', 'b'), 30_000);
    expect(view).toMatchObject({ status: 'aborted', reason: 'b gave no answer in 4 attempts: timeout' });
    expect(world.participants.story.filter((call) => call === 'b/try')).toHaveLength(4);
    expect(world.participants.story).toContain('b/cancel');
  });

  it('asks again what is still at it, for as long as the deadline allows', async () => {
    const world = await engineWorld();
    world.participants.on('b/try', (_, nth) => (nth <= 20 ? ongoing() : done()));
    expect(await begin(world, tccOf('a', 'b'), 30_000)).toMatchObject({ status: 'committed' });
  });
});

describe('a TCC that its initiator decides', () => {
  it('tries each branch as it is registered, and confirms all of them on commit', async () => {
    const world = await engineWorld();
    await begin(world, initiated());
    expect(statuses(await register(world, 'a'))).toEqual({ a: 'done' });
    expect(statuses(await register(world, 'b'))).toEqual({ a: 'done', b: 'done' });
    expect(await commit(world)).toMatchObject({ status: 'committed' });
    expect(world.participants.story).toEqual(['a/try', 'b/try', 'a/confirm', 'b/confirm']);
  });

  it('is decided without reading anything back from the store while its initiator is quick (D7)', async () => {
    const world = await engineWorld();
    await begin(world, initiated());
    await world.clock.advance(500);
    await register(world, 'a');
    await world.clock.advance(500);
    await commit(world);
    expect(world.store.loads).toBe(0);
    // Begin, register, what is tried, the decision, the end.
    expect(world.store.batches.flat()).toHaveLength(5);
  });

  it('leaves memory when its initiator is slow, and is decided all the same', async () => {
    const world = await engineWorld();
    await begin(world, initiated('a'));
    await world.clock.advance(12_000);
    expect(world.engine.load().transactions).toBe(0);
    expect(await commit(world)).toMatchObject({ status: 'committed' });
  });

  it('is cancelled at its deadline when its initiator died (F2)', async () => {
    const world = await engineWorld();
    await begin(world, { ...initiated('a'), timeoutMs: 30_000 });
    await world.clock.advance(32_000);
    expect(await get(world)).toMatchObject({ status: 'aborted', reason: 'not committed within 30000 ms' });
    expect(world.participants.story).toEqual(['a/try', 'a/cancel']);
  });

  it('is not committed before everything is tried, and can be afterwards', async () => {
    const world = await engineWorld();
    world.participants.on('b/try', (_, nth) => (nth === 1 ? ongoing() : done()));
    await begin(world, initiated('a', 'b'));
    await world.clock.advance(10);
    expect(await failure(commit(world))).toMatchObject({
      code: 'illegal_action',
      message: expect.stringContaining('not tried yet: b'),
    });
    await world.clock.advance(1_500);
    expect(await commit(world)).toMatchObject({ status: 'committed' });
  });

  it('takes a commit that is repeated, during and after the confirms', async () => {
    const world = await engineWorld();
    world.participants.on('a/confirm', (_, nth) => (nth <= 2 ? unknown() : done()));
    await begin(world, initiated('a'));
    await world.clock.advance(10);
    expect(await commit(world, 0)).toMatchObject({ status: 'confirming' });
    expect(await commit(world, 30_000)).toMatchObject({ status: 'committed' });
    expect(await commit(world)).toMatchObject({ status: 'committed' });
  });

  it('takes a registration that is repeated, and refuses another branch of the same name', async () => {
    const world = await engineWorld();
    await begin(world, initiated());
    await register(world, 'a');
    expect(statuses(await register(world, 'a'))).toEqual({ a: 'done' });
    expect(world.participants.story).toEqual(['a/try']);
    const other = { ...tccBranch('a'), confirm: { address: 'service/other' } };
    expect(await failure(world.engine.register(gid('g'), [other]))).toMatchObject({
      code: 'invalid_definition',
    });
  });

  it('takes a repeated registration that says the same with members left undefined', async () => {
    const world = await engineWorld();
    await begin(world, initiated());
    await register(world, 'a');
    const same = { ...tccBranch('a'), try: { address: 'service/try-a', payload: undefined } };
    // @ts-expect-error exactOptionalPropertyTypes forbids it; plain JavaScript does not.
    const view = await world.clock.until(world.engine.register(gid('g'), [same]));
    expect(statuses(view)).toEqual({ a: 'done' });
  });

  it.each([
    ['confirming', 'commit'],
    ['cancelling', 'abort'],
  ] as const)('refuses a branch that is registered while it is %s (F7)', async (status, decision) => {
    const world = await engineWorld();
    world.participants.on('a/confirm', () => ongoing()).on('a/cancel', () => ongoing());
    await begin(world, initiated('a'));
    await world.clock.advance(10);
    await (decision === 'commit' ? commit(world, 0) : world.clock.until(world.engine.act(gid('g'), abort)));
    expect(await failure(register(world, 'late'))).toMatchObject({ code: 'illegal_action', gid: 'g' });
    expect(await get(world)).toMatchObject({ status });
    expect(world.participants.story).not.toContain('late/try');
  });

  it('refuses an address that may not be called, and keeps the branches it has', async () => {
    const world = await engineWorld();
    await begin(world, initiated('a'));
    const bad = { ...tccBranch('b'), cancel: { address: 'forbidden/cancel' } };
    expect(await failure(world.engine.register(gid('g'), [bad]))).toMatchObject({
      code: 'address_not_allowed',
    });
    expect(statuses(await get(world))).toEqual({ a: 'done' });
  });

  it('counts a branch whose try the initiator calls itself as tried', async () => {
    const world = await engineWorld();
    const { try: _, ...own } = tccBranch('own');
    await begin(world, { ...initiated(), branches: [own] });
    expect(await commit(world)).toMatchObject({ status: 'committed' });
    expect(world.participants.story).toEqual(['own/confirm']);
  });
});

describe('a commit that races the deadline (F6)', () => {
  it.each([-2, -1, 0, 1, 2])(
    'has one winner, and the answer is what stands: %i ms beside it',
    async (offset) => {
      for (const commitTakesMs of [0, 1, 5]) {
        const world = await engineWorld();
        await begin(world, { ...initiated('a'), timeoutMs: 3_000 });
        world.store.intercept = async (_, pass) => {
          await world.clock.sleep(commitTakesMs);
          return pass();
        };
        await world.clock.advance(3_000 + offset);
        const told = await commit(world).then(
          (view): string => view.status,
          (error: unknown) => (isSettleError(error) ? error.code : 'a defect'),
        );
        await world.clock.advance(10_000);
        const { status } = await get(world);
        expect([told, status].join()).toMatch(/^(committed,committed|illegal_action,aborted)$/);
        const settled = world.participants.story.filter((call) => call !== 'a/try');
        expect(settled).toEqual([status === 'committed' ? 'a/confirm' : 'a/cancel']);
      }
    },
  );
});

describe('after the decision of a TCC', () => {
  // covers C9, C15, R3, R5
  it('a confirm is asked again for ever, whatever it answers, and others are not held up by it', async () => {
    const world = await engineWorld();
    world.participants.on('a/confirm', (_, nth) =>
      nth <= 12 ? (nth % 2 ? refused('no') : misconfigured()) : done(),
    );
    await begin(world, initiated('a', 'b'));
    await world.clock.advance(10);
    await commit(world, 0);
    await world.clock.advance(100_000);
    const view = await get(world);
    expect(view).toMatchObject({ status: 'confirming', stuck: true });
    expect(statuses(view)).toEqual({ a: 'confirming', b: 'confirmed' });
    const codes = world.events.flatMap((event) => (event.kind === 'alarm' ? [event.code] : []));
    expect(new Set(codes)).toEqual(new Set(['phase_2_refused', 'stuck']));
    await world.clock.advance(200_000);
    expect(await get(world)).toMatchObject({ status: 'committed', stuck: false });
    expect(world.participants.story).not.toContain('b/cancel');
  });

  it('an abort before it cancels a try that is still under way once that is answered', async () => {
    const world = await engineWorld();
    world.participants.on('a/try', silence);
    await begin(world, initiated('a'));
    await world.clock.advance(10);
    await world.clock.until(world.engine.act(gid('g'), abort));
    expect(await get(world)).toMatchObject({ status: 'cancelling', reason: 'a test' });
    expect(world.participants.story).toEqual(['a/try']);
  });

  // covers F8
  it('a commit after an abort, and an abort after a commit, are illegal', async () => {
    const world = await engineWorld();
    await begin(world, initiated('a'));
    await world.clock.advance(10);
    await world.clock.until(world.engine.act(gid('g'), abort, { waitMs: 1_000 }));
    expect(await failure(commit(world))).toMatchObject({ code: 'illegal_action' });
    const other = await engineWorld();
    await begin(other, initiated('a'));
    await other.clock.advance(10);
    await commit(other);
    expect(await failure(other.clock.until(other.engine.act(gid('g'), abort)))).toMatchObject({
      code: 'illegal_action',
    });
  });

  it('retry-now asks a confirm at once that would have waited', async () => {
    const world = await engineWorld();
    world.participants.on('a/confirm', (_, nth) => (nth <= 9 ? unknown() : done()));
    await begin(world, initiated('a'));
    await world.clock.advance(10);
    await commit(world, 40_000);
    const before = world.clock.monotonicMs();
    const retry = { action: 'retry-now', reason: 'it is up again', actor: 'tester' } as const;
    for (let n = 0; n < 3; n++)
      await world.clock.until(world.engine.act(gid('g'), retry, { waitMs: 10 }).catch(() => undefined));
    expect(await get(world)).toMatchObject({ status: 'committed' });
    expect(world.clock.monotonicMs() - before).toBeLessThan(1_000);
  });
});
