import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ids, messages, RelayWorld } from '../testing/relay-world.ts';
import type { VirtualClock } from '../testing/virtual-clock.ts';
import { plant } from '../util/planted-bug.ts';
import type { RelayEvent } from './events.ts';
import type { MemoryOutbox } from './memory-store.ts';
import { createRelay } from './relay.ts';
import type { Wake, WakeSource } from './wake.ts';

let world = new RelayWorld();
let clock: VirtualClock;
let outbox: MemoryOutbox;
let events: RelayEvent[];
let published: string[];

beforeEach(() => {
  world = new RelayWorld();
  ({ clock, outbox, events, published } = world);
});
afterEach(async () => {
  plant();
  await world.end();
});

const broker: RelayWorld['broker'] = (...given) => world.broker(...given);
const relay: RelayWorld['relay'] = (...given) => world.relay(...given);

describe('publishing', () => {
  it('takes what was there and what comes, each once, and leaves nothing behind', async () => {
    outbox.append(...messages(250, { key: 'k' }));
    await clock.until(relay(broker()).start());
    await clock.advance(100);
    outbox.append({ id: 'later', target: 'test', address: 'a', key: 'k' });
    await clock.advance(2_000);
    expect(published).toEqual([...ids(250, 'k'), 'later']);
    expect(outbox.waiting).toEqual([]);
  });

  it('publishes 5,000 of one key in order, in batches of at most 100', async () => {
    const test = broker();
    outbox.append(...messages(5_000, { key: 'k' }));
    await clock.until(relay(test).start());
    await clock.advance(2_000);
    expect(published).toEqual(ids(5_000, 'k'));
    expect(Math.max(...test.calls.map((call) => call.length))).toBe(100);
  });

  it('looks at once when it is woken', async () => {
    const made = relay(broker(), { limits: { pollMinMs: 100_000, pollMaxMs: 100_000 } });
    await clock.until(made.start());
    outbox.append(...messages(1));
    made.wake();
    await clock.advance(5);
    expect(published).toEqual(['m0']);
  });

  it('gives a publisher that answers for each alone one message of a key at a time', async () => {
    const test = broker({ order: 'each-alone' });
    outbox.append(...messages(20, { key: 'a' }), ...messages(20, { key: 'b' }));
    await clock.until(relay(test).start());
    await clock.advance(1_000);
    expect(test.calls.every((call) => new Set(call.map((id) => id[0])).size === call.length)).toBe(true);
    expect(published.filter((id) => id.startsWith('a'))).toEqual(ids(20, 'a'));
  });

  it('says what reached the broker twice as published', async () => {
    const test = broker();
    outbox.append(...messages(3));
    test.publish = (batch) => Promise.resolve(batch.map(() => ({ kind: 'published', duplicate: true })));
    await clock.until(relay(test).start());
    await clock.advance(100);
    expect(events.filter(({ kind }) => kind === 'batch')).toEqual([
      expect.objectContaining({ published: 3, duplicates: 3 }),
    ]);
    expect(outbox.waiting).toEqual([]);
  });

  it('keeps messages for whose target it has no publisher, and says so', async () => {
    outbox.append({ id: 'new', target: 'other', address: 'a' }, ...messages(1));
    await clock.until(relay(broker()).start());
    await clock.advance(5_000);
    expect(published).toEqual(['m0']);
    expect(outbox.waiting.map(({ id }) => id)).toEqual(['new']);
    expect(events).toContainEqual(expect.objectContaining({ kind: 'warning', code: 'no_publisher' }));
  });
});

describe('what commits late', () => {
  it('is found although a later number was read before it', async () => {
    const made = relay(broker(), { limits: { pollMinMs: 1_000, pollMaxMs: 1_000 } });
    await clock.until(made.start());
    const commit = outbox.begin({ id: 'late', target: 'test', address: 'a', key: 'k' });
    outbox.append({ id: 'early', target: 'test', address: 'a', key: 'k' });
    made.wake();
    await clock.advance(20);
    commit();
    made.wake();
    await clock.advance(15);
    expect(published).toEqual(['early', 'late']);
  });

  it('comes before what follows it, however long before the next read it was numbered', async () => {
    await clock.until(relay(broker(), { limits: { pollMinMs: 700, pollMaxMs: 700 } }).start());
    await clock.advance(50);
    const of = { target: 'test', address: 'a', key: 'k' };
    const commit = outbox.begin({ id: 'late', ...of });
    outbox.append({ id: 'other', ...of, address: 'b' });
    await clock.advance(1_400);
    commit();
    outbox.append({ id: 'next', ...of });
    await clock.advance(700);
    expect(published).toEqual(['other', 'late', 'next']);
  });

  it('is found after minutes, too', async () => {
    const made = relay(broker());
    await clock.until(made.start());
    const commit = outbox.begin({ id: 'late', target: 'test', address: 'a', key: 'k' });
    for (let i = 0; i < 60; i++) {
      outbox.append({ id: `${i}`, target: 'test', address: 'a', key: 'k' });
      await clock.advance(5_000);
    }
    commit();
    await clock.advance(31_000);
    expect(published.at(-1)).toBe('late');
  });

  it('would be lost by a cursor that only goes forward', async () => {
    plant('cursor-by-sequence');
    const made = relay(broker());
    await clock.until(made.start());
    const commit = outbox.begin({ id: 'late', target: 'test', address: 'a', key: 'k' });
    outbox.append({ id: 'early', target: 'test', address: 'a', key: 'k' });
    await clock.advance(2_000);
    commit();
    await clock.advance(100_000);
    expect(published).toEqual(['early']);
  });
});

