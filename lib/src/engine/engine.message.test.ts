import { describe, expect, it } from 'vitest';
import type { MessageDefinition } from '../core/message-plan.ts';
import type { TransactionView } from '../core/patterns.ts';
import { engineWorld, gid, type EngineWorld } from '../testing/engine-world.ts';
import { done, ongoing, refused, unknown } from '../testing/scripted-caller.ts';

type Message = MessageDefinition & { readonly pattern: 'message' };

function messageTo(...names: readonly string[]): Message {
  const targets = names.map((name) => ({
    name,
    deliver: { address: `service/${name}`, payload: { to: name } },
  }));
  return { pattern: 'message', name: 'test-message', targets };
}

function prepared(...names: readonly string[]): Message {
  return { ...messageTo(...names), check: { address: 'service/check' } };
}

function submit(world: EngineWorld, definition: Message, waitMs = 0): Promise<TransactionView> {
  return world.clock.until(world.engine.submit({ gid: gid('g'), definition, waitMs }));
}

const commit = (world: EngineWorld, waitMs = 30_000): Promise<TransactionView> =>
  world.clock.until(world.engine.commit(gid('g'), { waitMs }));
const get = (world: EngineWorld): Promise<TransactionView> => world.clock.until(world.engine.get(gid('g')));
const abort = { action: 'abort', reason: 'rolled back', actor: 'producer' } as const;

describe('a message without a check-back', () => {
  it('is delivered at once to all its targets', async () => {
    const world = await engineWorld();
    expect(await submit(world, messageTo('a', 'b'), 1_000)).toMatchObject({ status: 'committed' });
    expect(world.participants.calls.map(({ branch, payload }) => [branch, payload])).toEqual([
      ['a', { to: 'a' }],
      ['b', { to: 'b' }],
    ]);
  });

  it('is delivered to one target after the other when they are a sequence', async () => {
    const world = await engineWorld();
    world.participants.on('a/action', (_, nth) => (nth <= 3 ? unknown() : done()));
    await submit(world, { ...messageTo('a', 'b', 'c'), order: 'sequence' }, 30_000);
    expect(world.participants.story).toEqual([...Array<string>(4).fill('a/action'), 'b/action', 'c/action']);
  });

  it('holds up no other target when one does not answer', async () => {
    const world = await engineWorld();
    world.participants.on('a/action', () => unknown());
    await submit(world, messageTo('a', 'b'));
    await world.clock.advance(1_000);
    expect((await get(world)).branches.map(({ status }) => status)).toEqual(['called', 'done']);
  });

  it('becomes stuck, is not lost, when a target refuses, and goes on when that gives in', async () => {
    const world = await engineWorld();
    world.participants.on('a/action', (_, nth) => (nth <= 12 ? refused('bad address') : done()));
    await submit(world, messageTo('a'));
    await world.clock.advance(120_000);
    expect(await get(world)).toMatchObject({ status: 'delivering', stuck: true });
    const alarms = world.events.flatMap((event) => (event.kind === 'alarm' ? [event.code] : []));
    expect(alarms).toContain('stuck');
    await world.clock.advance(120_000);
    expect(await get(world)).toMatchObject({ status: 'committed', stuck: false });
  });

  it('lets an operator skip a target that is stuck', async () => {
    const world = await engineWorld();
    world.participants.on('a/action', () => refused());
    await submit(world, messageTo('a', 'b'));
    await world.clock.advance(120_000);
    const skip = { action: 'skip-branch', branch: 'a', reason: 'it is gone', actor: 'tester' } as const;
    expect(await world.clock.until(world.engine.act(gid('g'), skip, { waitMs: 1_000 }))).toMatchObject({
      status: 'committed',
    });
  });
});

