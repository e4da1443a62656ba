import { describe, expect, it } from 'vitest';
import { ulids } from './ulid.ts';

const zeros = (bytes: Uint8Array): void => void bytes.fill(0);
const ones = (bytes: Uint8Array): void => void bytes.fill(255);

describe('a ULID', () => {
  it('is 26 characters of base 32 that begin with the time', () => {
    // The example of the specification's time part.
    expect(ulids({ nowMs: () => 1_469_918_176_385, fill: zeros })()).toBe('01ARYZ6S410000000000000000');
  });

  it('grows within one millisecond', () => {
    const next = ulids({ nowMs: () => 5, fill: zeros });
    expect([next(), next(), next()].map((id) => id.slice(10))).toEqual([
      '0000000000000000',
      '0000000000000001',
      '0000000000000002',
    ]);
  });

  it('grows while the clock runs backwards', () => {
    const times = [9, 3, 8, 10];
    const next = ulids({ nowMs: () => times.shift() ?? 0, fill: (bytes) => crypto.getRandomValues(bytes) });
    const made = [next(), next(), next(), next()];
    expect(made.toSorted()).toEqual(made);
    expect(new Set(made).size).toBe(4);
  });

  it('takes the next millisecond when the chance part is used up', () => {
    const next = ulids({ nowMs: () => 5, fill: ones });
    expect(next()).toBe('0000000005ZZZZZZZZZZZZZZZZ');
    expect(next()).toBe('0000000006ZZZZZZZZZZZZZZZZ');
  });

  it('uses 80 bits of chance', () => {
    const next = ulids({ nowMs: () => 0, fill: (bytes) => crypto.getRandomValues(bytes) });
    const seen = Array.from({ length: 16 }, () => new Set<string>());
    for (let ms = 0; ms < 2_000; ms++) {
      const id = ulids({ nowMs: () => ms, fill: (bytes) => crypto.getRandomValues(bytes) })();
      seen.forEach((digits, i) => digits.add(id.charAt(10 + i)));
    }
    expect(seen.map((digits) => digits.size)).toEqual(Array(16).fill(32));
    expect(next()).toMatch(/^[0-9A-HJKMNP-TV-Z]{26}$/);
  });
});
