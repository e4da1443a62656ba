/**
 * The proof that the simulator finds bugs: each bug of `lib/src/util/planted-bug.ts` is planted, and seeds are run until
 * one breaks an invariant that it keeps without the bug.
 */
import { plant, plantedBugs, type PlantedBug } from '../../lib/src/util/planted-bug.ts';
import { checkers } from './checkers/index.ts';
import { runSeed, type Failure } from './run.ts';
import { runDelivery } from './delivery/run.ts';
import { BadInput } from './spec-text.ts';

/** Breaks no promise, only a figure: the same happens at another moment. */
const foundElsewhere: Readonly<Partial<Record<PlantedBug, string>>> = {
  'batch-by-timer': 'lib/src/engine/durability.test.ts',
};

/** Those that only messages meet. */
const ofMessages: ReadonlySet<PlantedBug> = new Set([
  'settle-without-token',
  'settle-before-confirm',
  'cursor-by-sequence',
  'publish-past-a-failure',
  'offset-before-work',
] as const);

type Hunt =
  | {
      readonly kind: 'found';
      readonly bug: PlantedBug;
      /** How many seeds were run, from 1 on; the last one found it. */
      readonly seeds: number;
      readonly failure: Found;
    }
  | { readonly kind: 'missed'; readonly bug: PlantedBug; readonly seeds: number };

interface Found {
  readonly invariant: string;
  readonly what: string;
}

/** Seeds that break something without any bug say nothing about one. */
const unsound = new Map<number, boolean>();

async function hunt(bug: PlantedBug): Promise<Hunt> {
  for (let seeds = 1; seeds <= seedsMax; seeds++) {
    const isOfMessages = ofMessages.has(bug);
    const failure = await (isOfMessages ? deliveryFailureOf : failureOf)(seeds, bug);
    if (failure !== undefined && (isOfMessages || !(await isUnsound(seeds))))
      return { kind: 'found', bug, seeds, failure };
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

/** The same for messages; no seed of theirs fails without a bug. */
async function deliveryFailureOf(seed: number, ...bugs: readonly PlantedBug[]): Promise<Found | undefined> {
  plant(...bugs);
  try {
    const [first] = (await runDelivery(seed)).violations;
    return first === undefined ? undefined : { invariant: 'msg', what: `${first.fact}: ${first.what}` };
  } finally {
    plant();
  }
}

/** `npm run sim -- --bugs [name ...]`: all of them, or these. Gives back an exit code. */
export async function huntAll(names: readonly string[]): Promise<number> {
  const all = keysOf(plantedBugs).filter((bug) => !(bug in foundElsewhere));
  const unknown = names.filter((name) => !all.some((bug) => bug === name));
  if (unknown.length > 0)
    throw new BadInput(`no planted bug is called ${unknown.join(', ')}; there are ${all.join(', ')}`);
  const hunts: Hunt[] = [];
  const startedMs = performance.now();
  for (const bug of names.length === 0 ? all : all.filter((one) => names.includes(one)))
    hunts.push(await hunt(bug));
  console.log(report(hunts));
  for (const [bug, where] of Object.entries(foundElsewhere))
    console.log(`     .  ${bug.padEnd(30)} found by ${where}`);
  console.log(`in ${((performance.now() - startedMs) / 1_000).toFixed(1)} s`);
  const missed = hunts.some(({ kind }) => kind === 'missed');
  return missed || medianOf(hunts) > medianMax ? 1 : 0;
}

/** Each bug within so many seeds, half of them within so few. */
const seedsMax = 5_000;
const medianMax = 200;

/** The median first, then a line for each bug, those found soonest first. */
function report(hunts: readonly Hunt[]): string {
  const found = hunts.filter(({ kind }) => kind === 'found');
  const lines = hunts
    .toSorted((a, b) => weight(a) - weight(b))
    .map((one) =>
      one.kind === 'found'
        ? `${String(one.seeds).padStart(6)}  ${one.bug.padEnd(30)} ${one.failure.invariant.padEnd(5)} ${one.failure.what}`
        : `     -  ${one.bug.padEnd(30)} not found within ${one.seeds} seeds`,
    );
  return [
    `median ${medianOf(hunts)} seeds; ${found.length} of ${hunts.length} planted bugs found`,
    ...lines,
  ].join('\n');
}

/** What is not found weighs more than anything that is. */
function medianOf(hunts: readonly Hunt[]): number {
  const weights = hunts.map(weight).toSorted((a, b) => a - b);
  return weights[Math.floor(weights.length / 2)] ?? Infinity;
}

function weight(one: Hunt): number {
  return one.kind === 'found' ? one.seeds : Infinity;
}

function keysOf<K extends string>(record: Readonly<Record<K, unknown>>): readonly K[] {
  return Object.keys(record) as K[];
}
