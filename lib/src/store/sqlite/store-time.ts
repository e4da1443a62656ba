/**
 * The store's clock (D5): the wall clock when the store opens, but never before a time it has already used; from then
 * on monotonic time alone, so that a jump of the wall clock moves no deadline and no lease.
 */
export class StoreTime {
  readonly #monotonicMs: () => number;
  #startMs: number;
  #lastMs: number;

  constructor({ wallMs, usedMs, monotonicMs }: StoreTimeOptions) {
    this.#monotonicMs = monotonicMs;
    this.#startMs = Math.max(wallMs, usedMs) - monotonicMs();
    this.#lastMs = usedMs;
  }

  nowMs(): number {
    // Rounding must not take back a millisecond that was used before.
    this.#lastMs = Math.max(this.#lastMs, Math.floor(this.#startMs + this.#monotonicMs()));
    return this.#lastMs;
  }

  /** Tests only. */
  advance(ms: number): void {
    this.#startMs += ms;
  }
}

export interface StoreTimeOptions {
  readonly wallMs: number;
  /** The highest time that was ever made durable. */
  readonly usedMs: number;
  readonly monotonicMs: () => number;
}
