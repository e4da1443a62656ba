import { Pool } from 'undici';

export interface Load {
  readonly url: string;
  readonly path: string;
  /** Requests under way at any time (closed loop). */
  readonly inFlight: number;
  /** Milliseconds; the first `warmUpMs` are not counted. */
  readonly durationMs: number;
  readonly warmUpMs: number;
  body(n: number): string;
  /** Throws unless the answer is the one expected. */
  check(status: number, body: string): void;
}

export interface Measured {
  readonly perSecond: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly count: number;
}

/** Keeps `inFlight` requests under way for the whole time and measures each. */
export async function measure(load: Load): Promise<Measured> {
  const { path } = load;
  const headers = { 'content-type': 'application/json' };
  const pool = new Pool(load.url, { connections: load.inFlight, pipelining: 1 });
  const measured = await closedLoop(load, async (n) => {
    const { statusCode, body } = await pool.request({ path, method: 'POST', headers, body: load.body(n) });
    load.check(statusCode, await body.text());
  });
  await pool.close();
  return measured;
}

/** The loop itself, for what is not a request: `once` is under way `inFlight` times, and ends when the work is done. */
export async function closedLoop(
  { inFlight, durationMs, warmUpMs }: Pick<Load, 'inFlight' | 'durationMs' | 'warmUpMs'>,
  once: (n: number) => Promise<void>,
): Promise<Measured> {
  const startedMs = performance.now();
  const countFromMs = startedMs + warmUpMs;
  const untilMs = startedMs + durationMs;
  const latencies: number[] = [];
  let n = 0;

  const loop = async (): Promise<void> => {
    for (;;) {
      const sentMs = performance.now();
      if (sentMs >= untilMs) return;
      await once(n++);
      const endedMs = performance.now();
      if (sentMs >= countFromMs && endedMs <= untilMs) latencies.push(endedMs - sentMs);
    }
  };

  await Promise.all(Array.from({ length: inFlight }, loop));
  return summary(latencies, durationMs - warmUpMs);
}

export function summary(latenciesMs: readonly number[], durationMs: number): Measured {
  const sorted = Float64Array.from(latenciesMs).toSorted();
  const at = (share: number): number =>
    sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? NaN;
  return {
    perSecond: (sorted.length / durationMs) * 1_000,
    p50Ms: at(0.5),
    p99Ms: at(0.99),
    count: sorted.length,
  };
}
