/** Two and three coordinators over one store: who may drive a transaction, and what the others may do. */
import { describe, expect, it } from 'vitest';
import type { Definition, TransactionView } from '../core/patterns.ts';
import type { EngineEvent } from '../observe/events.ts';
import { memoryStore } from '../store/memory/index.ts';
import { SettleError } from '../util/errors.ts';
import { gid, sagaOf, tccBranch, tccOf, WatchedStore } from '../testing/engine-world.ts';
import { Ledger } from '../testing/ledger.ts';
import { mortalEngine, type Mortal } from '../testing/mortal-engine.ts';
import { VirtualClock } from '../testing/virtual-clock.ts';
import type { EngineLimits } from './limits.ts';
import { clusterDefault } from './ports.ts';

interface Cluster {
  readonly clock: VirtualClock;
  readonly store: WatchedStore;
  readonly ledger: Ledger;
  readonly events: (EngineEvent & { readonly by: string })[];
  /** Another coordinator that has started. */
  join(name: string, limits?: Partial<EngineLimits>, cluster?: string): Promise<Mortal>;
}

function cluster(): Cluster {
  const clock = new VirtualClock();
  const store = new WatchedStore(memoryStore({ nowMs: () => 1_000_000 + clock.monotonicMs() }));
  const ledger = new Ledger(clock);
  const events: (EngineEvent & { readonly by: string })[] = [];
  let gids = 0;
  return {
    clock,
    store,
    ledger,
    events,
    async join(name, limits = {}, cluster = clusterDefault) {
      const mortal = mortalEngine({
        store,
        clock,
        caller: ledger,
        limits,
        coordinator: name,
        cluster,
        random: { next: () => 0.999 },
        ids: { gid: () => gid(`generated-${++gids}`) },
        observe: (event) => events.push({ ...event, by: name }),
      });
      await clock.until(mortal.engine.start());
      return mortal;
    },
  };
}

function alarms({ events }: Cluster, by: string): readonly string[] {
  return events.flatMap((event) => (event.kind === 'alarm' && event.by === by ? [event.code] : []));
}

function initiated(...names: readonly string[]): Definition {
  return { pattern: 'tcc', name: 'test-tcc', branches: names.map(tccBranch) };
}

async function two(): Promise<Cluster & { readonly owner: Mortal; readonly other: Mortal }> {
  const at = cluster();
  return { ...at, owner: await at.join('owner'), other: await at.join('other') };
}

function ask<T>({ clock }: Cluster, promise: Promise<T>): Promise<T> {
  return clock.until(promise);
}

/** A prepared message that went to the store until its check-back is due. */
async function resting(): Promise<Cluster & { readonly only: Mortal }> {
  const at = cluster();
  const only = await at.join('only');
  const deliver = { address: 'service/a' };
  await at.clock.until(
    only.engine.submit({
      gid: gid('g'),
      definition: {
        pattern: 'message',
        name: 'm',
        check: deliver,
        checkAfterMs: 3_600_000,
        targets: [{ name: 'a', deliver }],
      },
    }),
  );
  await at.clock.advance(20_000);
  expect(only.engine.load().transactions).toBe(0);
  return { ...at, only };
}