describe('a delayed message', () => {
  it.each([1_000, 60_000, 40 * 24 * 3_600_000])(
    'is delivered after %i ms, and not before',
    async (delayMs) => {
      const world = await engineWorld({
        limits: {
          claimEveryMs: delayMs > 1e9 ? 3_600_000 : 1_000,
          leaseMs: delayMs > 1e9 ? 7_200_000 : 6_000,
          pruneEveryMs: delayMs > 1e9 ? 3_600_000 : 1_000,
        },
      });
      await submit(world, { ...messageTo('a'), delayMs });
      await world.clock.advance(delayMs - 1);
      expect(world.participants.story).toEqual([]);
      expect(await get(world)).toMatchObject({ status: 'scheduled' });
      await world.clock.advance(delayMs > 1e9 ? 3_600_001 : 1_001);
      expect(await get(world)).toMatchObject({ status: 'committed' });
    },
  );

  it('does not stay in memory meanwhile, also when its producer waited a while for its end', async () => {
    const world = await engineWorld();
    await submit(world, { ...messageTo('a'), delayMs: 60_000 }, 2_000);
    await world.clock.advance(100);
    expect(world.engine.load().transactions).toBe(0);
  });

  it('is delivered at once after retry-now', async () => {
    const world = await engineWorld();
    await submit(world, { ...messageTo('a'), delayMs: 60_000 });
    const retry = { action: 'retry-now', reason: 'hurry', actor: 'tester' } as const;
    expect(await world.clock.until(world.engine.act(gid('g'), retry, { waitMs: 1_000 }))).toMatchObject({
      status: 'committed',
    });
  });
});

describe('a prepared message', () => {
  it('is delivered when its producer commits, and the producer is never asked', async () => {
    const world = await engineWorld();
    await submit(world, prepared('a'));
    await world.clock.advance(3_000);
    expect(world.participants.story).toEqual([]);
    expect(await commit(world)).toMatchObject({ status: 'committed' });
    await world.clock.advance(60_000);
    expect(world.participants.story).toEqual(['a/action']);
  });

  it('needs nothing read back from the store when its producer is quick (D7)', async () => {
    const world = await engineWorld();
    await submit(world, prepared('a'));
    await world.clock.advance(500);
    await commit(world);
    expect(world.store.loads).toBe(0);
    // Prepared, delivering, committed.
    expect(world.store.batches.flat()).toHaveLength(3);
  });

  it('is delivered once when its producer commits twice', async () => {
    const world = await engineWorld();
    await submit(world, prepared('a'));
    await Promise.all([commit(world), commit(world)]);
    expect(await commit(world)).toMatchObject({ status: 'committed' });
    expect(world.participants.story).toEqual(['a/action']);
  });

  it('is dropped when its producer aborts, for good', async () => {
    const world = await engineWorld();
    await submit(world, prepared('a'));
    expect(await world.clock.until(world.engine.act(gid('g'), abort))).toMatchObject({
      status: 'aborted',
      reason: 'rolled back',
    });
    await expect(commit(world)).rejects.toMatchObject({ code: 'illegal_action' });
    await world.clock.advance(60_000);
    expect(world.participants.story).toEqual([]);
  });
});

describe('a message whose producer died (F1)', () => {
  it('is delivered when the check-back says that the local transaction committed', async () => {
    const world = await engineWorld();
    await submit(world, prepared('a'));
    await world.clock.advance(11_500);
    expect(world.participants.story).toEqual(['producer/check', 'a/action']);
    expect(await get(world)).toMatchObject({ status: 'committed' });
  });

  // covers A19
  it('is dropped when the check-back says that it did not', async () => {
    const world = await engineWorld();
    world.participants.on('producer/check', () => refused('no row'));
    await submit(world, prepared('a'));
    await world.clock.advance(60_000);
    expect(await get(world)).toMatchObject({ status: 'aborted' });
    expect(world.participants.story).toEqual(['producer/check']);
  });

  it('is asked about again for as long as nobody knows, is shown as stuck, and never decided by us', async () => {
    const world = await engineWorld();
    world.participants.on('producer/check', (_, nth) =>
      nth <= 3 ? ongoing() : nth <= 30 ? unknown() : done(),
    );
    await submit(world, prepared('a'));
    await world.clock.advance(150_000);
    expect(await get(world)).toMatchObject({ status: 'prepared', stuck: true });
    await world.clock.advance(900_000);
    expect(await get(world)).toMatchObject({ status: 'committed' });
  });

  it('is asked about first after checkAfterMs', async () => {
    const world = await engineWorld();
    await submit(world, { ...prepared('a'), checkAfterMs: 2_000 });
    await world.clock.advance(1_999);
    expect(world.participants.story).toEqual([]);
    await world.clock.advance(1);
    expect(world.participants.story[0]).toBe('producer/check');
  });

  it('hears its producer after all, while that is being asked', async () => {
    const world = await engineWorld();
    world.participants.on('producer/check', () => unknown());
    await submit(world, { ...prepared('a'), checkAfterMs: 1_000 });
    await world.clock.advance(5_000);
    expect(await commit(world)).toMatchObject({ status: 'committed' });
  });
});
