/**
 * bench/growth: memory, and the cost of a submit, while finished transactions pile up in the store. A store of one
 * file, sagas of two functions in the same process, 256 in flight; after each part, one at a time for the latency alone.
 *
 *   npm run bench -- growth [--sagas 1000000] [--parts 10]
 */
import { mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { measureEmbedded, openBench, runOne } from '../embedded/saga.ts';
import { machine, table, fixed, whole } from '../harness/report.ts';

const { values } = parseArgs({
  options: { sagas: { type: 'string', default: '1000000' }, parts: { type: 'string', default: '10' } },
});
const parts = Number(values.parts);
const perPart = Math.floor(Number(values.sagas) / parts);

console.log(`bench growth: ${machine()}`);
const folder = mkdtempSync(join(tmpdir(), 'settle-bench-'));
const path = join(folder, 'settle.db');
const coordinator = await openBench(path);
const rows = [['finished', 'sagas/s', 'p50 alone ms', 'RSS MB', 'heap MB', 'file MB']];
try {
  await sample(0, NaN);
  for (let part = 1; part <= parts; part++) {
    const startedMs = performance.now();
    let left = perPart;
    const loop = async (): Promise<void> => {
      while (left-- > 0) await runOne(coordinator);
    };
    await Promise.all(Array.from({ length: 256 }, loop));
    await sample(part * perPart, (perPart / (performance.now() - startedMs)) * 1_000);
  }
} finally {
  await coordinator.close();
  rmSync(folder, { recursive: true });
}
console.log('\n' + table(rows));

async function sample(finished: number, perSecond: number): Promise<void> {
  const alone = await measureEmbedded(coordinator, { inFlight: 1, durationMs: 1_500, warmUpMs: 300 });
  globalThis.gc?.();
  const { rss, heapUsed } = process.memoryUsage();
  const file = mb(statSync(path).size);
  rows.push([whole(finished), whole(perSecond), fixed(alone.p50Ms), mb(rss), mb(heapUsed), file]);
  console.log(rows.at(-1)?.join('  '));
}

function mb(bytes: number): string {
  return whole(bytes / 1_048_576);
}