describe('the takeover from a coordinator that died', () => {
  // covers B9
  it.each([
    ['10 s by default', {}, 10_000],
    ['3 s when configured so', { leaseMs: 2_000, claimEveryMs: 500 }, 3_000],
  ])('comes within %s', async (_, limits, withinMs) => {
    const at = cluster();
    const first = await at.join('first', limits);
    await at.join('second', limits);
    at.ledger.fate = () => 'lost';
    await at.clock.until(first.engine.submit({ gid: gid('g'), definition: sagaOf('a', 'b') }));
    await at.clock.advance(5_000);
    at.ledger.calls.splice(0);
    first.crash();
    at.ledger.fate = () => 'done';
    await at.clock.advance(withinMs);
    expect(at.ledger.calls.map(({ branch }) => branch)).toEqual(['a', 'b']);
  });

  it('never comes while that one lives, however long a call takes', async () => {
    const at = cluster();
    const first = await at.join('first', { callTimeoutMs: 120_000 });
    await at.join('second');
    at.ledger.fate = (_, nth) => (nth === 1 ? 'lost' : 'done');
    await at.clock.until(first.engine.submit({ gid: gid('g'), definition: sagaOf('a') }));
    await at.clock.advance(110_000);
    expect(at.ledger.calls).toHaveLength(1);
    expect(at.events.filter(({ kind }) => kind === 'alarm')).toEqual([]);
  });

  // covers B10
  it('is made by one only, of two that wait for it', async () => {
    const at = cluster();
    const first = await at.join('first');
    await Promise.all([at.join('second'), at.join('third')]);
    at.ledger.fate = () => 'lost';
    await at.clock.until(
      Promise.all(
        Array.from({ length: 20 }, (_, n) =>
          first.engine.submit({ gid: gid(`g-${n}`), definition: sagaOf('a') }),
        ),
      ),
    );
    first.crash();
    await at.clock.advance(1_000);
    at.ledger.calls.splice(0);
    at.ledger.fate = () => 'done';
    await at.clock.advance(15_000);
    expect(at.ledger.calls.map((call) => call.gid).toSorted()).toEqual(
      Array.from({ length: 20 }, (_, n) => `g-${n}`).toSorted(),
    );
  });
});

