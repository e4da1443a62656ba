/**
 * bench/saga: a saga of two HTTP steps, durable on SQLite; the client submits and waits for the outcome.
 * Client, coordinator and participants are separate processes. The reference runs in the same run, each figure is
 * the median of the rounds, and the ratio is what counts.
 *
 *   npm run bench -- saga [--rounds 3] [--seconds 8] [--in-flight 1,64,256] [--peers restate,dbos]
 */
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { type Child, startModule } from '../harness/child.ts';
import type { Measured } from '../harness/load.ts';
import { fixed, machine, table, whole } from '../harness/report.ts';
import { startServe } from '../harness/serve.ts';
import { measurePeers } from './peers.ts';

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '3' },
    seconds: { type: 'string', default: '8' },
    'in-flight': { type: 'string', default: '1,64,256' },
    peers: { type: 'string', default: '' },
  },
});
const rounds = Number(values.rounds);
const durationMs = Number(values.seconds) * 1_000;
const warmUpMs = durationMs * 0.3;
const levels = values['in-flight'].split(',').map(Number);

interface Contender {
  readonly name: string;
  readonly kind: 'stored' | 'plain';
  start(folder: string): Promise<Child>;
}

const contenders: readonly Contender[] = [
  {
    name: 'reference',
    kind: 'stored',
    start: (folder) => startModule(new URL('reference.ts', import.meta.url), [join(folder, 'reference.db')]),
  },
  { name: 'settle', kind: 'stored', start: (folder) => startServe(join(folder, 'settle.db')) },
  { name: 'settle, no barrier', kind: 'plain', start: (folder) => startServe(join(folder, 'settle.db')) },
];

console.log(`bench saga: ${machine()}; ${rounds} rounds of ${durationMs / 1_000} s, the first ${warmUpMs / 1_000} s not counted`);
const participants = await startModule(new URL('participants.ts', import.meta.url), []);
const results = new Map<string, Measured[]>();
const total = rounds * levels.length * contenders.length;
let done = 0;

for (let round = 0; round < rounds; round++) {
  for (const inFlight of levels) {
    for (const contender of contenders) {
      const measured = await measureOnce(contender, inFlight);
      const key = `${contender.name} ${inFlight}`;
      results.set(key, [...(results.get(key) ?? []), measured]);
      console.log(`${++done}/${total}  ${key}: ${whole(measured.perSecond)}/s  p99 ${fixed(measured.p99Ms)} ms`);
    }
  }
}
await participants.stop();

console.log('\n' + report());
if (values.peers !== '') console.log('\n' + (await measurePeers(values.peers.split(','), levels, durationMs)));

async function measureOnce(contender: Contender, inFlight: number): Promise<Measured> {
  const folder = mkdtempSync(join(tmpdir(), 'settle-bench-'));
  const coordinator = await contender.start(folder);
  try {
    return await load(coordinator.url, contender.kind, inFlight);
  } finally {
    await coordinator.stop();
    rmSync(folder, { recursive: true });
  }
}

async function load(url: string, kind: string, inFlight: number): Promise<Measured> {
  const args = [url, participants.url, kind, inFlight, durationMs, warmUpMs].map(String);
  const client = fork(fileURLToPath(new URL('client.ts', import.meta.url)), args);
  const failed = once(client, 'exit').then(([code]) => {
    throw new Error(`the load ended with ${code}`);
  });
  failed.catch(() => undefined);
  const [measured] = (await Promise.race([once(client, 'message'), failed])) as [Measured];
  return measured;
}

function report(): string {
  const rows = [['in flight', 'contender', 'sagas/s', 'of reference', 'p50 ms', 'p99 ms', 'p99 of reference']];
  for (const inFlight of levels) {
    const reference = median(`reference ${inFlight}`);
    for (const { name } of contenders) {
      const ours = median(`${name} ${inFlight}`);
      const share = `${fixed((ours.perSecond / reference.perSecond) * 100, 0)} %`;
      const tail = `${fixed(ours.p99Ms / reference.p99Ms)}x`;
      rows.push([String(inFlight), name, whole(ours.perSecond), share, fixed(ours.p50Ms), fixed(ours.p99Ms), tail]);
    }
  }
  return table(rows);
}

/** The round whose throughput is the median, whole, so that its figures belong together. */
function median(key: string): Measured {
  const sorted = (results.get(key) ?? []).toSorted((a, b) => a.perSecond - b.perSecond);
  const middle = sorted[Math.floor(sorted.length / 2)];
  if (middle === undefined) throw new Error(`nothing was measured for ${key}`);
  return middle;
}
