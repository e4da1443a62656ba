import { array, assert, constantFrom, integer, property, record } from 'fast-check';
import { expect, it } from 'vitest';
import { ChurningMap } from './churning-map.ts';

it('holds what a Map holds, in the same order, whatever comes and goes', () => {
  const step = record({ key: integer({ min: 0, max: 12 }), what: constantFrom('set', 'delete') });
  assert(
    property(array(step, { maxLength: 200 }), (steps) => {
      const map = new Map<number, number>();
      const churning = new ChurningMap<number, number>();
      steps.forEach(({ key, what }, n) => {
        const done = [map, churning].map((either) => {
          if (what === 'set') either.set(key, n);
          const deleted = what === 'delete' && either.delete(key);
          return { deleted, size: either.size, value: either.get(key), has: either.has(key) };
        });
        expect(done[1]).toEqual(done[0]);
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
