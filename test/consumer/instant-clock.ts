import type { Clock } from '../../lib/src/local/clock.ts';

/** A clock for tests: time passes when it is told to, and at once. */
export class InstantClock implements Clock {
  #nowMs = 0;
  #timers: { readonly atMs: number; readonly callback: () => void }[] = [];

  readonly now = (): number => this.#nowMs;

  readonly turn = (): Promise<void> => new Promise((resolve) => void setImmediate(resolve));

  readonly schedule = (delayMs: number, callback: () => void): (() => void) => {
    const timer = { atMs: this.#nowMs + delayMs, callback };
    this.#timers.push(timer);
    return () => {
      this.#timers = this.#timers.filter((other) => other !== timer);
    };
  };

  /** Timers that are set, and neither met nor forgotten. */
  get pending(): number {
    return this.#timers.length;
  }

  /** Milliseconds until the next timer; undefined when there is none. */
  get nextInMs(): number | undefined {
    if (this.#timers.length === 0) return undefined;
    return Math.min(...this.#timers.map(({ atMs }) => atMs)) - this.#nowMs;
  }

  /** Meets the timers of that time, in their order. */
  pass(ms: number): void {
    const untilMs = this.#nowMs + ms;
    for (;;) {
      const [next] = this.#timers.filter(({ atMs }) => atMs <= untilMs).toSorted((a, b) => a.atMs - b.atMs);
      if (next === undefined) break;
      this.#timers = this.#timers.filter((timer) => timer !== next);
      this.#nowMs = next.atMs;
      next.callback();
    }
    this.#nowMs = untilMs;
  }
}
