// What others do wrong ends no relay: who listens, publishers, sources of wake-ups, a database that hangs.
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ids, messages, RelayWorld } from '../testing/relay-world.ts';
import type { Publisher } from './publisher.ts';

let world = new RelayWorld();
beforeEach(() => {
  world = new RelayWorld();
});
afterEach(() => world.end());

const hang = (): Promise<never> => new Promise(() => undefined);
const throws = (): never => {
  throw new Error('at once');
};
const rejects = (): unknown => Promise.reject(new Error('later'));

describe('who listens', () => {
  it.each([
    ['throws', throws],
    ['rejects', rejects],
  ])('and %s stops no message', async (_, onEvent) => {
    const { clock, outbox, published } = world;
    const test = world.broker();
    test.says = ({ id, attempt }) => (id === 'k1' && attempt < 3 ? 'retriable' : undefined);
    outbox.append(...messages(5, { key: 'k' }));
    await clock.until(world.relay(test, { onEvent }).start());
    await clock.advance(5_000);
    expect(published).toEqual(ids(5, 'k'));
  });
});

describe('a publisher that breaks its port', () => {
  const wrong: readonly [string, (count: number) => unknown][] = [
    ['nothing', () => undefined],
    ['too few results', () => []],
    ['no result for a message', (count) => Array.from({ length: count })],
    ['a kind that is not known', (count) => Array.from({ length: count }, () => ({ kind: 'ok' }))],
    ['no reason', (count) => Array.from({ length: count }, () => ({ kind: 'retriable' }))],
    [
      'a reason that is no text',
      (count) => Array.from({ length: count }, () => ({ kind: 'retriable', reason: 5 })),
    ],
  ];

  it.each(wrong)('with %s is told of, and gets its messages again', async (_, answer) => {
    const { clock, outbox, published, events } = world;
    const test = world.broker();
    let isBroken = true;
    const publisher = {
      ...test,
      publish: async (...given: Parameters<Publisher['publish']>) =>
        isBroken ? answer(given[0].length) : await test.publish(...given),
    };
    outbox.append(...messages(5, { key: 'k' }));
    // @ts-expect-error a publisher in JavaScript, say
    await clock.until(world.relay(publisher, { retry: { maxMs: 1_000 } }).start());
    await clock.advance(2_000);
    isBroken = false;
    await clock.advance(5_000);
    expect(published).toEqual(ids(5, 'k'));
    expect(events).toContainEqual(expect.objectContaining({ kind: 'warning', code: 'publisher_broken' }));
  });

  it('by throwing at once is tried again', async () => {
    const { clock, outbox, published } = world;
    const test = world.broker();
    let isBroken = true;
    const publish: Publisher['publish'] = (batch, signal) => {
      if (isBroken) throw new Error('at once');
      return test.publish(batch, signal);
    };
    outbox.append(...messages(5, { key: 'k' }));
    await clock.until(world.relay({ ...test, publish }).start());
    await clock.advance(2_000);
    isBroken = false;
    await clock.advance(60_000);
    expect(published).toEqual(ids(5, 'k'));
  });

  it.each([Number.NaN, -1, Number.POSITIVE_INFINITY, 2 ** 40])(
    'with the wish to be left alone for %d ms is neither asked all the time nor left for ever',
    async (retryAfterMs) => {
      const { clock, outbox, published } = world;
      const test = world.broker();
      let calls = 0;
      const publish: Publisher['publish'] = async (batch, signal) => {
        calls++;
        if (clock.monotonicMs() >= 60_000) return await test.publish(batch, signal);
        return batch.map(() => ({ kind: 'unavailable', reason: 'busy', retryAfterMs }));
      };
      outbox.append(...messages(5, { key: 'k' }));
      const limits = { leaseTtlMs: 2_000_000_000, pollMinMs: 1_000_000, pollMaxMs: 1_000_000 };
      await clock.until(world.relay({ ...test, publish }, { limits }).start());
      await clock.advance(60_000);
      expect(calls).toBeLessThan(20);
      expect(published).toEqual([]);
    },
  );
});

