/**
 * `npm run sim`: many seeds on two processes; or one, told as a story.
 *
 *   npm run sim                                  5,000 seeds and the regressions; every rare thing must be met
 *   npm run sim -- --seeds 100000 --from 1       more of them
 *   npm run sim -- --seed 7 [--mask a,b] [--transactions N] [--safety MS]
 *   npm run sim -- --seed 7 --trace [gid]        what happened to one transaction, or to all
 *   npm run sim -- --messages 7                  one seed of messages: outbox, relays, broker, consumers
 *   npm run sim -- --bugs [name ...]             after how many seeds each planted bug is found
 */
import { fork, type ChildProcess } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { huntAll } from './bugs.ts';
import { runDelivery } from './delivery/run.ts';
import { checkers } from './checkers/index.ts';
import { mustMeet } from './coverage.ts';
import { runSeed, type RunResult } from './run.ts';
import { shrink } from './shrink.ts';
import { BadInput, parseCount, parseRegressions, parseSeed, parseSpec, printSpec } from './spec-text.ts';
import { story } from './story.ts';
import type { SeedSpec } from './swarm.ts';
import type { Report, Task } from './worker.ts';

const seedsDefault = 5_000;
const processesDefault = 2;
/** A run of messages takes as long as so many of transactions. */
const seedsPerDelivery = 20;
/** No seed takes this long; one that does loops without letting virtual time pass. */
const hangMs = 60_000;
/** Failures that are shrunk and shown; the others are counted. */
const shownMax = 3;

try {
  process.exitCode = await main(process.argv.slice(2));
} catch (error) {
  if (!(error instanceof BadInput)) throw error;
  console.error(error.message);
  process.exitCode = 2;
}

async function main(argv: readonly string[]): Promise<number> {
  const [first, ...names] = argv;
  if (first === '--bugs') return huntAll(names);
  if (first === '--messages') return oneOfMessages(parseSeed(names[0] ?? ''));
  const { trace, options, spec } = readArguments(argv);
  return spec === undefined ? many(options) : one(spec, trace);
}

// ---- one seed

async function one(spec: SeedSpec, trace: { readonly gid: string | undefined } | undefined): Promise<number> {
  console.log(`seed ${spec.seed}`);
  const result = await runSeed(spec, { checkers });
  if (trace !== undefined) for (const line of story(result.history, trace.gid)) console.log(line);
  describe(result);
  return result.violations.length === 0 ? 0 : 1;
}

function describe({ scenario, history, violations, hash, events }: RunResult): void {
  const { kind, faults, coordinators, participants, transactions } = scenario;
  console.log(
    `${kind}: ${[...faults].map(([name, strength]) => `${name} ${strength.toFixed(2)}`).join(', ') || 'none'}`,
  );
  console.log(
    `${coordinators} coordinators, ${participants} participants, ${transactions} transactions; ` +
      `healed at ${seconds(history.healedAt)}, ended at ${seconds(history.endedAt)}, ${events} events`,
  );
  for (const { invariant, gid, what } of violations) console.log(`BROKEN ${invariant} ${gid ?? ''} ${what}`);
  console.log(`trace hash ${hash}`);
}

async function oneOfMessages(seed: number): Promise<number> {
  const { violations, history, hash, events, virtualMs } = await runDelivery(seed);
  const { committed, log, effects } = history;
  console.log(
    `${committed.length} messages committed, ${log.length} published, ${effects.length} effects; ` +
      `ended at ${seconds(virtualMs)}, ${events} events`,
  );
  for (const { fact, what } of violations) console.log(`BROKEN ${fact}: ${what}`);
  console.log(`trace hash ${hash}`);
  return violations.length === 0 ? 0 : 1;
}

function seconds(ms: number): string {
  return `${(ms / 1_000).toFixed(1)} s`;
}

// ---- many

interface Options {
  readonly from: number;
  readonly seeds: number;
  readonly processes: number;
  readonly hashes: boolean;
}

async function many({ from, seeds, processes, hashes }: Options): Promise<number> {
  const regressions = parseRegressions(readFileSync(new URL('../regressions.txt', import.meta.url), 'utf8'));
  console.log(
    `sim: seeds ${from} to ${from + seeds - 1}, after ${regressions.length} regressions, on ${processes} processes`,
  );
  const startedMs = performance.now();
  const tasks = tasksOf(regressions, from, seeds);
  const total = { runs: 0, events: 0, virtualMs: 0, transactions: 0, committed: 0, twice: 0, mismatches: 0 };
  const met = new Set<string>();
  const failed: Report[] = [];
  await onProcesses(processes, tasks, (report) => {
    total.runs++;
    total.events += report.events;
    total.virtualMs += report.virtualMs;
    total.transactions += report.transactions;
    total.committed += report.committed;
    for (const name of report.met) met.add(name);
    if (report.hashAgain !== undefined) total.twice++;
    if (report.hashAgain !== undefined && report.hashAgain !== report.hash) {
      total.mismatches++;
      console.log(`MISMATCH ${printReport(report)}: ${report.hash}, then ${report.hashAgain}`);
    }
    if (hashes) console.log(`hash ${report.spec.seed} ${report.hash}`);
    if (report.violations.length === 0) return;
    failed.push(report);
    console.log(`BROKEN ${printReport(report)}: ${report.violations[0] ?? ''}`);
  });
  const tookS = (performance.now() - startedMs) / 1_000;
  console.log(
    `${total.runs} runs, ${total.transactions} transactions (${total.committed} committed), ${total.events} events, ` +
      `${(total.virtualMs / 3_600_000).toFixed(1)} hours of virtual time in ${tookS.toFixed(1)} s: ` +
      `${Math.round(total.runs / tookS)} runs/s, ${Math.round(total.events / tookS)} events/s`,
  );
  console.log(`${total.twice} runs repeated, ${total.mismatches} with another hash`);
  // A few seeds cannot meet everything; a whole run must.
  const missing = seeds >= seedsDefault ? mustMeet.filter((name) => !met.has(name)) : [];
  for (const name of missing) console.log(`NEVER MET ${name}`);
  console.log(
    `${met.size} kinds of rare events met${seeds >= seedsDefault ? `, ${missing.length} of ${mustMeet.length} named ones missed` : ''}`,
  );
  const shown = failed.filter(({ of, hash }) => of === 'transactions' && hash !== '').slice(0, shownMax);
  for (const report of shown) await show(report);
  if (failed.length > 0) console.log(`${failed.length} of ${total.runs} runs failed`);
  return failed.length + total.mismatches + missing.length === 0 ? 0 : 1;
}

