/** Cases of RELIABILITY.md that no single mechanism of the engine answers for. */
import { describe, expect, it } from 'vitest';
import type { Definition } from '../core/patterns.ts';
import { memoryStore } from '../store/memory/index.ts';
import { engineWorld, gid, sagaOf, tccBranch, tccOf, WatchedStore } from '../testing/engine-world.ts';
import { Ledger } from '../testing/ledger.ts';
import { mortalEngine, type Mortal, type Step } from '../testing/mortal-engine.ts';
import { done, silence } from '../testing/scripted-caller.ts';
import { VirtualClock } from '../testing/virtual-clock.ts';
import { SettleError } from '../util/errors.ts';
import type { EngineLimits } from './limits.ts';
import type { Store } from './ports.ts';

const hourMs = 3_600_000;

interface StartOptions {
  /** Told of every step of it. */
  readonly at?: (step: Step, self: Mortal) => void;
  readonly limits?: Partial<EngineLimits>;
  /** Its own way to the store that all share. */
  readonly store?: Store;
}

interface Place {
  readonly clock: VirtualClock;
  readonly store: WatchedStore;
  readonly ledger: Ledger;
  /** A coordinator that has started. */
  readonly start: (options?: StartOptions) => Promise<Mortal>;
}

function place(): Place {
  const clock = new VirtualClock();
  const store = new WatchedStore(memoryStore({ nowMs: () => 1_000_000 + clock.monotonicMs() }));
  const ledger = new Ledger(clock);
  return {
    clock,
    store,
    ledger,
    async start({ at, ...own } = {}) {
      const options = { store, clock, caller: ledger, ...own };
      const mortal = mortalEngine(
        { ...options, random: { next: () => 0.999 }, ids: { gid: () => gid('generated') } },
        at,
      );
      await clock.until(mortal.engine.start());
      return mortal;
    },
  };
}

/** Everything asked of it arrives; once it is cut, no answer comes back. */
function oneWay(store: Store): Store & { readonly cut: () => void } {
  let isCut = false;
  const answer = async <T>(asked: Promise<T>): Promise<T> => {
    const reply = await asked;
    if (isCut) throw new SettleError('unavailable', 'the answer was lost');
    return reply;
  };
  return {
    cut: () => void (isCut = true),
    commit: (batch) => answer(store.commit(batch)),
    load: (which) => answer(store.load(which)),
    list: (query) => answer(store.list(query)),
    join: (...asked) => answer(store.join(...asked)),
    renew: (...asked) => answer(store.renew(...asked)),
    leave: (epoch) => answer(store.leave(epoch)),
    claim: (epoch, limit) => answer(store.claim(epoch, limit)),
    prune: (policy) => answer(store.prune(policy)),
    close: () => answer(store.close()),
  };
}

describe('a crash at the end', () => {
  // covers A14
  it('what ended before a crash is pruned after it, and nobody is called', async () => {
    const { clock, store, ledger, start } = place();
    const first = await start();
    for (const name of ['one', 'two']) {
      await clock.until(first.engine.submit({ gid: gid(name), definition: sagaOf('a'), waitMs: 1_000 }));
    }
    first.crash();
    await clock.advance(20_000);
    const calls = ledger.calls.length;
    await start({ limits: { retentionMs: hourMs } });
    await clock.advance(hourMs / 2);
    expect(await store.load(gid('one'))).toMatchObject({ status: 'committed' });
    await clock.advance(hourMs / 2 + 5_000);
    expect(await Promise.all(['one', 'two'].map((name) => store.load(gid(name))))).toEqual([
      undefined,
      undefined,
    ]);
    expect(ledger.calls.length).toBe(calls);
  });

  // covers A16
  it('a TCC whose commit was not durable when the coordinator died is cancelled, and nothing is confirmed', async () => {
    const { clock, ledger, start } = place();
    let deciding = false;
    const first = await start({
      at(step, self) {
        if (deciding && step === 'before commit') self.crash();
      },
    });
    const definition: Definition = { ...tccOf('a', 'b', 'c'), decide: 'initiator', timeoutMs: 30_000 };
    await clock.until(first.engine.submit({ gid: gid('g'), definition }));
    await clock.advance(100);
    deciding = true;
    let answered = false;
    void first.engine.commit(gid('g')).then(() => (answered = true));
    await clock.advance(1_000);
    const second = await start();
    await clock.advance(60_000);
    expect(answered).toBe(false);
    expect((await clock.until(second.engine.get(gid('g')))).status).toBe('aborted');
    expect(ledger.of('g')).toEqual({ a: 'undone', b: 'undone', c: 'undone' });
    expect(ledger.calls.map(({ op }) => op)).not.toContain('confirm');
    expect(ledger.violations).toEqual([]);
  });
});

