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
  const pool = new Pool(load.url, { connections: load.inFlight, pipelining: 1 });
  const startedMs = performance.now();
  const countFromMs = startedMs + load.warmUpMs;
  const untilMs = startedMs + load.durationMs;
  const latencies: number[] = [];
  let n = 0;

  const loop = async (): Promise<void> => {
    for (;;) {
      const sentMs = performance.now();
      if (sentMs >= untilMs) return;
      const { statusCode, body } = await pool.request({
        path: load.path,
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: load.body(n++),
      });
      load.check(statusCode, await body.text());
      const endedMs = performance.now();
      if (sentMs >= countFromMs && endedMs <= untilMs) latencies.push(endedMs - sentMs);
    }
  };

  await Promise.all(Array.from({ length: load.inFlight }, loop));
  await pool.close();
  return summary(latencies, load.durationMs - load.warmUpMs);
}

export function summary(latenciesMs: readonly number[], durationMs: number): Measured {
  const sorted = Float64Array.from(latenciesMs).sort();
  const at = (share: number): number => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? NaN;
  return { perSecond: (sorted.length / durationMs) * 1_000, p50Ms: at(0.5), p99Ms: at(0.99), count: sorted.length };
}