describe('a message that fails', () => {
  it('holds up its own key, and no other', async () => {
    const test = broker();
    test.says = ({ id, attempt }) => (id === 'a3' && attempt < 4 ? 'retriable' : undefined);
    outbox.append(...messages(10, { key: 'a' }), ...messages(10, { key: 'b' }));
    await clock.until(relay(test).start());
    await clock.advance(50);
    expect(published.filter((id) => id.startsWith('b'))).toEqual(ids(10, 'b'));
    expect(published.filter((id) => id.startsWith('a'))).toEqual(ids(3, 'a'));
    await clock.advance(5_000);
    expect(published.filter((id) => id.startsWith('a'))).toEqual(ids(10, 'a'));
  });

  // covers E9
  it('becomes a dead letter when it has had all its attempts, and its key goes on', async () => {
    const test = broker();
    test.says = ({ id }) => (id === 'a0' ? 'retriable' : undefined);
    outbox.append(...messages(3, { key: 'a' }));
    await clock.until(relay(test, { retry: { attemptsMax: 3, baseMs: 10 } }).start());
    await clock.advance(1_000);
    expect(published).toEqual(['a1', 'a2']);
    const { items } = await outbox.dead.list({}, { limit: 10 });
    expect(items).toMatchObject([{ id: 'a0', cause: 'attempts', attempts: 3, reason: 'as told' }]);
  });

  // covers E2
  it('that is poison is a dead letter at once', async () => {
    const test = broker();
    test.says = ({ id }) => (id === 'a0' ? 'poison' : undefined);
    outbox.append(...messages(3, { key: 'a' }));
    await clock.until(relay(test).start());
    await clock.advance(100);
    expect(published).toEqual(['a1', 'a2']);
    expect((await outbox.dead.list({}, { limit: 10 })).items).toMatchObject([{ id: 'a0', cause: 'poison' }]);
  });

  it('keeps its key waiting as a dead letter where that is wanted, until it is replayed', async () => {
    const test = broker();
    test.says = ({ id }) => (id === 'a0' ? 'poison' : undefined);
    outbox.append(...messages(3, { key: 'a' }), ...messages(1, { key: 'b' }));
    const made = relay(test, { onDead: 'block-key' });
    await clock.until(made.start());
    await clock.advance(20_000);
    expect(published).toEqual(['b0']);
    test.says = () => undefined;
    expect(await made.dead.replay({ ids: ['a0'] })).toBe(1);
    await clock.advance(6_000);
    expect(published).toEqual(['b0', 'a0', 'a1', 'a2']);
  });

  it('comes later without order, and holds up nothing', async () => {
    const test = broker({ order: 'each-alone' });
    test.says = ({ id, attempt }) => (id === 'a0' && attempt < 3 ? 'retriable' : undefined);
    outbox.append(...messages(3, { key: 'a' }));
    await clock.until(relay(test, { ordering: 'none' }).start());
    await clock.advance(10);
    expect(published).toEqual(['a1', 'a2']);
    await clock.advance(5_000);
    expect(published).toEqual(['a1', 'a2', 'a0']);
  });

  // covers E9
  it('with its whole batch harms no neighbour, and is the one that is given up', async () => {
    const test = broker();
    test.says = ({ id }) => (id === 'x0' ? 'throw' : undefined);
    outbox.append(...messages(1, { key: 'x' }));
    for (const key of ['a', 'b', 'c']) outbox.append(...messages(30, { key }));
    await clock.until(relay(test, { retry: { attemptsMax: 3, baseMs: 10, maxMs: 100 } }).start());
    await clock.advance(10_000);
    // What others get tells that the destination is not at fault.
    for (let i = 30; i < 40; i++) {
      for (const key of ['a', 'b', 'c'])
        outbox.append({ id: `${key}${i}`, target: 'test', address: 'a', key });
      await clock.advance(1_000);
    }
    expect(published.toSorted()).toEqual([...ids(40, 'a'), ...ids(40, 'b'), ...ids(40, 'c')].toSorted());
    expect((await outbox.dead.list({}, { limit: 10 })).items).toMatchObject([
      { id: 'x0', cause: 'attempts' },
    ]);
  });

  it('is not overtaken although 5,000 of its key stand behind it, and those of others do not wait for them', async () => {
    const test = broker();
    test.says = ({ id, attempt }) => (id === 'a0' && attempt < 5 ? 'retriable' : undefined);
    outbox.append(...messages(5_000, { key: 'a' }), ...messages(5, { key: 'b' }));
    await clock.until(relay(test).start());
    await clock.advance(200);
    expect(published).toEqual(ids(5, 'b'));
    await clock.advance(20_000);
    expect(published.slice(5)).toEqual(ids(5_000, 'a'));
  });
});

