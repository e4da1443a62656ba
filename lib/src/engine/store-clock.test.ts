import { describe, expect, it } from 'vitest';
import { VirtualClock } from '../testing/virtual-clock.ts';
import { StoreClock } from './store-clock.ts';

describe('the time of the store', () => {
  it('is what the store said last, and the monotonic time since (D5)', async () => {
    const clock = new VirtualClock();
    const storeClock = new StoreClock(clock);
    storeClock.heard(1_000_000);
    await clock.advance(250);
    expect(storeClock.nowMs()).toBe(1_000_250);
  });

  it('follows the store when that is ahead', async () => {
    const clock = new VirtualClock();
    const storeClock = new StoreClock(clock);
    storeClock.heard(1_000);
    await clock.advance(10);
    storeClock.heard(5_000);
    expect(storeClock.nowMs()).toBe(5_000);
  });

  // covers A28
  it('never goes back, though the store does: an answer may be old, a wall clock may be set', async () => {
    const clock = new VirtualClock();
    const storeClock = new StoreClock(clock);
    storeClock.heard(1_000_000);
    await clock.advance(100);
    storeClock.heard(999_000);
    expect(storeClock.nowMs()).toBe(1_000_100);
    await clock.advance(100);
    expect(storeClock.nowMs()).toBe(1_000_200);
  });
});
