/** What is in memory, and what is in the store: giving back, coming back, pruning (D9). */
import { describe, expect, it } from 'vitest';
import { engineWorld, gid, sagaOf, type EngineWorld } from '../testing/engine-world.ts';
import { done, ongoing, refused, unknown } from '../testing/scripted-caller.ts';

async function submit(world: EngineWorld, which: string, name: string): Promise<void> {
  await world.clock.until(world.engine.submit({ gid: gid(which), definition: sagaOf(name) }));
}

describe('a transaction that has nothing to do for a while', () => {
  it('leaves memory, and comes back when it is due', async () => {
    const world = await engineWorld();
    world.participants.on('a/action', (_, nth) => (nth === 1 ? ongoing(20_000) : done()));
    await submit(world, 'g', 'a');
    await world.clock.advance(100);
    expect(world.engine.load().transactions).toBe(0);
    expect(await world.store.load(gid('g'))).toMatchObject({ epoch: 0, dueAtMs: 1_020_000 });
    await world.clock.advance(21_000);
    expect((await world.clock.until(world.engine.get(gid('g')))).status).toBe('committed');
    expect(world.participants.story).toEqual(['a/action', 'a/action']);
  });

  it('stays when the pause is shorter than residentMs', async () => {
    const world = await engineWorld({ limits: { residentMs: 30_000 } });
    world.participants.on('a/action', (_, nth) => (nth === 1 ? ongoing(20_000) : done()));
    await submit(world, 'g', 'a');
    await world.clock.advance(100);
    expect(world.engine.load().transactions).toBe(1);
    await world.clock.advance(20_000);
    expect(world.store.loads).toBe(0);
  });

  it('keeps what it knew: calls that ended without an answer are counted on', async () => {
    const world = await engineWorld();
    world.participants.on('a/action', (_, nth) => (nth <= 12 ? unknown() : done()));
    await submit(world, 'g', 'a');
    await world.clock.advance(400_000);
    expect(world.participants.calls.map(({ attempt }) => attempt)).toEqual(
      Array.from({ length: 13 }, (_, i) => i + 1),
    );
  });

  it('may be one of very many: they need no memory', async () => {
    const world = await engineWorld({ limits: { transactionsMax: 100 } });
    world.participants.on('a/action', () => ongoing(60_000));
    for (let n = 0; n < 500; n++) {
      await submit(world, `g-${n}`, 'a');
      await world.clock.advance(0);
    }
    await world.clock.advance(10);
    expect(world.engine.load().transactions).toBe(0);
  });
});

describe('finished transactions', () => {
  it('are deleted after the retention time, and not before', async () => {
    const world = await engineWorld({ limits: { retentionMs: 60_000 } });
    world.participants.on('b/action', () => refused());
    await submit(world, 'committed', 'a');
    await submit(world, 'aborted', 'b');
    await world.clock.advance(59_000);
    expect((await world.clock.until(world.engine.list({}))).items).toHaveLength(2);
    await world.clock.advance(3_000);
    expect((await world.clock.until(world.engine.list({}))).items).toHaveLength(0);
    await expect(world.engine.get(gid('committed'))).rejects.toMatchObject({ code: 'transaction_not_found' });
  });

  it('are deleted beyond their number, in bounded pieces, the oldest first', async () => {
    const world = await engineWorld({ limits: { retentionMax: 5, pruneBatch: 3, pruneEveryMs: 10_000 } });
    const pieces: number[] = [];
    const prune = world.store.prune.bind(world.store);
    world.store.prune = async (policy) => {
      const pruned = await prune(policy);
      pieces.push(pruned);
      return pruned;
    };
    for (let n = 0; n < 15; n++) await submit(world, `g-${n}`, 'a');
    await world.clock.advance(10_000);
    expect(pieces).toEqual([3, 3, 3, 1]);
    const { items } = await world.clock.until(world.engine.list({}));
    expect(items.map((item) => item.gid)).toEqual(['g-14', 'g-13', 'g-12', 'g-11', 'g-10']);
  });

  it('are never those that have not finished, however old (A14)', async () => {
    const world = await engineWorld({ limits: { retentionMs: 1_000, retentionMax: 0 } });
    world.participants.on('a/action', () => ongoing());
    await submit(world, 'g', 'a');
    await world.clock.advance(100_000);
    expect((await world.clock.until(world.engine.get(gid('g')))).status).toBe('running');
  });

  it('stay when the store cannot prune, and the engine works on', async () => {
    const world = await engineWorld({ limits: { retentionMax: 0 } });
    world.store.prune = () => Promise.reject(new Error('disk full'));
    await submit(world, 'g', 'a');
    await world.clock.advance(5_000);
    expect((await world.clock.until(world.engine.get(gid('g')))).status).toBe('committed');
    expect(world.events).toContainEqual(
      expect.objectContaining({ kind: 'alarm', code: 'store_unavailable' }),
    );
  });
});

describe('a participant that is dead (B8, C3)', () => {
  it('fills no memory that others need, neither of new transactions nor of recovered ones', async () => {
    const world = await engineWorld({ limits: { transactionsMax: 200, recoveringMax: 50, claimBatch: 20 } });
    world.participants.on('dead/action', async () => {
      if (world.clock.monotonicMs() > 1_200_000) return done();
      await world.clock.sleep(5_000);
      return unknown('timeout');
    });
    const dead = (n: number): Promise<unknown> =>
      world.engine
        .submit({
          gid: gid(`dead-${n}`),
          definition: { ...sagaOf('dead'), steps: [{ name: 'dead', action: { address: 'dead/a' } }] },
        })
        .catch((error: unknown) => error);
    for (let n = 0; n < 600; n++) {
      void dead(n);
      await world.clock.advance(1_000);
    }
    for (let n = 0; n < 10; n++) {
      const view = await world.clock.until(
        world.engine.submit({ gid: gid(`live-${n}`), definition: sagaOf('a'), waitMs: 5_000 }),
      );
      expect(view.status).toBe('committed');
      await world.clock.advance(1_000);
    }
    // And after it came back, all of them settle.
    await world.clock.advance(800_000);
    const { items } = await world.clock.until(world.engine.list({ status: ['running'] }));
    expect(items).toEqual([]);
  });
});