function tasksOf(regressions: readonly SeedSpec[], from: number, seeds: number): Task[] {
  return [
    ...regressions.map((spec) => ({ of: 'transactions' as const, spec, twice: false })),
    ...Array.from({ length: seeds }, (_, i) => ({
      of: 'transactions' as const,
      spec: { seed: from + i },
      twice: i % 100 === 0,
    })),
    ...Array.from({ length: Math.ceil(seeds / seedsPerDelivery) }, (_, i) => ({
      of: 'messages' as const,
      spec: { seed: from + i },
      twice: i % 20 === 0,
    })),
  ];
}

/** What replays it. */
function printReport({ of, spec }: Report): string {
  return of === 'messages' ? `--messages ${spec.seed}` : printSpec(spec);
}

function run(spec: SeedSpec): Promise<RunResult> {
  return runSeed(spec, { checkers });
}

async function show(report: Report): Promise<void> {
  const smallest = await shrink(await run(report.spec), run);
  const gid = smallest.violations.find((violation) => violation.gid !== undefined)?.gid;
  console.log(`\nseed ${report.spec.seed}, shrunk:`);
  describe(smallest);
  console.log(`replay: npm run sim -- ${printSpec(smallest.spec)} --trace ${gid ?? ''}`.trimEnd());
}

/** Hands every process the next task as it finishes one. */
async function onProcesses(count: number, tasks: Task[], done: (report: Report) => void): Promise<void> {
  const next = tasks[Symbol.iterator]();
  await Promise.all(Array.from({ length: count }, () => serve(next, done)));
}

async function serve(next: Iterator<Task>, done: (report: Report) => void): Promise<void> {
  for (let worker: ChildProcess | undefined; ;) {
    const step = next.next();
    if (step.done === true) {
      worker?.disconnect();
      return;
    }
    worker ??= fork(new URL('worker.ts', import.meta.url));
    const report = await runOn(worker, step.value);
    done(report);
    if (report.hash === '') worker = undefined;
  }
}

/** A worker that says nothing any more is ended, and its seed reported. */
function runOn(worker: ChildProcess, task: Task): Promise<Report> {
  return new Promise((resolve) => {
    const end = (report: Report): void => {
      clearTimeout(timer);
      worker.off('message', end);
      worker.off('exit', exited);
      resolve(report);
    };
    const lost = (why: string): void => {
      const nothing = {
        events: 0,
        virtualMs: 0,
        transactions: 0,
        committed: 0,
        met: [],
        hashAgain: undefined,
      };
      end({ of: task.of, spec: task.spec, violations: [`world ${why}`], hash: '', ...nothing });
    };
    const exited = (code: number | null): void => lost(`its process ended with ${code ?? 'a signal'}`);
    const timer = setTimeout(() => {
      worker.off('exit', exited);
      worker.kill('SIGKILL');
      lost(`nothing came of it within ${hangMs / 1_000} s: something loops without letting time pass`);
    }, hangMs);
    worker.on('message', end);
    worker.on('exit', exited);
    worker.send(task);
  });
}

// ---- arguments

function readArguments(argv: readonly string[]): {
  readonly trace: { readonly gid: string | undefined } | undefined;
  readonly options: Options;
  readonly spec: SeedSpec | undefined;
} {
  let trace: { readonly gid: string | undefined } | undefined;
  let hashes = false;
  const options = new Map<string, number>();
  const specWords: string[] = [];
  for (let i = 0; i < argv.length; i++) {
    const word = argv[i] ?? '';
    const value = argv[i + 1];
    if (word === '--hashes') hashes = true;
    else if (word === '--trace') {
      const gid = value === undefined || value.startsWith('--') ? undefined : value;
      trace = { gid };
      if (gid !== undefined) i++;
    } else if (word === '--seeds' || word === '--from' || word === '--processes') {
      options.set(word, parseCount(word, value ?? ''));
      i++;
    } else {
      specWords.push(word, ...(value === undefined ? [] : [value]));
      i++;
    }
  }
  const spec = specWords.length === 0 ? undefined : parseSpec(specWords);
  if (trace !== undefined && spec === undefined)
    throw new BadInput('--trace tells of one seed; name it with --seed');
  return {
    trace,
    spec,
    options: {
      from: options.get('--from') ?? 1,
      seeds: options.get('--seeds') ?? seedsDefault,
      processes: Math.max(1, options.get('--processes') ?? processesDefault),
      hashes,
    },
  };
}