describe('a coordinator that comes back after the deadline', () => {
  it.each([
    ['a saga', { ...sagaOf('a', 'b', 'c'), timeoutMs: 30_000 }],
    ['a TCC', { ...tccOf('a', 'b', 'c'), timeoutMs: 30_000 }],
  ])('turns %s back at once, and takes no further step', async (_, definition) => {
    const { clock, ledger, start } = place();
    ledger.fate = ({ branch }) => (branch === 'b' ? 'ongoing' : 'done');
    const first = await start();
    await clock.until(first.engine.submit({ gid: gid('g'), definition }));
    await clock.advance(10_000);
    first.crash();
    await clock.advance(50_000);
    ledger.calls.splice(0);
    ledger.fate = () => 'done';
    const second = await start();
    await clock.advance(1_000);
    expect((await clock.until(second.engine.get(gid('g')))).status).toBe('aborted');
    expect(ledger.calls.map(({ op }) => op).filter((op) => op === 'action' || op === 'try')).toEqual([]);
    expect(ledger.violations).toEqual([]);
  });
});

describe('a long partition', () => {
  // covers B8
  it('a participant that is away for an hour holds up nobody else, and what waits for it settles soon after', async () => {
    const { clock, ledger, start } = place();
    const { engine } = await start();
    let away = true;
    ledger.fate = ({ branch }) => (branch === 'far' && away ? 'lost' : 'done');
    const far = ['f-1', 'f-2', 'f-3'];
    for (const name of far) {
      await clock.until(engine.submit({ gid: gid(name), definition: sagaOf('near', 'far') }));
    }
    for (let n = 0; n < 60; n++) {
      const near = { gid: gid(`n-${n}`), definition: sagaOf('near', 'other'), waitMs: 100 };
      expect((await clock.until(engine.submit(near))).status).toBe('committed');
      await clock.advance(hourMs / 60);
    }
    const asked = ledger.calls.filter(({ branch }) => branch === 'far').length;
    // One after the other at an open circuit, each call 10 s long after a pause of up to 30 s.
    expect(asked).toBeGreaterThan(90);
    expect(asked).toBeLessThan(360);
    away = false;
    await clock.advance(45_000);
    const statuses = await Promise.all(far.map((name) => clock.until(engine.get(gid(name)))));
    expect(statuses.map(({ status, stuck }) => [status, stuck])).toEqual(far.map(() => ['committed', false]));
  });

  // covers B11
  it('a coordinator that reaches the store but hears nothing from it is taken over from', async () => {
    const { clock, store, ledger, start } = place();
    const way = oneWay(store);
    const deaf = await start({ store: way });
    const other = await start();
    ledger.fate = () => 'ongoing';
    await clock.until(deaf.engine.submit({ gid: gid('g'), definition: sagaOf('a') }));
    await clock.advance(100);
    way.cut();
    // As long as its last lease, it may still ask.
    await clock.advance(6_000);
    ledger.fate = () => 'done';
    await clock.advance(4_000);
    expect((await clock.until(other.engine.get(gid('g')))).status).toBe('committed');
  });
});

describe('a large transaction', () => {
  // covers C18
  it('of 100 branches no more than the limit are called at once, and a slow one holds up neither them nor other transactions', async () => {
    const world = await engineWorld({ limits: { callsPerDestinationMax: 20 } });
    let underWay = 0;
    let most = 0;
    const names = Array.from({ length: 100 }, (_, n) => `b${n}`);
    for (const name of names) {
      world.participants.on(`${name}/try`, async () => {
        most = Math.max(most, ++underWay);
        if (name === 'b7') return silence();
        await world.clock.sleep(50);
        underWay--;
        return done();
      });
    }
    await world.clock.until(world.engine.submit({ gid: gid('large'), definition: tccOf(...names) }));
    await world.clock.advance(10);
    const small = { gid: gid('small'), definition: sagaOf('a', 'b'), waitMs: 2_000 };
    expect((await world.clock.until(world.engine.submit(small))).status).toBe('committed');
    await world.clock.advance(1_000);
    const { branches } = await world.clock.until(world.engine.get(gid('large')));
    expect(branches.filter(({ status }) => status !== 'done').map(({ branch }) => branch)).toEqual(['b7']);
    expect(most).toBe(20);
  });

  // covers C19
  it('one participant with two branches of a transaction has both effects', async () => {
    const { clock, ledger, start } = place();
    const { engine } = await start();
    ledger.fate = (_, nth) => (nth === 1 ? 'unanswered' : 'done');
    const same = { address: 'bank/move' };
    const steps = ['debit', 'credit'].map((name) => ({ name, action: same, compensation: same }));
    const branches = ['debit', 'credit'].map((name) => ({
      ...tccBranch(name),
      try: same,
      confirm: same,
      cancel: same,
    }));
    const transfers: readonly (readonly [string, Definition])[] = [
      ['s', { pattern: 'saga', name: 'transfer', steps }],
      ['t', { pattern: 'tcc', name: 'transfer', decide: 'when-all-tried', branches }],
    ];
    for (const [name, definition] of transfers) {
      expect((await clock.until(engine.submit({ gid: gid(name), definition, waitMs: 30_000 }))).status).toBe(
        'committed',
      );
    }
    expect(ledger.of('s')).toEqual({ debit: 'made', credit: 'made' });
    expect(ledger.of('t')).toEqual({ debit: 'confirmed', credit: 'confirmed' });
    expect(ledger.violations).toEqual([]);
  });
});
