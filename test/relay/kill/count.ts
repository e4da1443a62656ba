/** Counts, and lets others wait for what it comes to. */
export class Count {
  readonly #of: string;
  #value = 0;
  readonly #waiting = new Set<{ readonly value: number; readonly resolve: () => void }>();

  /** `of`: what is counted, for people. */
  constructor(of: string) {
    this.#of = of;
  }

  get value(): number {
    return this.#value;
  }

  add(): void {
    this.#value++;
    for (const one of this.#waiting) {
      if (one.value > this.#value) continue;
      this.#waiting.delete(one);
      one.resolve();
    }
  }

  /** Resolves at `value` or more; rejects when it has not come to that within `withinMs`. */
  async reached(value: number, withinMs: number): Promise<void> {
    if (this.#value >= value) return;
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    this.#waiting.add({ value, resolve });
    const late = () => reject(new Error(`${this.#value} ${this.#of} after ${withinMs} ms, not ${value}`));
    const timer = setTimeout(late, withinMs);
    await promise.finally(() => clearTimeout(timer));
  }
}
