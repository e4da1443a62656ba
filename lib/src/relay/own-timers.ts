import type { RelayClock } from './clock.ts';

/** What timers of Node can wait for. */
const delayMaxMs = 2 ** 31 - 1;

/** The clock of one relay: once that has ended, nothing that it had scheduled comes any more, and no process waits for it. */
export class OwnTimers implements RelayClock {
  readonly #clock: RelayClock;
  readonly #scheduled = new Set<() => void>();
  #hasEnded = false;

  constructor(clock: RelayClock) {
    this.#clock = clock;
  }

  readonly now = (): number => this.#clock.now();

  readonly schedule = (delayMs: number, callback: () => void): (() => void) => {
    if (this.#hasEnded) return () => undefined;
    const forget = this.#clock.schedule(Math.min(Math.max(delayMs, 0), delayMaxMs), () => {
      this.#scheduled.delete(forgetIt);
      callback();
    });
    const forgetIt = (): void => {
      this.#scheduled.delete(forgetIt);
      forget();
    };
    this.#scheduled.add(forgetIt);
    return forgetIt;
  };

  end(): void {
    this.#hasEnded = true;
    for (const forget of this.#scheduled) forget();
  }
}
