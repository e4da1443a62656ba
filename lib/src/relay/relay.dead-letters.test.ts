// Keys that wait for a dead letter: whatever happens beside them, nothing overtakes it.
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { messages, RelayWorld } from '../testing/relay-world.ts';

let world = new RelayWorld();
beforeEach(() => {
  world = new RelayWorld();
});
afterEach(() => world.end());

const poisonous = (id: string) => {
  const test = world.broker();
  test.says = (message) => (message.id === id ? 'poison' : undefined);
  return test;
};

describe('behind a dead letter that blocks its key', () => {
  it('all waits although somebody looked for dead letters while it was being written down', async () => {
    const { clock, outbox, published } = world;
    const store = { ...outbox };
    const made = world.relay(poisonous('a0'), { store, onDead: 'block-key' });
    await clock.until(made.start());
    await clock.advance(4_900);
    store.settle = async (settlements) => {
      await clock.sleep(500);
      return await outbox.settle(settlements);
    };
    outbox.append(...messages(3, { key: 'a' }));
    made.wake();
    await clock.advance(30_000);
    expect(published).toEqual([]);
  });

  it('all waits although the lane has a new relay, which does not yet know of it', async () => {
    const { clock, outbox, published } = world;
    const first = world.relay(poisonous('a0'), { onDead: 'block-key' });
    outbox.append(...messages(3, { key: 'a' }));
    await clock.until(first.start());
    await clock.advance(1_000);
    await clock.until(first.stop());
    const store = { ...outbox };
    store.blockedKeys = async (lanes) => {
      await clock.sleep(1_000);
      return await outbox.blockedKeys(lanes);
    };
    const second = world.relay(world.broker(), { store, onDead: 'block-key' });
    void second.start();
    for (let i = 0; i < 100; i++) {
      second.wake();
      await clock.advance(100);
    }
    expect(published).toEqual([]);
  });

  it('all comes after it, also when another process replays it', async () => {
    const { clock, outbox, published } = world;
    const test = poisonous('a0');
    await clock.until(world.relay(test, { onDead: 'block-key' }).start());
    outbox.append(...messages(3, { key: 'a' }));
    await clock.advance(99_000);
    test.says = () => undefined;
    await outbox.dead.replay({ ids: ['a0'] });
    await clock.advance(10_000);
    expect(published).toEqual(['a0', 'a1', 'a2']);
  });

  it('all of its destination waits where the order is that of all messages', async () => {
    const { clock, outbox, published } = world;
    const test = poisonous('a0');
    outbox.append(...messages(3, { key: 'a' }), ...messages(2, { key: 'b' }));
    outbox.append(...messages(1, { key: 'c', address: 'other' }));
    const made = world.relay(test, { onDead: 'block-key', ordering: 'global' });
    await clock.until(made.start());
    await clock.advance(60_000);
    expect(published).toEqual(['c0']);
    test.says = () => undefined;
    await made.dead.replay({});
    await clock.advance(10_000);
    expect(published).toEqual(['c0', 'a0', 'a1', 'a2', 'b0', 'b1']);
  });
});

describe('a message that was begun with', () => {
  it('is counted once, however often the answer to that is lost', async () => {
    const { clock, outbox } = world;
    outbox.append(...messages(1, { key: 'a' }));
    // A relay that vanishes.
    const view = await outbox.heartbeat('dead', 10);
    await outbox.claim('dead', 10, view.free);
    await clock.advance(20);
    let lost = 0;
    const store = { ...outbox };
    store.settle = async (settlements) => {
      const refused = await outbox.settle(settlements);
      if (settlements.some(({ started }) => started.length > 0) && lost++ < 10) {
        throw new Error('the answer was lost');
      }
      return refused;
    };
    const test = world.broker();
    test.latencyMs = 30_000;
    await clock.until(world.relay(test, { store }).start());
    await clock.advance(25_000);
    expect(lost).toBe(11);
    expect(outbox.waiting).toMatchObject([{ id: 'a0', starts: 1 }]);
    await clock.advance(20_000);
    expect(outbox.waiting).toEqual([]);
  });
});
