/**
 * Chance by named streams: what one part of the world draws never reshuffles what another draws, so that a fault that is
 * cut from a run leaves the rest of it alone.
 */

export interface Rng {
  /** Uniform in [0, 1). */
  next(): number;
  /** A whole number from `min` to `max`, both included. */
  int(min: number, max: number): number;
  /** True so often. */
  chance(probability: number): boolean;
  pick<T>(of: readonly [T, ...T[]]): T;
}

/** The stream of this name under this seed. */
export function stream(seed: number, name: string): Rng {
  const next = sfc32(`${seed}/${name}`);
  const int = (min: number, max: number): number => min + Math.floor(next() * (max - min + 1));
  return {
    next,
    int,
    chance: (probability) => next() < probability,
    pick: (of) => of[Math.floor(next() * of.length)] ?? of[0],
  };
}

/** sfc32 (Chris Doty-Humphrey, PractRand, public domain), seeded by four FNV-1a hashes of a text. */
function sfc32(text: string): () => number {
  let [a, b, c, d] = [0x811c9dc5, 0x9e3779b9, 0x85ebca6b, 0xc2b2ae35].map((basis) => hashOf(text, basis)) as [
    number,
    number,
    number,
    number,
  ];
  const next = (): number => {
    const sum = (((a + b) | 0) + d) | 0;
    d = (d + 1) | 0;
    a = b ^ (b >>> 9);
    b = (c + (c << 3)) | 0;
    c = ((c << 21) | (c >>> 11)) + sum;
    c |= 0;
    return (sum >>> 0) / 2 ** 32;
  };
  // Near seeds differ from the first draw on only after some rounds.
  for (let i = 0; i < 12; i++) next();
  return next;
}

function hashOf(text: string, basis: number): number {
  let hash = basis;
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193);
  return hash | 0;
}
