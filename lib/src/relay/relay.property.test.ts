import { assert, asyncProperty, constantFrom, nat, record } from 'fast-check';
import { expect, it } from 'vitest';
import { VirtualClock } from '../testing/virtual-clock.ts';
import { memoryOutbox } from './memory-store.ts';
import type { Ordering } from './options.ts';
import type { PublishResult } from './publisher.ts';
import { createRelay } from './relay.ts';

/** More of them: SETTLE_RELAY_WORLDS=1000, and --testTimeout. */
const worlds = Number(process.env['SETTLE_RELAY_WORLDS'] ?? 60);

/** A number from 0 to 1 that the seed decides. */
function dice(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (Math.imul(state ^ (state >>> 15), 0x2c1b3c6d) + 0x9e3779b9) >>> 0;
    return ((state ^ (state >>> 13)) >>> 0) / 2 ** 32;
  };
}

interface World {
  readonly seed: number;
  readonly keys: number;
  readonly relays: number;
  readonly ordering: Ordering;
  readonly order: 'stops-at-failure' | 'each-alone';
  /** Of 100. */
  readonly failing: number;
  readonly storeFailing: number;
  readonly latencyMs: number;
  readonly messagesMax: number;
  /** Of 100, that are given up, block their keys, and are replayed by somebody else. */
  readonly poisonous: number;
}

/** Runs relays over a slow and unreliable store and broker, and gives back what the broker took. */
async function run(world: World): Promise<Map<string, string[]>> {
  const { seed, keys, relays, ordering, order, failing, storeFailing, latencyMs, messagesMax, poisonous } =
    world;
  const random = dice(seed);
  const clock = new VirtualClock();
  const outbox = memoryOutbox(() => clock.monotonicMs());
  const taken = new Map<string, string[]>();
  let isWell = false;

  const slow = <A extends unknown[], T>(work: (...args: A) => Promise<T>) => {
    return async (...args: A): Promise<T> => {
      await clock.sleep(random() * latencyMs);
      if (!isWell && random() * 100 < storeFailing / 2) throw new Error('refused');
      const result = await work(...args);
      await clock.sleep(random() * latencyMs);
      if (!isWell && random() * 100 < storeFailing / 2) throw new Error('the answer was lost');
      return result;
    };
  };
  const store = {
    ...outbox,
    read: slow(outbox.read),
    settle: slow(outbox.settle),
    heartbeat: slow(outbox.heartbeat),
    claim: slow(outbox.claim),
    release: slow(outbox.release),
    promote: slow(outbox.promote),
    blockedKeys: slow(outbox.blockedKeys),
  };
  const make = () =>
    createRelay({
      store,
      random,
      ordering,
      onDead: 'block-key',
      limits: { messagesMax, batchMax: 10, leaseTtlMs: 5_000 },
      retry: { attemptsMax: 1_000, baseMs: 10, maxMs: 200 },
      clock: { now: () => clock.monotonicMs(), schedule: (ms, callback) => clock.schedule(ms, callback) },
      publishers: [
        {
          name: 'test',
          order,
          async publish(batch) {
            await clock.sleep(random() * latencyMs);
            if (!isWell && random() * 100 < failing / 5) throw new Error('the batch broke');
            const stopped = new Set<string>();
            return batch.map(({ id, key = '', address }): PublishResult => {
              const line = `${address}/${key}`;
              if (!isWell && address === 'down') return { kind: 'unavailable', reason: 'down' };
              if (!isWell && !stopped.has(line) && random() * 100 < poisonous) {
                stopped.add(line);
                return { kind: 'poison', reason: 'as drawn' };
              }
              const fails = !isWell && random() * 100 < failing;
              if (fails) stopped.add(line);
              if (stopped.has(line))
                return { kind: random() < 0.5 ? 'retriable' : 'unavailable', reason: 'as drawn' };
              const inOrder = { none: id, 'per-key': line, global: address }[ordering];
              const before = taken.get(inOrder);
              if (before === undefined) taken.set(inOrder, [id]);
              else before.push(id);
              return { kind: 'published' };
            });
          },
        },
      ],
    });

  const running = Array.from({ length: relays }, make);
  const started = running.map((relay) => relay.start().catch(() => undefined));
  for (let i = 0; i < 300; i++) {
    const key = `k${Math.floor(random() * keys)}`;
    outbox.append({
      id: `${i}`,
      target: 'test',
      address: ['a', 'a', 'a', 'b', 'down'][Math.floor(random() * 5)] ?? 'a',
      key,
    });
    if (random() < 0.02) await outbox.dead.replay({});
    if (random() < 0.2) await clock.advance(random() * 100);
    if (random() < 0.01) {
      const [leaving] = running.splice(Math.floor(random() * running.length), 1, make());
      void leaving?.stop();
      void running
        .at(-1)
        ?.start()
        .catch(() => undefined);
    }
  }
  await clock.advance(20_000);
  isWell = true;
  for (const relay of running) started.push(relay.start().catch(() => undefined));
  const left = async (): Promise<number> => {
    await outbox.dead.replay({});
    const { pending, delayed } = await outbox.stats();
    return pending + delayed;
  };
  for (let s = 0; s < 100 && (await left()) > 0; s++) await clock.advance(10_000);
  expect(await left()).toBe(0);
  await clock.until(Promise.all([...started, ...running.map((relay) => relay.stop())]));
  return taken;
}

it('whatever fails and however slow all is: every message is published, and in the order that is asked for', async () => {
  await assert(
    asyncProperty(
      record({
        seed: nat(),
        keys: constantFrom(1, 2, 5, 100),
        relays: constantFrom(1, 2, 3),
        ordering: constantFrom<Ordering>('per-key', 'per-key', 'none', 'global'),
        order: constantFrom('stops-at-failure' as const, 'each-alone' as const),
        failing: constantFrom(0, 5, 30),
        storeFailing: constantFrom(0, 0, 10),
        latencyMs: constantFrom(1, 20, 100),
        messagesMax: constantFrom(10, 40, 2_000),
        poisonous: constantFrom(0, 0, 5),
      }),
      async (world) => {
        const taken = await run(world);
        const all = new Set([...taken.values()].flat());
        expect(all.size).toBe(300);
        for (const ids of taken.values()) {
          const firsts = [...new Set(ids)].map(Number);
          expect(firsts).toEqual(firsts.toSorted((a, b) => a - b));
        }
      },
    ),
    { numRuns: worlds },
  );
});
