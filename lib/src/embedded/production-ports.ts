import type { Clock, Ids, Random } from '../engine/ports.ts';
import { newGid } from '../client/settle.ts';

/** The process's own clock: monotonic, with timers that keep the process running. */
export const systemClock: Clock = {
  monotonicMs: () => performance.now(),
  schedule(delayMs, callback) {
    const timer = setTimeout(callback, delayMs);
    return () => clearTimeout(timer);
  },
  afterTurn: (callback) => void setImmediate(callback),
};

/** Spreads retries; nothing secret depends on it. */
export const systemRandom: Random = { next: () => Math.random() };

export const systemIds: Ids = { gid: newGid };
