import type { Clock } from '../engine/ports.ts';

interface Timer {
  readonly atMs: number;
  readonly order: number;
  readonly callback: () => void;
}

/**
 * A clock that stands still until it is told to go on: what would take an hour takes a moment, in the same order every
 * time. Also serves as the clock of a memory store.
 */
export class VirtualClock implements Clock {
  #nowMs = 0;
  #order = 0;
  readonly #timers = new Set<Timer>();

  monotonicMs(): number {
    return this.#nowMs;
  }

  schedule(delayMs: number, callback: () => void): () => void {
    const timer = { atMs: this.#nowMs + delayMs, order: this.#order++, callback };
    this.#timers.add(timer);
    return () => this.#timers.delete(timer);
  }

  afterTurn(callback: () => void): void {
    this.schedule(0, callback);
  }

  /** Resolves after the given milliseconds of this clock. */
  sleep(ms: number): Promise<void> {
    return new Promise((resolve) => void this.schedule(ms, resolve));
  }

  /** How many callbacks wait. */
  get pending(): number {
    return this.#timers.size;
  }

  /** Lets time pass, running every callback at its own time, and everything that follows from it. */
  async advance(ms: number): Promise<void> {
    const untilMs = this.#nowMs + ms;
    await drained();
    for (let timer = this.#next(untilMs); timer !== undefined; timer = this.#next(untilMs)) {
      this.#timers.delete(timer);
      this.#nowMs = timer.atMs;
      timer.callback();
      await drained();
    }
    this.#nowMs = untilMs;
  }

  /** Lets time pass until the promise settles; fails when that takes more than `limitMs` of this clock. */
  async until<T>(promise: Promise<T>, limitMs = 600_000): Promise<T> {
    const state = { settled: false };
    const end = (): void => {
      state.settled = true;
    };
    promise.then(end, end);
    const untilMs = this.#nowMs + limitMs;
    await drained();
    while (!state.settled) {
      const timer = this.#next(untilMs);
      if (timer === undefined) throw new Error(`nothing settled it within ${limitMs} virtual ms`);
      this.#timers.delete(timer);
      this.#nowMs = timer.atMs;
      timer.callback();
      await drained();
    }
    return promise;
  }

  #next(untilMs: number): Timer | undefined {
    let first: Timer | undefined;
    for (const timer of this.#timers) {
      if (timer.atMs > untilMs) continue;
      if (
        first === undefined ||
        timer.atMs < first.atMs ||
        (timer.atMs === first.atMs && timer.order < first.order)
      )
        first = timer;
    }
    return first;
  }
}

/** Lets every promise that can settle do so: a turn of the real event loop ends only when no microtask is left. */
function drained(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
