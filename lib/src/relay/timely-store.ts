import { SettleError } from '../util/errors.ts';
import type { RelayClock } from './clock.ts';
import type { RelayStore } from './store.ts';

/** Beyond what any statement of a relay takes on a database that works. */
const statementMaxMs = 30_000;

/**
 * The store, but so that every call of the loop ends: one of which nothing is heard, over a connection that is gone, counts as
 * failed, and is made again. What people ask for, dead letters and numbers, may take its time.
 */
export function timelyStore(store: RelayStore, clock: RelayClock, leaseTtlMs: number): RelayStore {
  const within = <A extends unknown[], T>(ms: number, ask: (...args: A) => Promise<T>) => {
    return async (...args: A): Promise<T> => await inTime(clock, ask(...args), ms);
  };
  const longMs = Math.max(statementMaxMs, leaseTtlMs);
  return {
    heartbeat: within(leaseTtlMs, (...args) => store.heartbeat(...args)),
    claim: within(leaseTtlMs, (...args) => store.claim(...args)),
    blockedKeys: within(leaseTtlMs, (...args) => store.blockedKeys(...args)),
    release: within(leaseTtlMs, (...args) => store.release(...args)),
    leave: within(leaseTtlMs, (...args) => store.leave(...args)),
    read: within(longMs, (...args) => store.read(...args)),
    settle: within(longMs, (...args) => store.settle(...args)),
    promote: within(longMs, (...args) => store.promote(...args)),
    prune: within(longMs, (...args) => store.prune(...args)),
    dead: store.dead,
    stats: () => store.stats(),
  };
}

/** Rejects with `unavailable` when it takes longer. */
export function inTime<T>(clock: RelayClock, asked: Promise<T>, ms: number): Promise<T> {
  return new Promise((resolve, reject) => {
    const forget = clock.schedule(ms, () => {
      const next = 'It is asked again';
      reject(new SettleError('unavailable', `the database did not answer within ${ms} ms`, { next }));
    });
    asked.then(resolve, reject).finally(forget);
  });
}
