/** Draws from [0, 1), always the same ones for a seed and a stream. */
export type Draw = () => number;

/** mulberry32 (Tommy Ettinger, public domain), seeded by FNV-1a over seed and stream. */
export function seeded(seed: number, stream: string): Draw {
  let state = 0x811c9dc5;
  for (const character of `${seed}/${stream}`) state = Math.imul(state ^ character.charCodeAt(0), 0x01000193);
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
