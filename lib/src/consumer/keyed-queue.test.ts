import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { InstantClock } from '../../../test/consumer/instant-clock.ts';
import { abortGraceMs, KeyedQueue, type KeyedQueueOptions } from './keyed-queue.ts';

interface Item {
  readonly key: string | undefined;
  readonly name: string;
}

/** Work that ends when the test says so. */
class Desk {
  readonly begun: string[] = [];
  readonly signals = new Map<string, AbortSignal>();
  readonly clock: InstantClock = new InstantClock();
  readonly queue: KeyedQueue<Item>;
  readonly #ends = new Map<string, { resolve: () => void; reject: (error: Error) => void }>();

  constructor(options: Partial<KeyedQueueOptions<Item>> = {}) {
    this.queue = new KeyedQueue<Item>({
      keyOf: ({ key }) => key,
      run: ({ name }, signal) => {
        this.begun.push(name);
        this.signals.set(name, signal);
        return new Promise<void>((resolve, reject) => this.#ends.set(name, { resolve, reject }));
      },
      clock: this.clock,
      ...options,
    });
  }

  /** `a1` has the key `a`, `-1` none. */
  push(...names: readonly string[]): void {
    for (const name of names) this.queue.push(itemOf(name));
  }

  async end(name: string): Promise<void> {
    this.#ends.get(name)?.resolve();
    await turn();
  }

  async fail(name: string, error: Error): Promise<void> {
    this.#ends.get(name)?.reject(error);
    await turn();
  }
}

function itemOf(name: string): Item {
  const key = name.slice(0, 1);
  return { key: key === '-' ? undefined : key, name };
}

function namesOf(items: readonly Item[]): readonly string[] {
  return items.map(({ name }) => name);
}

function turn(): Promise<void> {
  return new Promise((resolve) => void setImmediate(resolve));
}

describe('items', () => {
  test('of one key are worked on one after the other, others side by side', async () => {
    const desk = new Desk();
    desk.push('a1', 'a2', 'b1', '-1', '-2');
    expect(desk.begun).toEqual(['a1', 'b1', '-1', '-2']);
    await desk.end('b1');
    expect(desk.begun).toHaveLength(4);
    await desk.end('a1');
    expect(desk.begun).toEqual(['a1', 'b1', '-1', '-2', 'a2']);
  });

  test('are at work up to the concurrency, whatever their keys', async () => {
    const desk = new Desk({ concurrency: 2 });
    desk.push('a1', 'b1', 'c1', '-1');
    expect(desk.begun).toEqual(['a1', 'b1']);
    await desk.end('a1');
    expect(desk.begun).toEqual(['a1', 'b1', 'c1']);
  });

  test('without a key do not wait for each other', () => {
    const desk = new Desk({ concurrency: 3 });
    desk.push('-1', '-2', '-3');
    expect(desk.begun).toEqual(['-1', '-2', '-3']);
  });

  test('begin in the order given, each once, whatever ends when', async () => {
    const names = fc.array(fc.constantFrom('a', 'b', 'c', '-'), { minLength: 1, maxLength: 40 });
    await fc.assert(
      fc.asyncProperty(
        names,
        fc.integer({ min: 1, max: 4 }),
        fc.array(fc.nat()),
        async (keys, many, picks) => {
          const pushed = keys.map((key, n) => `${key}${n}`);
          const atWork = new Set<string>();
          const desk: Desk = new Desk({ concurrency: many, itemsMax: 40 });
          desk.push(...pushed);
          for (let round = 0; round < pushed.length; round++) {
            const open = desk.begun.filter((name) => !atWork.has(name));
            expect(open.length).toBeLessThanOrEqual(many);
            const keyed = open.flatMap((name) => itemOf(name).key ?? []);
            expect(new Set(keyed).size).toBe(keyed.length);
            const ended = open[(picks[round] ?? 0) % open.length];
            if (ended === undefined) break;
            atWork.add(ended);
            await desk.end(ended);
          }
          expect(desk.begun.toSorted()).toEqual(pushed.toSorted());
          for (const key of ['a', 'b', 'c']) {
            const ofKey = (name: string): boolean => name.startsWith(key);
            expect(desk.begun.filter(ofKey)).toEqual(pushed.filter(ofKey));
          }
          expect(desk.queue.size).toBe(0);
        },
      ),
    );
  });
});

describe('room', () => {
  test('is waited for until an item is done', async () => {
    const desk = new Desk({ concurrency: 1, itemsMax: 2 });
    expect(desk.queue.free).toBe(2);
    desk.push('a1', 'a2');
    let has = -1;
    const waiting = desk.queue.room().then((free) => (has = free));
    await turn();
    expect(has).toBe(-1);
    await desk.end('a1');
    await waiting;
    expect(has).toBe(1);
  });

  test('is not overdrawn', () => {
    const desk = new Desk({ concurrency: 1, itemsMax: 2 });
    desk.push('a1', 'b1');
    expect(() => desk.push('c1')).toThrow('limit_exceeded');
  });

  test('is none once the queue is closed, for who waits already, too', async () => {
    const desk = new Desk({ concurrency: 1, itemsMax: 1 });
    desk.push('a1');
    const waiting = desk.queue.room();
    desk.queue.abort();
    expect([await waiting, await desk.queue.room(), desk.queue.free]).toEqual([0, 0, 0]);
    expect(() => desk.push('b1')).toThrow('shutting_down');
  });

  test.each([
    { concurrency: 0 },
    { concurrency: 1.5 },
    { concurrency: Number.NaN },
    { concurrency: 4, itemsMax: 3 },
  ])('has limits that can be kept to, not %j', (options) => {
    expect(() => new Desk(options)).toThrow('config_invalid');
  });
});

describe('what has not begun', () => {
  test('can be taken back, in the order it was pushed, and its key goes on', async () => {
    const desk = new Desk({ concurrency: 1 });
    desk.push('a1', 'b1', 'a2', 'b2', 'a3', 'c1');
    expect(namesOf(desk.queue.withdraw(({ name }) => ['b1', 'a2', 'c1'].includes(name)))).toEqual([
      'b1',
      'a2',
      'c1',
    ]);
    expect(desk.queue.size).toBe(3);
    for (const name of ['a1', 'b2', 'a3']) await desk.end(name);
    expect(desk.begun.toSorted()).toEqual(['a1', 'a3', 'b2']);
    expect(desk.queue.size).toBe(0);
  });

  test('can be taken back by the work before it, so that nothing overtakes', async () => {
    const begun: string[] = [];
    const queue: KeyedQueue<Item> = new KeyedQueue<Item>({
      keyOf: ({ key }) => key,
      run: async ({ key, name }) => {
        begun.push(name);
        await turn();
        queue.withdraw((other) => other.key === key);
      },
      concurrency: 1,
    });
    for (const name of ['a1', 'b1', 'a2', 'a3']) queue.push(itemOf(name));
    for (let n = 0; n < 4; n++) await turn();
    expect([begun, queue.size]).toEqual([['a1', 'b1'], 0]);
    queue.push(itemOf('a4'));
    expect(begun).toEqual(['a1', 'b1', 'a4']);
  });
});

describe('a drain', () => {
  test('waits for those at work, and gives back those that are not', async () => {
    const desk = new Desk({ concurrency: 1 });
    desk.push('a1', 'a2', 'b1');
    const drained = desk.queue.drain(500);
    await desk.end('a1');
    const { waiting, running } = await drained;
    expect([namesOf(waiting), namesOf(running)]).toEqual([['a2', 'b1'], []]);
    expect(desk.begun).toEqual(['a1']);
    expect(desk.signals.get('a1')?.aborted).toBe(false);
    expect(desk.clock.pending).toBe(0);
  });

  test('aborts those that are not done in time, and lets them roll back', async () => {
    const desk = new Desk();
    desk.push('a1', 'b1');
    const drained = desk.queue.drain(500);
    desk.clock.pass(499);
    expect(desk.signals.get('a1')?.aborted).toBe(false);
    desk.clock.pass(1);
    await turn();
    expect(desk.signals.get('a1')?.aborted).toBe(true);
    await desk.end('a1');
    desk.clock.pass(abortGraceMs);
    expect(namesOf((await drained).running)).toEqual(['b1']);
  });

  test('of an idle queue is done at once, and again', async () => {
    const desk = new Desk();
    expect(await desk.queue.drain()).toEqual({ waiting: [], running: [] });
    expect(await desk.queue.drain()).toEqual({ waiting: [], running: [] });
  });
});

test('work that rejects ends the queue: nothing begins behind it, and who waits hears why', async () => {
  const desk = new Desk({ concurrency: 1, itemsMax: 2 });
  desk.push('a1', 'a2');
  const heard = desk.queue.room().catch((error: unknown) => error);
  await desk.fail('a1', new Error('a defect'));
  expect(await heard).toEqual(new Error('a defect'));
  await expect(desk.queue.drain()).rejects.toThrow('a defect');
  expect(desk.begun).toEqual(['a1']);
});
