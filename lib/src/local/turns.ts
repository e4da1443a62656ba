import { SettleError } from '../util/errors.ts';

/** How many may wait for one connection. More would be a loop that never awaits. */
export const waitingMax = 10_000;

/** One at a time, first come, first served. Whoever took the turn gives it back exactly once. */
export class Turns {
  #taken = false;
  #waiting: (() => void)[] | undefined;

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
    const waiting = (this.#waiting ??= []);
    if (waiting.length >= waitingMax) {
      return Promise.reject(
        new SettleError('limit_exceeded', `more than ${waitingMax} statements wait for one connection`, {
          next: 'Await statements before issuing more of them',
        }),
      );
    }
    return new Promise((resolve) => void waiting.push(resolve));
  }

  give(): void {
    const next = this.#waiting?.shift();
    if (next === undefined) this.#taken = false;
    else next();
  }
}