describe('a source of wake-ups', () => {
  it('that throws at once is told of, and the relay runs', async () => {
    const { clock, outbox, published, events } = world;
    await clock.until(world.relay(world.broker(), { wake: [{ name: 'broken', start: throws }] }).start());
    outbox.append(...messages(1));
    await clock.advance(2_000);
    expect(published).toEqual(['m0']);
    expect(events).toContainEqual(expect.objectContaining({ kind: 'warning', code: 'wake' }));
  });
});

describe('a database that never answers', () => {
  it.each(['read', 'settle', 'promote', 'heartbeat', 'claim', 'release', 'blockedKeys'] as const)(
    'one call of %s, as over a connection that is gone, holds up nothing for ever',
    async (method) => {
      const { clock, outbox, published } = world;
      const first = world.relay(world.broker());
      await clock.until(first.start());
      const store = { ...outbox };
      let hangs = 0;
      const hangAndCount = (): Promise<never> => {
        hangs++;
        return hang();
      };
      // All of what is called while it hangs, and nothing after.
      Object.assign(store, { [method]: hangAndCount });
      const second = world.relay(world.broker(), { store, onDead: 'block-key', name: 'second' });
      void second.start().catch(() => undefined);
      const third = world.relay(world.broker());
      await clock.advance(4_000);
      await clock.until(third.start());
      for (let i = 0; i < 20; i++) {
        outbox.append(...messages(10, { key: `k${i}/` }));
        await clock.advance(500);
      }
      Object.assign(store, { [method]: outbox[method] });
      await clock.until(Promise.all([first.stop(), third.stop()]));
      await clock.advance(1_000);
      void second.start().catch(() => undefined);
      await clock.advance(120_000);
      expect(hangs).toBeGreaterThan(0);
      expect(outbox.waiting).toEqual([]);
      expect(new Set(published).size).toBe(200);
    },
  );

  it('does not keep a relay from stopping in its time', async () => {
    const { clock, outbox } = world;
    const store = { ...outbox };
    const made = world.relay(world.broker(), { store });
    await clock.until(made.start());
    Object.assign(store, { read: hang, settle: hang, heartbeat: hang, leave: hang });
    outbox.append(...messages(5));
    await clock.advance(5_000);
    await clock.until(made.stop({ timeoutMs: 1_000 }), 8_000);
    await clock.advance(60_000);
    expect(clock.pending).toBe(0);
  });
});

describe('payloads', () => {
  it('of a mebibyte each do not fill the memory while their destination is slow', async () => {
    const { clock, outbox } = world;
    const payload = 'x'.repeat(2 ** 20);
    const bytesMax = 32 * 2 ** 20;
    outbox.append(...messages(500, { payload }));
    const reads: number[] = [];
    const store = { ...outbox };
    store.read = async (requests) => {
      const rows = await outbox.read(requests);
      reads.push(rows.length);
      return rows;
    };
    const test = world.broker();
    test.latencyMs = 1_000;
    const made = world.relay(test, { store, limits: { bytesMax, batchMax: 4 } });
    await clock.until(made.start());
    await clock.advance(20_000);
    // Of the first one nobody knows how large they are; the later ones show also what is in memory.
    expect(reads[0]).toBeLessThanOrEqual(256);
    expect(Math.max(...reads.slice(1))).toBeLessThanOrEqual(100);
    await clock.advance(400_000);
    expect(outbox.waiting).toEqual([]);
  });
});

