/** Which transactions a statement that begins now sees. */
export interface Snapshot {
  /** All before it have ended. */
  readonly xmin: bigint;
  /** None from it on has. */
  readonly xmax: bigint;
  readonly running: ReadonlySet<bigint>;
}

/** Reads the text of `pg_current_snapshot()`: `10:20:10,14,15`. */
export function snapshotOf(text: string): Snapshot {
  const [xmin = '', xmax = '', running = ''] = text.split(':');
  const ids = running === '' ? [] : running.split(',');
  return { xmin: BigInt(xmin), xmax: BigInt(xmax), running: new Set(ids.map(BigInt)) };
}

const round = 2n ** 32n;

/** Whether a transaction, known to be committed or about to be, is visible. The log tells the last 32 bits of its number. */
export function isVisibleIn({ xmin, xmax, running }: Snapshot, xid: number): boolean {
  const inRound = xmax - (xmax % round) + BigInt(xid);
  // The number that is nearest: no transaction lives through half a round.
  const full = [inRound - round, inRound, inRound + round].reduce((a, b) =>
    distance(a, xmax) <= distance(b, xmax) ? a : b,
  );
  return full < xmin || (full < xmax && !running.has(full));
}

function distance(a: bigint, b: bigint): bigint {
  return a < b ? b - a : a - b;
}
