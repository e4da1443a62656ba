/** Chance from a seed: the same seed and the same keys give the same numbers, whatever happens in between. */

/** Uniform in [0, 1). */
export type Dice = () => number;

export function createDice(seed: number, ...keys: readonly (string | number)[]): Dice {
  let state = hash(seed, keys.join('/'));
  // Mulberry32: https://gist.github.com/tommyettinger/46a874533244883189143505d203312c
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** A whole number from `from` to `to`, both included. */
export function between(dice: Dice, from: number, to: number): number {
  return from + Math.floor(dice() * (to - from + 1));
}

export function pick<T>(dice: Dice, items: readonly T[]): T {
  const item = items[Math.floor(dice() * items.length)];
  if (item === undefined) throw new RangeError('nothing to pick from');
  return item;
}

/** FNV-1a, then mixed so that neighbouring keys share nothing. */
function hash(seed: number, text: string): number {
  let value = 0x811c9dc5 ^ seed;
  for (let i = 0; i < text.length; i++) value = Math.imul(value ^ text.charCodeAt(i), 0x01000193);
  value = Math.imul(value ^ (value >>> 16), 0x7feb352d);
  value = Math.imul(value ^ (value >>> 15), 0x846ca68b);
  return value ^ (value >>> 16);
}
