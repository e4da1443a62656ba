import fc from 'fast-check';
import { expect, it } from 'vitest';
import { ChurningMap } from './churning-map.ts';

it('holds what a Map holds, in the same order, whatever comes and goes', () => {
  const step = fc.record({ key: fc.integer({ min: 0, max: 12 }), what: fc.constantFrom('set', 'delete', 'clear') });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 200 }), (steps) => {
      const map = new Map<number, number>();
      const churning = new ChurningMap<number, number>();
      steps.forEach(({ key, what }, n) => {
        if (what === 'set') {
          map.set(key, n);
          churning.set(key, n);
        } else if (what === 'delete') {
          expect(churning.delete(key)).toBe(map.delete(key));
        } else if (n % 50 === 0) {
          map.clear();
          churning.clear();
        }
        expect(churning.size).toBe(map.size);
        expect(churning.get(key)).toBe(map.get(key));
        expect(churning.has(key)).toBe(map.has(key));
      });
      expect([...churning.keys()]).toEqual([...map.keys()]);
      expect([...churning.values()]).toEqual([...map.values()]);
    }),
  );
});

it('lets whoever walks through it go on while entries are deleted', () => {
  const churning = new ChurningMap<number, number>();
  for (let n = 0; n < 10; n++) churning.set(n, n);
  const seen: number[] = [];
  for (const n of churning.values()) {
    seen.push(n);
    churning.delete(n);
  }
  expect(seen).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
  expect(churning.size).toBe(0);
});
