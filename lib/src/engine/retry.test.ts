import { describe, expect, it } from 'vitest';
import { retryDefault } from '../core/retry-policy.ts';
import { retryDelayMs } from './retry.ts';

const longest = { next: () => 0.999_999 };
const shortest = { next: () => 0 };

describe('the pause before the next attempt', () => {
  // covers C6
  it('doubles at most with each attempt, up to the cap of the policy', () => {
    const ceilings = [1, 2, 3, 8, 9, 100, 5_000].map((n) =>
      Math.ceil(retryDelayMs(retryDefault, n, longest)),
    );
    expect(ceilings).toEqual([200, 400, 800, 25_600, 30_000, 30_000, 30_000]);
  });

  // covers C6
  it('is drawn from all of the time up to that, so that callers who failed together do not come back together', () => {
    expect(retryDelayMs(retryDefault, 5, { next: () => 0.25 })).toBe(800);
    expect(retryDelayMs(retryDefault, 5, { next: () => 0.75 })).toBe(2_400);
  });

  it('is never shorter than what the participant asked for', () => {
    expect(retryDelayMs(retryDefault, 1, longest, 5_000)).toBe(5_000);
    expect(retryDelayMs(retryDefault, 10, longest, 5_000)).toBeGreaterThan(29_000);
  });

  it('is never nothing, so that no policy makes a busy loop', () => {
    expect(retryDelayMs({ kind: 'exponential', baseMs: 0, factor: 1, maxMs: 0 }, 1, longest)).toBe(1);
    expect(retryDelayMs(retryDefault, 1, shortest)).toBe(1);
  });

  it('stays a number however many attempts there were, whatever the factor', () => {
    const steep = { kind: 'exponential', baseMs: 1_000, factor: 1e12, maxMs: 60_000 } as const;
    expect(retryDelayMs(steep, 1_000_000, longest)).toBeLessThanOrEqual(60_000);
  });
});
