/** Time, as the manager needs it; a parameter, so that tests need not wait. */
export interface Clock {
  /** Milliseconds from any fixed moment; never goes back. */
  readonly now: () => number;
  /** Calls back once after that many milliseconds; returns what forgets it. Does not keep the process alive. */
  readonly schedule: (delayMs: number, callback: () => void) => () => void;
  /** Resolves once everything that is ready to run has run. */
  readonly turn: () => Promise<void>;
}

/** Longer is taken for never: timers of Node fire at once beyond it. */
export const timerMsMax = 2 ** 31 - 1;

export const systemClock: Clock = {
  now: () => performance.now(),
  schedule(delayMs, callback) {
    if (delayMs > timerMsMax) return () => {};
    const timer = setTimeout(callback, delayMs);
    timer.unref();
    return () => clearTimeout(timer);
  },
  turn: () => new Promise((resolve) => void setImmediate(resolve)),
};