// covers A31
describe('a coordinator that slept through its lease (A29)', () => {
  it.each([7_000, 30_000, 600_000])('does no harm when it wakes up after %i ms', async (asleepMs) => {
    const at = cluster();
    const first = await at.join('first');
    const second = await at.join('second');
    // Every first call is answered only after its coordinator fell asleep.
    at.ledger.fate = ({ branch }, nth) =>
      branch === 'b' && nth === 1 ? 'lost' : branch === 'c' ? 'refuse' : 'done';
    await at.clock.until(first.engine.submit({ gid: gid('g'), definition: sagaOf('a', 'b', 'c') }));
    await at.clock.advance(100);
    first.pause();
    await at.clock.advance(asleepMs);
    first.resume();
    await at.clock.advance(60_000);
    expect(at.ledger.violations).toEqual([]);
    expect(at.ledger.of('g')).toEqual({ a: 'undone', b: 'undone', c: 'nothing' });
    expect((await at.clock.until(second.engine.get(gid('g')))).status).toBe('aborted');
    expect(first.engine.load().transactions).toBe(0);
  });

  it('says that it lost its lease, has nothing left, and takes new work again', async () => {
    const at = cluster();
    const first = await at.join('first');
    await at.join('second');
    at.ledger.fate = () => 'ongoing';
    await at.clock.until(first.engine.submit({ gid: gid('g'), definition: sagaOf('a') }));
    first.pause();
    await at.clock.advance(30_000);
    first.resume();
    await at.clock.advance(3_000);
    expect(alarms(at, 'first')).toContain('lease_lost');
    expect(first.engine.load().transactions).toBe(0);
    expect(first.engine.readiness()).toEqual({ kind: 'ready' });
    at.ledger.fate = () => 'done';
    const view = await at.clock.until(first.engine.submit({ definition: sagaOf('a'), waitMs: 1_000 }));
    expect(view.status).toBe('committed');
  });

  it('needs a name of its cluster', async () => {
    await expect(cluster().join('first', {}, '')).rejects.toMatchObject({ code: 'config_invalid' });
  });

  it('joins again as one of its cluster', async () => {
    const at = cluster();
    const joined: (string | undefined)[] = [];
    const join = at.store.join.bind(at.store);
    at.store.join = (coordinator, ttlMs, cluster) => {
      joined.push(cluster);
      return join(coordinator, ttlMs, cluster);
    };
    const first = await at.join('first', {}, 'production');
    const stranger = at.join('stranger', {}, 'staging').catch((error: unknown) => error);
    expect(await at.clock.until(stranger)).toMatchObject({ code: 'cluster_mismatch' });
    await at.join('second', {}, 'production');
    await at.clock.until(first.engine.submit({ gid: gid('g'), definition: initiated('a') }));
    first.pause();
    await at.clock.advance(30_000);
    first.resume();
    await at.clock.advance(3_000);
    expect(alarms(at, 'first')).toContain('lease_lost');
    expect(joined).toEqual(['production', 'staging', 'production', 'production']);
  });

  it('writes nothing over what its successor wrote: its first write fails (A30)', async () => {
    const at = cluster();
    const first = await at.join('first');
    const second = await at.join('second');
    at.ledger.fate = () => 'ongoing';
    await at.clock.until(first.engine.submit({ gid: gid('g'), definition: initiated('a') }));
    await at.clock.advance(10);
    first.pause();
    await at.clock.advance(10_000);
    const abort = { action: 'abort', reason: 'a test', actor: 'tester' } as const;
    await at.clock.until(second.engine.act(gid('g'), abort));
    at.ledger.fate = () => 'done';
    first.resume();
    // In the same moment, before it could notice anything.
    const decided = first.engine.commit(gid('g')).then(String, (error: unknown) => error);
    expect(await at.clock.until(decided)).toMatchObject({
      code: expect.stringMatching(/illegal_action|lease_lost/),
    });
    await at.clock.advance(30_000);
    expect((await at.clock.until(first.engine.get(gid('g')))).status).toBe('aborted');
  });

  it('is safe with three of them that take turns in sleeping', async () => {
    const at = cluster();
    const mortals = [await at.join('one'), await at.join('two'), await at.join('three')] as const;
    at.ledger.fate = ({ op }, nth) =>
      nth === 1 ? 'unanswered' : nth === 2 ? 'late' : op === 'confirm' && nth < 6 ? 'lost' : 'done';
    const submits = Array.from({ length: 9 }, (_, n) =>
      mortals[(n % 3) as 0 | 1 | 2].engine.submit({
        gid: gid(`g-${n}`),
        definition: n % 2 ? tccOf('a', 'b') : sagaOf('a', 'b'),
      }),
    );
    await at.clock.until(Promise.all(submits));
    for (let round = 0; round < 9; round++) {
      mortals[(round % 3) as 0 | 1 | 2].pause();
      await at.clock.advance(8_000);
      mortals[(round % 3) as 0 | 1 | 2].resume();
      await at.clock.advance(1_000);
    }
    await at.clock.advance(300_000);
    expect(at.ledger.violations).toEqual([]);
    for (let n = 0; n < 9; n++) {
      const { status } = await at.clock.until(mortals[0].engine.get(gid(`g-${n}`)));
      const standings = new Set(Object.values(at.ledger.of(`g-${n}`)));
      expect([status, ...standings].join()).toMatch(
        /^(committed,(made|confirmed)|aborted,(undone|nothing|undone,nothing|nothing,undone))$/,
      );
    }
  });
});

describe('a coordinator that cannot renew its lease', () => {
  it('lets no new call leave until it can, and then goes on (B9)', async () => {
    const at = cluster();
    const { engine } = await at.join('only');
    const renew = at.store.renew.bind(at.store);
    at.store.renew = () => Promise.reject(new SettleError('unavailable', 'no route to the store'));
    await at.clock.advance(7_000);
    expect(engine.readiness()).toMatchObject({ kind: 'not-ready' });
    expect(alarms(at, 'only')).toContain('store_unavailable');
    await at.clock.until(engine.submit({ gid: gid('g'), definition: sagaOf('a') }));
    await at.clock.advance(10_000);
    expect(at.ledger.calls).toEqual([]);
    at.store.renew = renew;
    await at.clock.advance(3_000);
    expect(engine.readiness()).toEqual({ kind: 'ready' });
    expect(at.ledger.calls.map(({ branch }) => branch)).toEqual(['a']);
  });
});

