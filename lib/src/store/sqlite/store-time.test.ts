import { afterEach, describe, expect, it, vi } from 'vitest';
import { StoreTime } from './store-time.ts';

const wallMs = 1_700_000_000_000;

afterEach(() => void vi.restoreAllMocks());

describe('the time of a store that is open', () => {
  // covers A28
  it.each([3_600_000, -3_600_000, 1_000])('is not moved by a wall clock that jumps by %i ms', (jumpMs) => {
    const now = vi.spyOn(Date, 'now').mockReturnValue(wallMs);
    let monotonicMs = 5_000;
    const time = new StoreTime({ wallMs: Date.now(), usedMs: 0, monotonicMs: () => monotonicMs });
    expect(time.nowMs()).toBe(wallMs);
    now.mockReturnValue(wallMs + jumpMs);
    monotonicMs += 250;
    expect(time.nowMs()).toBe(wallMs + 250);
  });

  it('never goes behind a time that was used before it opened', () => {
    const time = new StoreTime({ wallMs, usedMs: wallMs + 60_000, monotonicMs: () => 0.9 });
    expect(time.nowMs()).toBeGreaterThanOrEqual(wallMs + 60_000);
  });
});
