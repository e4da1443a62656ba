/**
 * Makes a failing seed smaller as long as it fails for the same reason: fewer fault classes, fewer transactions, an
 * earlier heal. Whatever is cut leaves the rest as it was, since everything draws from a stream of its own.
 */
import type { FaultName } from './faults.ts';
import type { Failure, RunResult } from './run.ts';
import type { SeedSpec } from './swarm.ts';

export type RunSpec = (spec: SeedSpec) => Promise<RunResult>;

/** Runs at most `triesMax` times. */
export async function shrink(failed: RunResult, run: RunSpec, triesMax = 120): Promise<RunResult> {
  const wanted = new Set(failed.violations.map(kindOf));
  let best = failed;
  let tries = 0;
  const attempt = async (spec: SeedSpec): Promise<boolean> => {
    if (tries++ >= triesMax) return false;
    const result = await run(spec);
    if (!result.violations.some((violation) => wanted.has(kindOf(violation)))) return false;
    best = result;
    return true;
  };

  let mask: readonly FaultName[] = [...failed.scenario.faults.keys()];
  // Halves first, then one by one.
  for (let size = Math.ceil(mask.length / 2); size >= 1; size = size === 1 ? 0 : Math.ceil(size / 2)) {
    for (let at = 0; at < mask.length;) {
      const fewer = mask.filter((_, i) => i < at || i >= at + size);
      if (await attempt({ ...best.spec, mask: fewer })) mask = fewer;
      else at += size;
    }
  }
  for (let low = 0, high = best.scenario.transactions; high - low > 1;) {
    const middle = (low + high) >> 1;
    if (await attempt({ ...best.spec, transactions: middle })) high = middle;
    else low = middle;
  }
  for (let low = 0, high = Math.ceil(best.scenario.safetyMs); high - low > 100;) {
    const middle = (low + high) >> 1;
    if (await attempt({ ...best.spec, safetyMs: middle })) high = middle;
    else low = middle;
  }
  return best;
}

function kindOf({ invariant }: Failure): string {
  return invariant;
}
