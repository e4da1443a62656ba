import { describe, expect, it } from 'vitest';
import { links, poisons, runLink } from './links.ts';

const cases = links.flatMap((link) =>
  poisons.map((poison) => ({ link, poison, name: `${link}: ${JSON.stringify(poison)}` })),
);

/** On two cores; most of a case is waiting. */
const atOnce = 3;

describe('a link that breaks under load, and heals', () => {
  // covers B1, B2, B7, B11, B12, B13, C3, C5
  it('loses and doubles nothing, whatever is wrong with either link', { timeout: 300_000 }, async () => {
    const seed = Date.now() % 1_000_000;
    const broken: string[] = [];
    const queue = cases.entries();
    const worker = async (): Promise<void> => {
      for (const [, { link, poison, name }] of queue) {
        const { violations, bitten, committed, settledMs } = await runLink(link, poison, seed);
        broken.push(...violations.map((violation) => `${name}: ${violation}`));
        if (bitten === 0) broken.push(`${name}: spoilt no connection`);
        if (committed < 5) broken.push(`${name}: committed ${committed} only`);
        if (settledMs > 20_000) broken.push(`${name}: took ${Math.round(settledMs)} ms to settle`);
      }
    };
    await Promise.all(Array.from({ length: atOnce }, worker));
    expect(broken, `seed ${seed}`).toEqual([]);
    console.log(`fault proxy: ${cases.length} cases of link and fault, seed ${seed}`);
  });
});