describe('a coordinator whose writes fail', () => {
  it('is not ready until the store takes one again', async () => {
    const at = cluster();
    const { engine } = await at.join('only');
    const commit = at.store.commit.bind(at.store);
    at.store.commit = () => Promise.reject(new SettleError('unavailable', 'the disk is full'));
    const submitted = engine.submit({ gid: gid('g'), definition: sagaOf('a') });
    await expect(at.clock.until(submitted)).rejects.toThrow('the disk is full');
    expect(engine.readiness()).toEqual({
      kind: 'not-ready',
      reason: 'the last write failed: unavailable: the disk is full',
    });
    // Its lease is renewed all the while: that needs no room.
    await at.clock.advance(5_000);
    await expect(at.clock.until(engine.submit({ definition: sagaOf('a') }))).rejects.toThrow('full');
    await at.clock.advance(5_000);
    expect(engine.readiness()).toMatchObject({ kind: 'not-ready' });
    at.store.commit = commit;
    await at.clock.until(engine.submit({ definition: sagaOf('a') }));
    expect(engine.readiness()).toEqual({ kind: 'ready' });
  });

  it('is ready again after a lease without a failure, when nobody sends it anything to write', async () => {
    const at = cluster();
    const { engine } = await at.join('only');
    const commit = at.store.commit.bind(at.store);
    at.store.commit = () => Promise.reject(new SettleError('unavailable', 'the disk is full'));
    await expect(at.clock.until(engine.submit({ definition: sagaOf('a') }))).rejects.toThrow('full');
    at.store.commit = commit;
    await at.clock.advance(9_000);
    expect(engine.readiness()).toEqual({ kind: 'ready' });
  });
});

describe('a coordinator that is asked about a transaction of another one', () => {
  it('takes it over to commit it', async () => {
    const at = await two();
    await ask(at, at.owner.engine.submit({ gid: gid('g'), definition: initiated('a', 'b') }));
    await at.clock.advance(10);
    expect(await ask(at, at.other.engine.commit(gid('g'), { waitMs: 5_000 }))).toMatchObject({
      status: 'committed',
    });
    expect(at.ledger.of('g')).toEqual({ a: 'confirmed', b: 'confirmed' });
    await at.clock.advance(10_000);
    expect(at.owner.engine.load().transactions + at.other.engine.load().transactions).toBe(0);
  });

  it('takes it over to abort it, with the calls of the other one still under way', async () => {
    const at = await two();
    at.ledger.fate = ({ op, branch }, nth) =>
      branch === 'b' && op === 'action' && nth === 1 ? 'late' : 'done';
    await ask(at, at.owner.engine.submit({ gid: gid('g'), definition: sagaOf('a', 'b') }));
    await at.clock.advance(10);
    const abort = { action: 'abort', reason: 'a test', actor: 'tester' } as const;
    expect(await ask(at, at.other.engine.act(gid('g'), abort, { waitMs: 30_000 }))).toMatchObject({
      status: 'aborted',
    });
    await at.clock.advance(30_000);
    expect(at.ledger.violations).toEqual([]);
    expect(Object.values(at.ledger.of('g'))).not.toContain('made');
  });

  it('takes it over to register a branch, and sees its try answered', async () => {
    const at = await two();
    await ask(at, at.owner.engine.submit({ gid: gid('g'), definition: initiated('a') }));
    const view = await ask(at, at.other.engine.register(gid('g'), [tccBranch('b')], { waitMs: 5_000 }));
    expect(view.branches.map(({ branch, status }) => [branch, status])).toContainEqual(['b', 'done']);
  });

  it('waits for its end at the other one without taking it over', async () => {
    const at = await two();
    at.ledger.fate = (_, nth) => (nth <= 3 ? 'ongoing' : 'done');
    await ask(at, at.owner.engine.submit({ gid: gid('g'), definition: sagaOf('a') }));
    expect(await ask(at, at.other.engine.get(gid('g')))).toMatchObject({ status: 'running' });
    expect(await ask(at, at.other.engine.get(gid('g'), { waitMs: 10_000 }))).toMatchObject({
      status: 'committed',
    });
    expect(at.other.engine.load().transactions).toBe(0);
  });

  it('leaves it to its owner when what is asked is not legal', async () => {
    const at = await two();
    at.ledger.fate = () => 'ongoing';
    await ask(at, at.owner.engine.submit({ gid: gid('g'), definition: sagaOf('a') }));
    const before = await at.store.load(gid('g'));
    const asked = at.other.engine.commit(gid('g')).catch((error: unknown) => error);
    expect(await ask(at, asked)).toMatchObject({ code: 'illegal_action' });
    expect((await at.store.load(gid('g')))?.epoch).toBe(before?.epoch);
    at.ledger.fate = () => 'done';
    await at.clock.advance(5_000);
    expect((await ask(at, at.other.engine.get(gid('g')))).status).toBe('committed');
  });

  // covers A30, B6, B10, G1
  it('lets one of two opposite decisions win, and tells both what stands', async () => {
    for (let delay = 0; delay < 4; delay++) {
      const at = await two();
      await ask(at, at.owner.engine.submit({ gid: gid('g'), definition: initiated('a') }));
      await at.clock.advance(10);
      const abort = { action: 'abort', reason: 'a test', actor: 'tester' } as const;
      const answers: (TransactionView | SettleError)[] = [];
      const keep = (promise: Promise<TransactionView>): Promise<unknown> =>
        promise.then(
          (view) => answers.push(view),
          (error: SettleError) => answers.push(error),
        );
      const both = [keep(at.owner.engine.commit(gid('g'), { waitMs: 5_000 }))];
      for (let turn = 0; turn < delay; turn++) await Promise.resolve();
      both.push(keep(at.other.engine.act(gid('g'), abort, { waitMs: 5_000 })));
      await ask(at, Promise.all(both));
      await at.clock.advance(10_000);
      const { status } = await ask(at, at.owner.engine.get(gid('g')));
      const told = answers.flatMap((answer) => ('status' in answer ? [answer.status] : []));
      expect(new Set([...told, status]).size).toBe(1);
      const codes = answers.flatMap((answer) => ('code' in answer ? [answer.code] : []));
      expect(['illegal_action', 'lease_lost']).toEqual(expect.arrayContaining(codes));
    }
  });
});

