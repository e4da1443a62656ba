import { describe, expect, it } from 'vitest';
import { crashPoints } from '../../lib/src/util/crash-point.ts';
import { cases, runCase } from './matrix.ts';

/** On two cores; most of a case is waiting for processes and timers. */
const atOnce = 3;

describe('a coordinator that dies at a named crash point, starts again and settles', () => {
  it('meets every point there is, before and after it', () => {
    expect(crashPoints.length).toBeGreaterThanOrEqual(40);
    const met = new Set(cases.map(({ point, moment }) => `${point}:${moment}`));
    expect(met.size).toBe(2 * crashPoints.length);
    console.log(`crash matrix: ${crashPoints.length} points, ${cases.length} cases`);
  });

  // covers A1, A2, A3, A4, A5, A7, A14, A32, H3
  it(
    'loses no acknowledged transfer, doubles none and leaves none half done, wherever it dies',
    { timeout: 400_000 },
    async () => {
      const broken: string[] = [];
      const queue = cases.entries();
      const worker = async (): Promise<void> => {
        for (const [, one] of queue) {
          const name = `${one.point}:${one.moment}:${one.nth} (${one.scene})`;
          const violations = await runCase(one).catch((error: unknown) => [String(error)]);
          broken.push(...violations.map((violation) => `${name}: ${violation.slice(0, 300)}`));
        }
      };
      await Promise.all(Array.from({ length: atOnce }, worker));
      expect(broken).toEqual([]);
    },
  );
});
