/**
 * bench/embedded: a saga of two functions in the same process, durable on SQLite; closed loop.
 *
 *   npm run bench -- embedded [--seconds 8] [--in-flight 1,64,256]
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { machine, table, fixed, whole } from '../harness/report.ts';
import { measureEmbedded, openBench } from './saga.ts';

const { values } = parseArgs({
  options: {
    seconds: { type: 'string', default: '8' },
    'in-flight': { type: 'string', default: '1,64,256' },
  },
});
const durationMs = Number(values.seconds) * 1_000;

console.log(`bench embedded: ${machine()}; ${values.seconds} s each, the first 30 % not counted`);
const rows = [['in flight', 'sagas/s', 'p50 ms', 'p99 ms']];
for (const inFlight of values['in-flight'].split(',').map(Number)) {
  const folder = mkdtempSync(join(tmpdir(), 'settle-bench-'));
  const coordinator = await openBench(join(folder, 'settle.db'));
  const measured = await measureEmbedded(coordinator, { inFlight, durationMs, warmUpMs: durationMs * 0.3 });
  await coordinator.close();
  rmSync(folder, { recursive: true });
  rows.push([String(inFlight), whole(measured.perSecond), fixed(measured.p50Ms), fixed(measured.p99Ms)]);
}
console.log(table(rows));
