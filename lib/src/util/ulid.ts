/** Identifiers of 128 bits that sort by time: 48 bits of milliseconds, 80 of chance (https://github.com/ulid/spec). */

const alphabet = '0123456789ABCDEFGHJKMNPQRSTVWXYZ';
const digits = 16;
const poolBytes = digits * 64;

export interface UlidSources {
  /** Milliseconds since 1970. */
  readonly nowMs: () => number;
  /** Fills the array with random bytes. */
  readonly fill: (bytes: Uint8Array<ArrayBuffer>) => void;
}

/**
 * Makes a generator of ULIDs: 26 characters of Crockford's base 32. Within one millisecond, and while the clock stands
 * before the last one used, each is one more than the one before it, so that they always grow.
 */
export function ulids({ nowMs, fill }: UlidSources): () => string {
  // One call into the system's random source serves many ids.
  const pool = new Uint8Array(poolBytes);
  let poolAt = poolBytes;
  const chance = new Uint8Array(digits);
  let lastMs = -1;
  let time = '';

  function draw(): void {
    if (poolAt === poolBytes) {
      fill(pool);
      poolAt = 0;
    }
    for (let i = 0; i < digits; i++) chance[i] = (pool[poolAt++] ?? 0) & 31;
  }

  function increment(): boolean {
    for (let i = digits - 1; i >= 0; i--) {
      if (chance[i] !== 31) {
        chance[i] = (chance[i] ?? 0) + 1;
        return true;
      }
      chance[i] = 0;
    }
    return false;
  }

  return () => {
    const now = nowMs();
    if (now > lastMs || !increment()) {
      lastMs = Math.max(now, lastMs + 1);
      time = timeOf(lastMs);
      draw();
    }
    let text = time;
    for (const digit of chance) text += alphabet.charAt(digit);
    return text;
  };
}

function timeOf(ms: number): string {
  let text = '';
  let rest = ms;
  for (let i = 0; i < 10; i++) {
    text = alphabet.charAt(rest % 32) + text;
    rest = Math.floor(rest / 32);
  }
  return text;
}
