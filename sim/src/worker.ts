/** One of the processes that share the seeds of a run. Speaks with main.ts by messages. */
import { checkers } from './checkers/index.ts';
import { runDelivery } from './delivery/run.ts';
import { runSeed } from './run.ts';
import type { SeedSpec } from './swarm.ts';

/** To the worker: run this; `twice` to compare the hashes of two runs. */
export interface Task {
  /** Of transactions that coordinators drive, or of messages from their outbox to their effects. */
  readonly of: 'transactions' | 'messages';
  readonly spec: SeedSpec;
  readonly twice: boolean;
}

/** From the worker. */
export interface Report {
  readonly of: Task['of'];
  readonly spec: SeedSpec;
  readonly violations: readonly string[];
  readonly hash: string;
  /** Of the second run, when there was one. */
  readonly hashAgain: string | undefined;
  readonly events: number;
  readonly virtualMs: number;
  readonly transactions: number;
  readonly committed: number;
  /** Those not told before. */
  readonly met: readonly string[];
}

const told = new Set<string>();

process.on('message', (task: Task) => {
  void (task.of === 'messages' ? deliver(task) : run(task)).then((report) => process.send?.(report));
});
process.on('disconnect', () => process.exit(0));

async function run({ spec, twice }: Task): Promise<Report> {
  const result = await runSeed(spec, { checkers });
  const hashAgain = twice ? (await runSeed(spec, { checkers })).hash : undefined;
  const met = [...result.met].filter((name) => !told.has(name));
  for (const name of met) told.add(name);
  const { rows } = result.history.final;
  return {
    of: 'transactions',
    spec,
    violations: result.violations.map(({ invariant, gid, what }) => `${invariant} ${gid ?? ''} ${what}`),
    hash: result.hash,
    hashAgain,
    events: result.events,
    virtualMs: result.history.endedAt,
    transactions: rows.length,
    committed: rows.filter(({ status }) => status === 'committed').length,
    met,
  };
}

async function deliver({ spec, twice }: Task): Promise<Report> {
  const { violations, hash, events, virtualMs, history } = await runDelivery(spec.seed);
  return {
    of: 'messages',
    spec,
    violations: violations.map(({ fact, what }) => `${fact}: ${what}`),
    hash,
    hashAgain: twice ? (await runDelivery(spec.seed)).hash : undefined,
    events,
    virtualMs,
    transactions: history.committed.length,
    committed: history.committed.length,
    met: [],
  };
}
