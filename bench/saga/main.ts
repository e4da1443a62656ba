/**
 * bench/saga: a saga of two HTTP steps, durable on SQLite; the client submits and waits for the outcome.
 * Client, coordinator and participants are separate processes. All contenders take short turns, round after round, so
 * that a machine that is slow for a minute is slow for all of them; the ratio to the reference is what counts.
 *
 *   npm run bench -- saga [--rounds 9] [--seconds 4] [--in-flight 1,64,256] [--peers restate,dbos]
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { type Child, measureIn, startModule } from '../harness/child.ts';
import type { Measured } from '../harness/load.ts';
import { fixed, machine, table, whole } from '../harness/report.ts';
import { startServe } from '../harness/serve.ts';
import type { Peer } from './peers/peer.ts';
import { openPeers } from './peers.ts';

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '9' },
    seconds: { type: 'string', default: '4' },
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
  /** Undefined for one that is left out. */
  measure(inFlight: number): Promise<Measured | undefined>;
  /** After the last round of a level: the next one starts afresh. */
  stop(): Promise<void>;
}

const peers = await openPeers(values.peers.split(',').filter((name) => name !== ''));
console.log(
  `bench saga: ${machine()}; ${rounds} rounds of ${durationMs / 1_000} s, the first ${warmUpMs / 1_000} s not counted`,
);
const participants = await startModule(new URL('participants.ts', import.meta.url), []);

const contenders: readonly Contender[] = [
  coordinator('reference', 'stored', (folder) =>
    startModule(new URL('reference.ts', import.meta.url), [join(folder, 'reference.db')]),
  ),
  coordinator('settle', 'stored', (folder) => startServe(join(folder, 'settle.db'))),
  coordinator('settle, no barrier', 'plain', (folder) => startServe(join(folder, 'settle.db'))),
  ...peers.ready.map(beside),
];
/** Peers that gave no figures, with the reason; ours always do, or the bench fails. */
const leftOut = new Map(peers.missing.map(({ name, reason }) => [name, reason]));

const results = new Map<string, Measured[]>();
const total = rounds * levels.length * contenders.length;
let done = 0;

for (const inFlight of levels) {
  for (let round = 0; round < rounds; round++) {
    for (const contender of contenders) {
      done++;
      const measured = await contender.measure(inFlight);
      if (measured === undefined) continue;
      const key = `${contender.name} ${inFlight}`;
      results.set(key, [...(results.get(key) ?? []), measured]);
      console.log(
        `${done}/${total}  ${key}: ${whole(measured.perSecond)}/s  p99 ${fixed(measured.p99Ms)} ms`,
      );
    }
  }
  for (const contender of contenders) await contender.stop();
}
await participants.stop();

console.log('\n' + report());
for (const { name, about } of peers.ready) console.log(`\n${name}: ${about}`);
for (const [name, reason] of leftOut) console.log(`\n${name} was left out: ${reason}`);

function coordinator(
  name: string,
  kind: 'stored' | 'plain',
  start: (folder: string) => Promise<Child>,
): Contender {
  let running: { readonly child: Child; readonly folder: string } | undefined;
  return {
    name,
    async measure(inFlight) {
      if (running === undefined) {
        const folder = mkdtempSync(join(tmpdir(), 'settle-bench-'));
        running = { child: await start(folder), folder };
      }
      const args = [running.child.url, participants.url, kind, inFlight, durationMs, warmUpMs];
      return measureIn(new URL('client.ts', import.meta.url), args);
    },
    async stop() {
      if (running === undefined) return;
      await running.child.stop();
      rmSync(running.folder, { recursive: true });
      running = undefined;
    },
  };
}

/** Without it the bench goes on: what was measured so far is not to be lost because of somebody else. */
function beside(peer: Peer): Contender {
  const measure = async (inFlight: number): Promise<Measured | undefined> => {
    if (leftOut.has(peer.name)) return undefined;
    try {
      return await peer.measure({ participants: participants.url, inFlight, durationMs, warmUpMs });
    } catch (error) {
      leftOut.set(peer.name, error instanceof Error ? error.message : String(error));
      return undefined;
    }
  };
  return { name: peer.name, measure, stop: () => Promise.resolve() };
}

function report(): string {
  const rows = [
    ['in flight', 'contender', 'sagas/s', 'of reference', 'p50 ms', 'p99 ms', 'p99 of reference'],
  ];
  for (const inFlight of levels) {
    const references = measuredOf(`reference ${inFlight}`);
    for (const { name } of contenders) {
      if (leftOut.has(name)) continue;
      const all = measuredOf(`${name} ${inFlight}`);
      const ours = medianBy(all, ({ perSecond }) => perSecond);
      const share = medianRatio(all, references, ({ perSecond }) => perSecond);
      const tail = medianRatio(all, references, ({ p99Ms }) => p99Ms);
      rows.push([
        String(inFlight),
        name,
        whole(ours.perSecond),
        `${fixed(share * 100, 0)} %`,
        fixed(ours.p50Ms),
        fixed(ours.p99Ms),
        `${fixed(tail)}x`,
      ]);
    }
    for (const name of leftOut.keys()) rows.push([String(inFlight), name, 'left out']);
  }
  return table(rows);
}

function measuredOf(key: string): readonly Measured[] {
  const measured = results.get(key);
  if (measured === undefined) throw new Error(`nothing was measured for ${key}`);
  return measured;
}

/** Round by round, since within a round the machine is about the same for all. */
function medianRatio(
  ours: readonly Measured[],
  references: readonly Measured[],
  of: (measured: Measured) => number,
): number {
  const ratios = ours.flatMap((measured, round) => {
    const reference = references[round];
    return reference === undefined ? [] : [of(measured) / of(reference)];
  });
  return medianBy(ratios, (ratio) => ratio);
}

/** The one in the middle, whole, so that its figures belong together. */
function medianBy<T>(all: readonly T[], of: (one: T) => number): T {
  const middle = all.toSorted((a, b) => of(a) - of(b))[Math.floor(all.length / 2)];
  if (middle === undefined) throw new Error('nothing was measured');
  return middle;
}