describe('several who ask at once about a transaction that is not in memory', () => {
  const skip = { action: 'skip-branch', branch: 'a', reason: 'a test', actor: 'tester' } as const;

  it('lose no decision because the one before them was refused', async () => {
    const at = await resting();
    const refusedOne = at.only.engine.act(gid('g'), skip).catch((error: unknown) => error);
    const committed = at.only.engine.commit(gid('g'), { waitMs: 5_000 });
    expect(await at.clock.until(refusedOne)).toMatchObject({ code: 'illegal_action' });
    expect((await at.clock.until(committed)).status).toBe('committed');
  });

  it('bring it into memory once', async () => {
    const at = await resting();
    const commits = Array.from({ length: 5 }, () => at.only.engine.commit(gid('g'), { waitMs: 5_000 }));
    const views = await at.clock.until(Promise.all(commits));
    expect(new Set(views.map(({ status }) => status))).toEqual(new Set(['committed']));
    expect(at.ledger.calls).toHaveLength(1);
  });

  it('wait for a claim that is bringing it just now', async () => {
    const at = await resting();
    at.ledger.fate = ({ op }) => (op === 'check' ? 'ongoing' : 'done');
    const claim = at.store.claim.bind(at.store);
    at.store.claim = async (...args) => {
      const claimed = await claim(...args);
      await at.clock.sleep(50);
      return claimed;
    };
    await at.clock.advance(3_600_000 - 20_000 - 100);
    while ((await at.store.load(gid('g')))?.epoch === 0) await at.clock.advance(10);
    const abort = { action: 'abort', reason: 'a test', actor: 'tester' } as const;
    const view = await at.clock.until(at.only.engine.act(gid('g'), abort, { waitMs: 5_000 }));
    const calls = at.ledger.calls.length;
    await at.clock.advance(60_000);
    // The claim brought it for its check-back, which no second runner may ask for after the decision.
    expect(view.status).toBe('aborted');
    expect(at.ledger.calls).toHaveLength(calls);
    expect((await at.clock.until(at.only.engine.get(gid('g')))).status).toBe('aborted');
    expect(at.only.engine.load().transactions).toBe(0);
  });
});