describe('a destination', () => {
  // covers E8
  it('that is down costs its messages no attempt, and gets all in order when it is back', async () => {
    const test = broker();
    let isDown = true;
    test.says = () => (isDown ? 'unavailable' : undefined);
    outbox.append(...messages(300, { key: 'a' }));
    await clock.until(relay(test, { retry: { attemptsMax: 2 } }).start());
    await clock.advance(3_600_000);
    expect(published).toEqual([]);
    isDown = false;
    await clock.advance(61_000);
    expect(published).toEqual(ids(300, 'a'));
    expect(events.filter(({ kind }) => kind === 'dead' || kind === 'failed')).toEqual([]);
  });

  it('that throws for an hour buries nothing', async () => {
    const test = broker();
    let isDown = true;
    test.says = () => (isDown ? 'throw' : undefined);
    outbox.append(...messages(50), ...messages(50, { key: 'a' }));
    await clock.until(relay(test, { retry: { attemptsMax: 2 } }).start());
    await clock.advance(3_600_000);
    isDown = false;
    await clock.advance(120_000);
    expect(published.filter((id) => id.startsWith('a'))).toEqual(ids(50, 'a'));
    expect(published).toHaveLength(100);
  });

  // covers E1
  it('that never answers is aborted, and tried again', async () => {
    const test = broker();
    let isDown = true;
    test.says = () => (isDown ? 'hang' : undefined);
    outbox.append(...messages(5, { key: 'a' }));
    await clock.until(relay(test).start());
    await clock.advance(100_000);
    isDown = false;
    await clock.advance(61_000);
    expect(published).toEqual(ids(5, 'a'));
  });

  it('that is down holds up no other one', async () => {
    const test = broker();
    test.says = ({ address }) => (address === 'down' ? 'unavailable' : undefined);
    outbox.append(...messages(5_000, { address: 'down', key: 'a' }), ...messages(50, { key: 'b' }));
    await clock.until(relay(test).start());
    await clock.advance(1_000);
    expect(published).toEqual(ids(50, 'b'));
  });

  it('that is slow holds up no other one', async () => {
    const slow = broker({ name: 'slow' });
    slow.latencyMs = 10_000;
    outbox.append(...messages(5_000, { target: 'slow', key: 'a' }), ...messages(50, { key: 'b' }));
    await clock.until(relay([slow, broker()]).start());
    await clock.advance(2_000);
    expect(published.filter((id) => id.startsWith('b'))).toEqual(ids(50, 'b'));
  });
});

