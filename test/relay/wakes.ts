// A relay that only counts how often it is told to look, and says when it has.
import type { Wake } from '../../lib/src/relay/wake.ts';

export class Wakes {
  count = 0;
  readonly warnings: Error[] = [];
  readonly #waiting: { readonly count: number; readonly resolve: () => void }[] = [];
  readonly #looks: (() => void)[] = [];
  /** Whether looks end only when the test says so. */
  isHeld = false;
  readonly #warned: { readonly pattern: RegExp; readonly resolve: (error: Error) => void }[] = [];

  readonly wake: Wake = () => {
    this.count++;
    for (const { count, resolve } of this.#waiting) if (this.count >= count) resolve();
    if (!this.isHeld) return Promise.resolve();
    return new Promise((resolve) => this.#looks.push(resolve));
  };

  readonly warn = (error: Error): void => {
    this.warnings.push(error);
    for (const { pattern, resolve } of this.#warned) if (pattern.test(error.message)) resolve(error);
  };

  /** Resolves when it was woken that many times altogether. */
  reached(count: number): Promise<void> {
    if (this.count >= count) return Promise.resolve();
    return new Promise((resolve) => this.#waiting.push({ count, resolve }));
  }

  /** Resolves at the next wake-up. */
  next(): Promise<void> {
    return this.reached(this.count + 1);
  }

  /** Resolves with the first warning, past or to come, that says this. */
  warned(pattern: RegExp): Promise<Error> {
    const past = this.warnings.find(({ message }) => pattern.test(message));
    if (past !== undefined) return Promise.resolve(past);
    return new Promise((resolve) => this.#warned.push({ pattern, resolve }));
  }

  /** How many looks were held, and now end. */
  endLooks(): number {
    const looks = this.#looks.splice(0);
    for (const end of looks) end();
    return looks.length;
  }
}
