// What others do wrong ends no relay: who listens, publishers, sources of wake-ups, a database that hangs.
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ids, messages, RelayWorld } from '../testing/relay-world.ts';
import type { Publisher } from './publisher.ts';

let world = new RelayWorld();
beforeEach(() => {
  world = new RelayWorld();
});
afterEach(() => world.end());

describe('who listens', () => {
  it.each([
    [
      'throws',
      () => {
        throw new Error('the listener broke');
      },
    ],
    ['rejects', () => Promise.reject(new Error('the listener broke'))],
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
