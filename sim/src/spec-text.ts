/** A seed with its cuts as text: on the command line, in regressions.txt, and between processes. */
import { faultNames, type FaultName } from './faults.ts';
import type { SeedSpec } from './swarm.ts';

/** Grows whenever the same seed stops meaning the same run; regressions.txt names the one it was written for. */
export const traceFormat = 1;

/** Input that makes no sense, in words for whoever wrote it. */
export class BadInput extends Error {}

export function parseSeed(text: string): number {
  const seed = Number(text);
  if (/^\d{1,16}$/.test(text) && Number.isSafeInteger(seed)) return seed;
  throw new BadInput(
    `${JSON.stringify(text)} is no seed; a seed is a whole number from 0 to ${Number.MAX_SAFE_INTEGER}`,
  );
}

export function parseMask(text: string): readonly FaultName[] {
  if (text === 'none') return [];
  return text.split(',').map((name) => {
    const known = faultNames.find((fault) => fault === name);
    if (known !== undefined) return known;
    throw new BadInput(`no fault is called ${JSON.stringify(name)}; there are ${faultNames.join(', ')}`);
  });
}

/** `--seed 7 --mask net-loss,operator --transactions 3 --safety 4000` */
export function printSpec({ seed, mask, transactions, safetyMs }: SeedSpec): string {
  return [
    `--seed ${seed}`,
    ...(mask === undefined ? [] : [`--mask ${mask.join(',') || 'none'}`]),
    ...(transactions === undefined ? [] : [`--transactions ${transactions}`]),
    ...(safetyMs === undefined ? [] : [`--safety ${safetyMs}`]),
  ].join(' ');
}

/** What {@link printSpec} wrote. */
export function parseSpec(words: readonly string[]): SeedSpec {
  const given = new Map<string, string>();
  for (let i = 0; i < words.length; i += 2) {
    const [name = '', value] = words.slice(i, i + 2);
    if (!['--seed', '--mask', '--transactions', '--safety'].includes(name) || value === undefined)
      throw new BadInput(
        `${words.join(' ')}: expected --seed N [--mask a,b] [--transactions N] [--safety MS]`,
      );
    given.set(name, value);
  }
  const seed = given.get('--seed');
  if (seed === undefined) throw new BadInput(`${words.join(' ')}: there is no --seed`);
  const mask = given.get('--mask');
  const transactions = given.get('--transactions');
  const safety = given.get('--safety');
  return {
    seed: parseSeed(seed),
    ...(mask === undefined ? {} : { mask: parseMask(mask) }),
    ...(transactions === undefined ? {} : { transactions: parseCount('--transactions', transactions) }),
    ...(safety === undefined ? {} : { safetyMs: parseCount('--safety', safety) }),
  };
}

export function parseCount(name: string, text: string): number {
  const count = Number(text);
  if (Number.isSafeInteger(count) && count >= 0 && text !== '') return count;
  throw new BadInput(`${name} is ${JSON.stringify(text)}; it is a whole number`);
}

/**
 * The seeds that once failed. First line `trace format N`; then one per line, with what it found after a `#`.
 * A seed of an older format would run something else and prove nothing, so it is refused.
 */
export function parseRegressions(text: string): readonly SeedSpec[] {
  const lines = text.split('\n').map((line) => line.replace(/#.*$/, '').trim());
  const [head, ...rest] = lines.filter((line) => line !== '');
  if (head !== `trace format ${traceFormat}`) {
    throw new BadInput(
      `regressions.txt begins with ${JSON.stringify(head ?? '')}, and this simulator is of trace format ${traceFormat}: ` +
        'its seeds mean other runs now. Find each fault again with the planted bug or the old code, and write the new seed',
    );
  }
  return rest.map((line) => parseSpec(line.split(/\s+/)));
}
