import { planted } from '../util/planted-bug.ts';
import type { Clock } from './ports.ts';

/**
 * The store's time between two of its answers (D5): what it said last, plus the monotonic time since.
 * Never goes back, whatever wall clocks do.
 */
export class StoreClock {
  readonly #clock: Clock;
  #saidMs = 0;
  #atMs = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  heard(nowMs: number): void {
    if (nowMs < this.nowMs()) return;
    this.#saidMs = nowMs;
    this.#atMs = this.#clock.monotonicMs();
  }

  nowMs(): number {
    if (planted('own-clock-decides')) return Math.floor(this.#clock.monotonicMs());
    return Math.floor(this.#saidMs + this.#clock.monotonicMs() - this.#atMs);
  }
}
