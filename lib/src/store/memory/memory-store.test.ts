import { describe, expect, it } from 'vitest';
import { storeContract } from '../contract.ts';
import { memoryStore } from './index.ts';

storeContract({ describe, it }, 'memory', async () => {
  let nowMs = 1_800_000_000_000;
  return {
    store: memoryStore({ nowMs: () => nowMs }),
    advance: (ms) => {
      nowMs += ms;
    },
  };
});

describe('the memory store', () => {
  it('counts a clock that goes back as standing still', async () => {
    const readings = [1_000, 400, 1_001];
    const store = memoryStore({ nowMs: () => readings.shift() ?? 0 });
    const times = [await store.commit([]), await store.commit([]), await store.commit([])];
    expect(times.map(({ nowMs }) => nowMs)).toEqual([1_000, 1_000, 1_001]);
  });

  it('starts at the wall clock', async () => {
    const { nowMs } = await memoryStore().commit([]);
    expect(Math.abs(nowMs - Date.now())).toBeLessThan(1_000);
  });
});
