/**
 * The proof that the simulator finds bugs: each bug of `lib/src/util/planted-bug.ts` is planted, and seeds are run until
 * one breaks an invariant that it keeps without the bug.
 */
import { plant, type PlantedBug } from '../../lib/src/util/planted-bug.ts';
import { checkers } from './checkers/index.ts';
import { runSeed, type Failure } from './run.ts';

/** Not for the simulator: without the bug and with it the same happens, only at another moment. */
export const foundElsewhere: Readonly<Partial<Record<PlantedBug, string>>> = {
  'batch-by-timer': 'lib/src/engine/durability.test.ts',
};

export type Hunt =
  | {
      readonly kind: 'found';
      readonly bug: PlantedBug;
      readonly seed: number;
      /** How many seeds were run until then, that one included. */
      readonly seeds: number;
      readonly failure: Failure;
    }
  | { readonly kind: 'missed'; readonly bug: PlantedBug; readonly seeds: number };

/** Seeds that break something without any bug say nothing about one. */
const unsound = new Map<number, boolean>();

export async function hunt(bug: PlantedBug, from: number, seedsMax: number): Promise<Hunt> {
  for (let seeds = 1; seeds <= seedsMax; seeds++) {
    const seed = from + seeds - 1;
    const failure = await failureOf(seed, bug);
    if (failure !== undefined && !(await isUnsound(seed)))
      return { kind: 'found', bug, seed, seeds, failure };
  }
  return { kind: 'missed', bug, seeds: seedsMax };
}

async function isUnsound(seed: number): Promise<boolean> {
  const known = unsound.get(seed) ?? (await failureOf(seed)) !== undefined;
  unsound.set(seed, known);
  return known;
}

/** The first thing that goes wrong in this seed. */
async function failureOf(seed: number, ...bugs: readonly PlantedBug[]): Promise<Failure | undefined> {
  plant(...bugs);
  try {
    return (await runSeed({ seed }, { checkers })).violations[0];
  } finally {
    plant();
  }
}

/** A line for each bug, hardest first, under the median of all. */
export function report(hunts: readonly Hunt[]): string {
  const found = hunts.filter((one) => one.kind === 'found');
  const sorted = hunts.toSorted((a, b) => weight(a) - weight(b));
  const middle = sorted[Math.floor((sorted.length - 1) / 2)];
  const lines = sorted.map((one) =>
    one.kind === 'found'
      ? `${String(one.seeds).padStart(6)}  ${one.bug.padEnd(30)} ${one.failure.invariant.padEnd(5)} ${one.failure.what}`
      : `     -  ${one.bug.padEnd(30)} not found within ${one.seeds} seeds`,
  );
  const median = middle?.kind === 'found' ? `median ${middle.seeds} seeds` : 'no median';
  return [`${found.length} of ${hunts.length} planted bugs found, ${median}`, ...lines].join('\n');
}

function weight(one: Hunt): number {
  return one.kind === 'found' ? one.seeds : Infinity;
}
