import { describe, expect, it } from 'vitest';
import { memoryStore } from '../store/memory/index.ts';
import { gid, sagaOf, tccOf, WatchedStore } from '../testing/engine-world.ts';
import { Ledger } from '../testing/ledger.ts';
import { mortalEngine, type Mortal } from '../testing/mortal-engine.ts';
import { VirtualClock } from '../testing/virtual-clock.ts';
import type { Definition } from '../core/patterns.ts';
import { FairShare } from './fair-share.ts';
import type { EngineLimits } from './limits.ts';

describe('the share of a coordinator', () => {
  it.each([
    ['alone', { coordinators: 0, driving: 0 }, 10_000, 0],
    ['beside one that has nothing', { coordinators: 1, driving: 0 }, 1_000, 500],
    ['beside two that have nothing', { coordinators: 2, driving: 0 }, 300, 200],
    ['with as much as the others', { coordinators: 1, driving: 1_000 }, 1_000, 0],
    ['with a little more', { coordinators: 1, driving: 1_000 }, 1_100, 0],
    ['with a little more than little', { coordinators: 1, driving: 1_000 }, 1_300, 150],
    ['with hardly anything at all', { coordinators: 1, driving: 0 }, 17, 0],
    ['with less', { coordinators: 1, driving: 1_000 }, 10, 0],
  ])('%s: what is too much', (_, others, driving, excess) => {
    const share = new FairShare();
    share.heard(others);
    expect(share.excess(driving)).toBe(excess);
  });

  it('yields for a time once it has given, unless one of the others is gone (S3)', () => {
    const share = new FairShare();
    expect(share.heard({ coordinators: 2, driving: 0 })).toBe('same');
    share.gave(1_000);
    expect([share.yields(999), share.yields(1_000)]).toEqual([true, false]);
    expect(share.heard({ coordinators: 3, driving: 0 })).toBe('same');
    expect(share.yields(999)).toBe(true);
    expect(share.heard({ coordinators: 2, driving: 0 })).toBe('fewer');
    expect(share.yields(999)).toBe(false);
  });
});

interface Cluster {
  readonly clock: VirtualClock;
  readonly store: WatchedStore;
  readonly ledger: Ledger;
  join(limits?: Partial<EngineLimits>): Promise<Mortal>;
}

/** Every participant says `ongoing` until it is told otherwise. */
function cluster(): Cluster {
  const clock = new VirtualClock();
  const store = new WatchedStore(memoryStore({ nowMs: () => 1_000_000 + clock.monotonicMs() }));
  const ledger = new Ledger(clock);
  ledger.fate = () => 'ongoing';
  const join: Cluster['join'] = async (limits = {}) => {
    const options = { store, clock, caller: ledger, limits, ids: { gid: () => gid('unused') } };
    const mortal = mortalEngine({ ...options, random: { next: () => 0.999 } });
    await clock.until(mortal.engine.start());
    return mortal;
  };
  return { clock, store, ledger, join };
}

async function submit(
  { clock }: Cluster,
  { engine }: Mortal,
  count: number,
  definition: Definition = sagaOf('a', 'b'),
) {
  await clock.until(
    Promise.all(Array.from({ length: count }, (_, n) => engine.submit({ gid: gid(`g-${n}`), definition }))),
  );
}

function loads(...coordinators: readonly Mortal[]): readonly number[] {
  return coordinators.map(({ engine }) => engine.load().transactions);
}

/** Whoever drives less than this share of them, or more than its inverse, is not taking part. */
function expectSpread(found: readonly number[], total: number): void {
  const share = total / found.length;
  for (const one of found) {
    expect(one, `${found.join(' + ')} of ${total}`).toBeGreaterThan(share * 0.7);
    expect(one, `${found.join(' + ')} of ${total}`).toBeLessThan(share * 1.3);
  }
}

function givenBack({ store }: Cluster): number {
  return store.batches.flat().filter((write) => write.kind === 'update' && write.nextEpoch === 0).length;
}

describe('work on several coordinators', () => {
  it('spreads over those that join, comes back from those that go, and does not wander in between', async () => {
    const at = cluster();
    const total = 300;
    const a = await at.join();
    await submit(at, a, total);
    expect(loads(a)).toEqual([total]);

    const b = await at.join();
    await at.clock.advance(30_000);
    expectSpread(loads(a, b), total);

    const c = await at.join();
    await at.clock.advance(60_000);
    expectSpread(loads(a, b, c), total);

    const before = givenBack(at);
    await at.clock.advance(60_000);
    expect(givenBack(at) - before).toBeLessThan(10);

    await at.clock.until(b.engine.stop());
    await at.clock.advance(60_000);
    expectSpread(loads(a, c), total);

    a.crash();
    await at.clock.advance(20_000);
    expect(loads(c)).toEqual([total]);

    at.ledger.fate = () => 'done';
    await at.clock.advance(10_000);
    expect((await at.clock.until(c.engine.list({ status: ['committed'], limit: 200 }))).items).toHaveLength(
      200,
    );
    expect(at.ledger.violations).toEqual([]);
    expect([...at.ledger.effects.values()].filter((times) => times !== 1)).toEqual([]);
    expect(at.ledger.effects.size).toBe(2 * total);
  });

  it('is taken over as soon as ever from one that dies right after it was given some', async () => {
    const at = cluster();
    const a = await at.join();
    await submit(at, a, 100);
    const b = await at.join();
    // The next renewal of `a` tells it of `b`.
    while (givenBack(at) === 0) await at.clock.advance(100);
    b.crash();
    await at.clock.advance(10_000);
    expect(loads(a)).toEqual([100]);
  });

  it('stays where a call is under way', async () => {
    const at = cluster();
    const a = await at.join();
    at.ledger.fate = () => 'lost';
    await submit(at, a, 100);
    await at.join();
    await at.clock.advance(9_000);
    expect([loads(a), givenBack(at)]).toEqual([[100], 0]);
  });

  it('stays where a client waits for its end', async () => {
    const at = cluster();
    const a = await at.join();
    await submit(at, a, 100);
    for (let n = 0; n < 100; n++) void a.engine.get(gid(`g-${n}`), { waitMs: 20_000 });
    await at.join();
    await at.clock.advance(15_000);
    expect([loads(a), givenBack(at)]).toEqual([[100], 0]);
  });

  it('stays where the initiator has the word, and usually says it at once', async () => {
    const at = cluster();
    const limits = { residentMs: 20_000 };
    const a = await at.join(limits);
    await submit(at, a, 100, { ...tccOf('a'), decide: 'initiator' });
    await at.join(limits);
    await at.clock.advance(15_000);
    expect([loads(a), givenBack(at)]).toEqual([[100], 0]);
  });

  it('is not given away at once, but in batches', async () => {
    const at = cluster();
    const a = await at.join({ offerBatch: 10 });
    await submit(at, a, 200);
    await at.join();
    while (givenBack(at) === 0) await at.clock.advance(100);
    await at.clock.advance(1_500);
    expect(givenBack(at)).toBe(10);
  });
});
