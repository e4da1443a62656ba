/** Time, as a relay needs it; a parameter, so that tests and the simulator need not wait. */
export interface RelayClock {
  /** Milliseconds from any fixed moment; never goes back. */
  readonly now: () => number;
  /** Calls back once after that many milliseconds; returns what forgets it. */
  readonly schedule: (delayMs: number, callback: () => void) => () => void;
}

/** Its timers keep the process alive: a relay may be all that a process does. */
export const relaySystemClock: RelayClock = {
  now: () => performance.now(),
  schedule(delayMs, callback) {
    const timer = setTimeout(callback, delayMs);
    return () => clearTimeout(timer);
  },
};

/** Full jitter (Brooker, "Exponential Backoff And Jitter"); `failures` counts from 1. At least a tenth, so that nothing spins. */
export function backoffMs(
  failures: number,
  { baseMs, maxMs }: { readonly baseMs: number; readonly maxMs: number },
  random: () => number,
): number {
  const ceiling = Math.min(maxMs, baseMs * 2 ** Math.min(failures - 1, 40));
  return Math.ceil(ceiling * (0.1 + 0.9 * random()));
}