describe('several relays', () => {
  it('share the lanes evenly, and take over those of one that dies', async () => {
    const all = ['a', 'b', 'c'].map((name) => relay(broker(), { name }));
    for (const one of all) await clock.until(one.start());
    await clock.advance(15_000);
    const held = await Promise.all(
      ['a', 'b', 'c'].map(async (name) => (await outbox.heartbeat(name, 10_000)).held.length),
    );
    expect(held.reduce((sum, n) => sum + n)).toBe(64);
    expect(Math.max(...held)).toBeLessThanOrEqual(22);
    await clock.until(all[0]?.stop() ?? Promise.resolve());
    await clock.advance(10_000);
    expect((await outbox.stats()).lanesHeld).toBe(64);
  });

  // covers E5
  it('publish each message once between them, and keep the order of keys when lanes change hands', async () => {
    const test = broker();
    test.latencyMs = 20;
    const keys = ids(20, 'k');
    const first = relay(test);
    await clock.until(first.start());
    for (let i = 0; i < 100; i++) {
      for (const key of keys) outbox.append({ id: `${key}/${i}`, target: 'test', address: 'a', key });
      if (i === 20) await clock.until(relay(test).start());
      if (i === 60) void first.stop();
      await clock.advance(100);
    }
    await clock.advance(30_000);
    expect(new Set(published).size).toBe(2_000);
    expect(published).toHaveLength(2_000);
    for (const key of keys) {
      expect(published.filter((id) => id.startsWith(`${key}/`))).toEqual(ids(100, `${key}/`));
    }
  });

  it('with the order of all messages work one at a time, and the other goes on when it stops', async () => {
    const first = relay(broker(), { ordering: 'global', name: 'first' });
    const second = relay(broker(), { ordering: 'global', name: 'second' });
    await clock.until(first.start());
    await clock.until(second.start());
    for (let i = 0; i < 500; i++)
      outbox.append({ id: `m${i}`, target: 'test', address: 'a', key: `k${i % 70}` });
    await clock.advance(2_000);
    await clock.until(first.stop());
    for (let i = 500; i < 600; i++)
      outbox.append({ id: `m${i}`, target: 'test', address: 'a', key: `k${i % 70}` });
    await clock.advance(20_000);
    expect(published).toEqual(ids(600));
  });
});

describe('a message that takes its relay with it', () => {
  // covers E9
  it('is found alone, becomes a dead letter, and its neighbours are published', async () => {
    outbox.append(...messages(50, { key: 'a' }), { id: 'killer', target: 'test', address: 'a', key: 'k' });
    outbox.append(...messages(50, { key: 'b' }));
    let deaths = 0;
    const life = { isDead: true };
    for (; life.isDead && deaths < 20; deaths++) {
      life.isDead = false;
      const test = broker();
      const publish = test.publish;
      test.publish = (batch, signal) => {
        if (batch.some(({ id }) => id === 'killer')) life.isDead = true;
        return life.isDead ? new Promise(() => undefined) : publish(batch, signal);
      };
      // A process that is dead does nothing any more.
      const guard = <T>(work: () => Promise<T>): Promise<T> =>
        life.isDead ? new Promise(() => undefined) : work();
      createRelay({
        store: {
          ...outbox,
          heartbeat: (...args) => guard(() => outbox.heartbeat(...args)),
          settle: (...args) => guard(() => outbox.settle(...args)),
          leave: (...args) => guard(() => outbox.leave(...args)),
        },
        publishers: [test],
        clock: { now: () => clock.monotonicMs(), schedule: (ms, callback) => clock.schedule(ms, callback) },
        limits: { crashesMax: 3 },
      })
        .start()
        .catch(() => undefined);
      await clock.advance(30_000);
    }
    const { items } = await outbox.dead.list({}, { limit: 10 });
    expect(items).toMatchObject([{ id: 'killer', cause: 'crash' }]);
    expect(published.filter((id) => id.startsWith('a'))).toEqual(ids(50, 'a'));
    expect(published.filter((id) => id.startsWith('b'))).toEqual(ids(50, 'b'));
    expect(deaths).toBeLessThanOrEqual(5);
  });
});

describe('a delay', () => {
  it('keeps a message back until it is over, by the clock of the database', async () => {
    await clock.until(relay(broker()).start());
    outbox.append({ id: 'later', target: 'test', address: 'a', delayMs: 5_000 });
    await clock.advance(4_900);
    expect(published).toEqual([]);
    await clock.advance(1_200);
    expect(published).toEqual(['later']);
  });
});

describe('the end', () => {
  it('of a relay waits for what is under way, and gives the lanes back', async () => {
    const test = broker();
    test.latencyMs = 500;
    outbox.append(...messages(3, { key: 'a' }));
    const made = relay(test);
    await clock.until(made.start());
    await clock.advance(100);
    await clock.until(made.stop());
    expect(published).toEqual(ids(3, 'a'));
    expect(outbox.waiting).toEqual([]);
    expect(await outbox.stats()).toMatchObject({ lanesHeld: 0, relays: 0 });
  });

  it('comes in time although a publisher never answers', async () => {
    const test = broker();
    test.publish = () => new Promise(() => undefined);
    outbox.append(...messages(10, { key: 'a' }));
    const made = relay(test);
    await clock.until(made.start());
    await clock.until(made.stop({ timeoutMs: 1_000 }), 4_000);
    expect(outbox.waiting).toHaveLength(10);
    expect((await outbox.stats()).lanesHeld).toBe(0);
  });

  it('of one round is when nothing is left to do now', async () => {
    const test = broker();
    test.says = ({ id }) => (id === 'm1' ? 'retriable' : id === 'm2' ? 'poison' : undefined);
    outbox.append(...messages(5), { id: 'later', target: 'test', address: 'a', delayMs: 60_000 });
    const made = relay(test);
    expect(await clock.until(made.runOnce())).toEqual({ published: 3, failed: 1, dead: 1 });
    expect(await clock.until(made.runOnce())).toEqual({ published: 0, failed: 0, dead: 0 });
  });
});

