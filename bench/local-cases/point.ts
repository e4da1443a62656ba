import { setTimeout as sleep } from 'node:timers/promises';

/** A place in the code that some reach and others wait for. */
export interface Point {
  readonly reach: () => void;
  /** Resolves when everybody is there, or after `patienceMs`: a peer that runs siblings one by one never lets both come. */
  wait(patienceMs?: number): Promise<void>;
}

/** @param comers How many have to reach it; default one. */
export function point(comers = 1): Point {
  let missing = comers;
  const { promise, resolve } = Promise.withResolvers<void>();
  return {
    reach: () => {
      missing -= 1;
      if (missing === 0) resolve();
    },
    wait: (patienceMs = 300) => Promise.race([promise, sleep(patienceMs)]),
  };
}