describe('a lane that is given back', () => {
  it('takes along how often its messages have failed, also where that is not written down yet', async () => {
    const { clock, outbox } = world;
    const test = world.broker({ order: 'each-alone' });
    test.latencyMs = 3_200;
    test.says = () => 'retriable';
    for (const key of ids(64)) outbox.append(...messages(1, { key }));
    // What is written down of this one keeps the others waiting for the next statement.
    const other = world.broker({ name: 'other' });
    other.latencyMs = 3_100;
    outbox.append({ id: 'o', target: 'other', address: 'a' });
    const store = { ...outbox };
    store.settle = async (settlements) => {
      await clock.sleep(500);
      return await outbox.settle(settlements);
    };
    await clock.until(world.relay([test, other], { store, retry: { baseMs: 20_000 } }).start());
    // Half of the lanes are given back at the next heartbeat.
    await outbox.heartbeat('another', 60_000);
    await clock.advance(6_000);
    expect(world.events).toContainEqual(expect.objectContaining({ kind: 'lanes', lost: expect.any(Number) }));
    expect(outbox.waiting.filter(({ attempts }) => attempts !== 1)).toEqual([]);
  });
});

describe('rounds', () => {
  it('that are asked for at the same time publish each message once', async () => {
    const { clock, outbox, published } = world;
    outbox.append(...messages(100, { key: 'k' }));
    const test = world.broker();
    test.latencyMs = 100;
    const made = world.relay(test);
    const rounds = [made.runOnce()];
    await clock.advance(20);
    rounds.push(made.runOnce());
    const counts = await clock.until(Promise.all(rounds));
    expect(published).toEqual(ids(100, 'k'));
    expect(counts.map((count) => count.published)).toEqual([100, 0]);
  });
});

describe('a destination that was down', () => {
  it('is forgotten when its messages have long been the matter of another relay', async () => {
    const { clock, outbox, published } = world;
    const test = world.broker();
    test.says = () => 'unavailable';
    outbox.append(...messages(5));
    const made = world.relay(test);
    await clock.until(made.start());
    await clock.advance(5_000);
    const view = await outbox.heartbeat(made.name, -1);
    const claimed = await outbox.claim('other', 60_000, view.held);
    const empty = { started: [], failed: [], dead: [] };
    const seqs = outbox.waiting.map(({ seq }) => seq);
    await outbox.settle(claimed.map((lane) => ({ ...lane, ...empty, done: seqs })));
    await clock.advance(300_000);
    test.says = () => undefined;
    const before = test.calls.length;
    outbox.append(...messages(10));
    await clock.advance(2_000);
    // It would be tried with one message first.
    expect(test.calls.slice(before).map((call) => call.length)).toEqual([10]);
    expect(published).toHaveLength(10);
  });

  it('is remembered while its messages wait', async () => {
    const { clock, outbox } = world;
    const test = world.broker();
    test.says = () => 'unavailable';
    outbox.append(...messages(5));
    await clock.until(world.relay(test).start());
    await clock.advance(300_000);
    expect(test.calls.slice(1).every((call) => call.length === 1)).toBe(true);
    // The longest pause is a minute.
    expect(test.calls.length).toBeLessThan(30);
  });
});

describe('destinations that hang', () => {
  it('leave calls for the others', async () => {
    const { clock, outbox, published } = world;
    const test = world.broker({ order: 'each-alone' });
    test.says = ({ address }) => (address.startsWith('hangs') ? 'hang' : undefined);
    for (const address of ids(20, 'hangs')) outbox.append(...messages(3, { address, key: address }));
    await clock.until(world.relay(test).start());
    await clock.advance(300_000);
    let worst = 0;
    for (let i = 0; i < 20; i++) {
      const startedMs = clock.monotonicMs();
      outbox.append({ id: `well${i}`, target: 'test', address: 'well', key: 'well' });
      while (!published.includes(`well${i}`) && clock.monotonicMs() - startedMs < 600_000)
        await clock.advance(100);
      worst = Math.max(worst, clock.monotonicMs() - startedMs);
      await clock.advance(7_000);
    }
    expect(worst).toBeLessThan(2_000);
  });
});
