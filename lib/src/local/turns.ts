import { SettleError } from '../util/errors.ts';

/** How many may wait for one connection. More would be a loop that never awaits. */
export const waitingMax = 10_000;

/** One at a time, first come, first served. Whoever took the turn gives it back exactly once. */
export class Turns {
  #taken = false;
  readonly #waiting: (() => void)[] = [];

  get taken(): boolean {
    return this.#taken;
  }

  /** Takes the turn if nobody has it. */
  tryTake(): boolean {
    if (this.#taken) return false;
    this.#taken = true;
    return true;
  }

  take(): Promise<void> {
    if (this.tryTake()) return Promise.resolve();
    if (this.#waiting.length >= waitingMax) {
      return Promise.reject(
        new SettleError('limit_exceeded', `more than ${waitingMax} statements wait for one connection`, {
          next: 'Await statements before issuing more of them',
        }),
      );
    }
    return new Promise((resolve) => void this.#waiting.push(resolve));
  }

  give(): void {
    const next = this.#waiting.shift();
    if (next === undefined) this.#taken = false;
    else next();
  }
}
