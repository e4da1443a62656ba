import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { timerMsMax, type Clock } from './clock.ts';
import { Timers, type Timer } from './timers.ts';

/** Time that passes at once, and the timers of Node it costs. */
class InstantClock implements Clock {
  scheduled = 0;
  #nowMs = 0;
  #timers: { readonly atMs: number; readonly callback: () => void }[] = [];

  now = (): number => this.#nowMs;

  schedule = (delayMs: number, callback: () => void): (() => void) => {
    this.scheduled++;
    if (delayMs <= timerMsMax) this.#timers.push({ atMs: this.#nowMs + delayMs, callback });
    return () => {};
  };

  turn = (): Promise<void> => Promise.resolve();

  pass(ms: number): void {
    const untilMs = this.#nowMs + ms;
    for (;;) {
      const due = this.#timers.filter(({ atMs }) => atMs <= untilMs).toSorted((a, b) => a.atMs - b.atMs);
      const [next] = due;
      if (next === undefined) break;
      this.#timers = this.#timers.filter((timer) => timer !== next);
      this.#nowMs = next.atMs;
      next.callback();
    }
    this.#nowMs = untilMs;
  }

  get pending(): number {
    return this.#timers.length;
  }
}

type Move =
  | { readonly kind: 'set'; readonly delayMs: number; readonly againMs: number | null }
  | { readonly kind: 'forget'; readonly at: number }
  | { readonly kind: 'pass'; readonly ms: number };

const delay = fc.constantFrom(1, 5, 10, 30, 31, Infinity);
const move: fc.Arbitrary<Move> = fc.oneof(
  fc.record({ kind: fc.constant('set' as const), delayMs: delay, againMs: fc.option(delay) }),
  fc.record({ kind: fc.constant('forget' as const), at: fc.nat({ max: 20 }) }),
  fc.record({ kind: fc.constant('pass' as const), ms: fc.nat({ max: 40 }) }),
);

describe('timers', () => {
  test('are met at their time, once, unless they are forgotten: as if each had one of its own', () => {
    fc.assert(
      fc.property(fc.array(move, { maxLength: 60 }), (moves) => {
        const clock = new InstantClock();
        const timers = new Timers(clock);
        const set: { timer: Timer; atMs: number; isForgotten: boolean; metMs: number[] }[] = [];
        const add = (delayMs: number, againMs: number | null): void => {
          const entry = { atMs: clock.now() + delayMs, isForgotten: false, metMs: new Array<number>() };
          const timer = timers.set(delayMs, () => {
            entry.metMs.push(clock.now());
            if (againMs !== null) add(againMs, null);
          });
          set.push(Object.assign(entry, { timer }));
        };
        for (const next of moves) {
          if (next.kind === 'set') add(next.delayMs, next.againMs);
          if (next.kind === 'pass') clock.pass(next.ms);
          const entry = next.kind === 'forget' ? set[next.at] : undefined;
          if (entry === undefined) continue;
          timers.forget(entry.timer);
          if (entry.metMs.length === 0) entry.isForgotten = true;
        }
        clock.pass(100);
        const expected = set.map(({ atMs, isForgotten }) => (isForgotten || atMs === Infinity ? [] : [atMs]));
        expect(set.map(({ metMs }) => metMs)).toEqual(expected);
        expect(clock.pending).toBe(0);
      }),
    );
  });

  test('with the same delay share one of the system', () => {
    const clock = new InstantClock();
    const timers = new Timers(clock);
    for (let n = 0; n < 100; n++) timers.forget(timers.set(60_000, () => {}));
    expect(clock.scheduled).toBe(1);
  });

  test('keep nothing of one that is forgotten', () => {
    const timers = new Timers(new InstantClock());
    const [first, second, third] = [1, 2, 3].map(() => timers.set(10, () => {})) as [Timer, Timer, Timer];
    timers.forget(second);
    expect([second.callback, second.before, second.after]).toEqual([undefined, undefined, undefined]);
    expect([first.after, third.before]).toEqual([third, first]);
  });

  test('go on after one that throws', () => {
    const clock = new InstantClock();
    const timers = new Timers(clock);
    const met: string[] = [];
    timers.set(10, () => {
      throw new Error('wrong');
    });
    timers.set(10, () => met.push('same moment'));
    expect(() => clock.pass(10)).toThrow('wrong');
    timers.set(10, () => met.push('later'));
    clock.pass(30);
    expect(met).toEqual(['same moment', 'later']);
  });

  test('of 50,000 different delays are set without going through all of them each time', () => {
    // Delays are often what is left of a deadline, and no two of them alike.
    const timers = new Timers({ now: () => 0, schedule: () => () => {}, turn: () => Promise.resolve() });
    const beganMs = performance.now();
    for (let n = 0; n < 50_000; n++) timers.forget(timers.set(1_000 + n / 100, () => {}));
    expect(performance.now() - beganMs).toBeLessThan(3_000);
  });
});
