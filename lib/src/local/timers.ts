import type { Clock } from './clock.ts';

export interface Timer {
  readonly atMs: number;
  readonly list: TimerList;
  /** Undefined once it is forgotten or met. */
  callback: (() => void) | undefined;
  before: Timer | undefined;
  after: Timer | undefined;
}

interface TimerList {
  readonly delayMs: number;
  /** The one that is next, and the one that was added last. */
  first: Timer | undefined;
  last: Timer | undefined;
  isScheduled: boolean;
}

/** Lists of delays that were used once are dropped when there are so many, and whenever they have doubled since. */
const listsMax = 1_000;

/**
 * Timers of which nearly all are forgotten before they are met: one for each transaction, and one for each wait in it.
 *
 * Those with the same delay are met in the order they were set, so one timer serves them all, and setting and forgetting one
 * is linking and unlinking it. With a timer of Node's each, they were the largest part of what a transaction cost (bench/local).
 */
export class Timers {
  readonly #clock: Clock;
  readonly #lists = new Map<number, TimerList>();
  #dropAt = listsMax;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Milliseconds that never go back. */
  now(): number {
    return this.#clock.now();
  }

  /** Resolves once everything that is ready to run has run. */
  turn(): Promise<void> {
    return this.#clock.turn();
  }

  /** Calls back once after that many milliseconds, unless it is forgotten before. */
  set(delayMs: number, callback: () => void): Timer {
    const list = this.#listOf(delayMs);
    const timer: Timer = {
      atMs: this.#clock.now() + delayMs,
      list,
      callback,
      before: list.last,
      after: undefined,
    };
    if (list.last === undefined) list.first = timer;
    else list.last.after = timer;
    list.last = timer;
    if (!list.isScheduled) this.#schedule(list, delayMs);
    return timer;
  }

  /** Harmless when it was forgotten or met before. */
  forget(timer: Timer): void {
    if (timer.callback === undefined) return;
    timer.callback = undefined;
    const { list, before, after } = timer;
    if (before === undefined) list.first = after;
    else before.after = after;
    if (after === undefined) list.last = before;
    else after.before = before;
    // Nothing that is over points to what still goes on.
    timer.before = timer.after = undefined;
  }

  #listOf(delayMs: number): TimerList {
    const known = this.#lists.get(delayMs);
    if (known !== undefined) return known;
    if (this.#lists.size >= this.#dropAt) this.#dropUnused();
    const list: TimerList = { delayMs, first: undefined, last: undefined, isScheduled: false };
    this.#lists.set(delayMs, list);
    return list;
  }

  #dropUnused(): void {
    for (const [delayMs, list] of this.#lists) if (!list.isScheduled) this.#lists.delete(delayMs);
    this.#dropAt = Math.max(listsMax, 2 * this.#lists.size);
  }

  #schedule(list: TimerList, delayMs: number): void {
    list.isScheduled = true;
    this.#clock.schedule(delayMs, () => this.#meet(list));
  }

  #meet(list: TimerList): void {
    const nowMs = this.#clock.now();
    try {
      for (let next = list.first; next !== undefined && next.atMs <= nowMs; next = list.first) {
        const { callback } = next;
        this.forget(next);
        callback?.();
      }
    } finally {
      const { first } = list;
      if (first === undefined) list.isScheduled = false;
      else this.#schedule(list, Math.max(1, Math.ceil(first.atMs - nowMs)));
    }
  }
}