describe('a database that fails', () => {
  it('for a while costs time alone', async () => {
    let isDown = false;
    const failing = <A extends unknown[], T>(work: (...args: A) => Promise<T>) => {
      return (...args: A): Promise<T> => (isDown ? Promise.reject(new Error('down')) : work(...args));
    };
    const store = {
      ...outbox,
      read: failing(outbox.read),
      settle: failing(outbox.settle),
      heartbeat: failing(outbox.heartbeat),
      promote: failing(outbox.promote),
    };
    const made = relay(broker(), { store });
    await clock.until(made.start());
    for (let i = 0; i < 40; i++) {
      outbox.append({ id: `k${i}`, target: 'test', address: 'a', key: 'k' });
      isDown = i % 10 > 5;
      await clock.advance(1_000);
    }
    isDown = false;
    await clock.advance(30_000);
    expect(published).toEqual(ids(40, 'k'));
    expect(outbox.waiting).toEqual([]);
  });

  it('for longer than the leases ends publishing until it is back', async () => {
    const store = { ...outbox };
    const test = broker();
    const made = relay(test, { store });
    await clock.until(made.start());
    store.heartbeat = () => new Promise(() => undefined);
    await clock.advance(10_000);
    outbox.append(...messages(5));
    await clock.advance(60_000);
    expect(published).toEqual([]);
    store.heartbeat = outbox.heartbeat;
    await clock.advance(30_000);
    expect(published).toHaveLength(5);
  });
});

describe('a lane that another relay has taken', () => {
  it('is not settled by the one that hangs', async () => {
    outbox.append(...messages(1, { key: 'a' }));
    const test = broker();
    test.latencyMs = 100;
    const made = relay(test);
    await clock.until(made.start());
    await clock.advance(50);
    // Somebody else takes all lanes meanwhile, as after a pause of this process that is longer than its leases.
    const view = await outbox.heartbeat(made.name, -1);
    await outbox.claim('other', 60_000, view.held);
    await clock.advance(1_000);
    expect(outbox.waiting).toHaveLength(1);
    expect(events).toContainEqual(expect.objectContaining({ kind: 'warning', code: 'lease_lost' }));
  });
});

describe('a source of wake-ups', () => {
  it('is answered once all lanes are read after it, and at once by a relay that has none', async () => {
    let wake: Wake | undefined;
    const source: WakeSource = { name: 'test', start: (given) => Promise.resolve(void (wake = given)) };
    const store = { ...outbox, read: outbox.read };
    await clock.until(relay(broker(), { store, wake: [source] }).start());
    await clock.advance(100);
    const held = Promise.withResolvers<void>();
    store.read = (requests) => held.promise.then(() => outbox.read(requests));
    let answered = 0;
    for (let i = 0; i < 3; i++) void wake?.().then(() => answered++);
    await clock.advance(5_000);
    expect(answered).toBe(0);
    held.resolve();
    await clock.advance(5_000);
    expect(answered).toBe(3);

    await clock.until(relay(broker(), { name: 'without', ordering: 'global', wake: [source] }).start());
    await clock.until(Promise.resolve(wake?.()), 10);
  });
});

describe('bad options', () => {
  it.each([
    [{ limits: { batchMax: 0 } }, 'limits.batchMax'],
    [{ limits: { leaseTtlMs: 999 } }, 'leaseTtlMs'],
    [{ publishers: [broker({ batchMax: 0 })] }, 'batchMax of test'],
    [{ publishers: [broker({ batchMax: Number.NaN })] }, 'batchMax of test'],
    [{ limits: { pollMinMs: 10, pollMaxMs: 5 } }, 'pollMinMs'],
    [{ retry: { attemptsMax: 1.5 } }, 'retry.attemptsMax'],
    [{ publishers: [broker(), broker()] }, 'two publishers'],
  ])('%j are refused by name', (options, name) => {
    expect(() => createRelay({ store: outbox, publishers: [], ...options })).toThrow(name);
  });
});
