/**
 * The random kill soak: transfers of all patterns under load while the coordinator is killed with SIGKILL at random
 * moments and started again; then everything settles, and the banks' ledgers are judged.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { openBanks } from './bank.ts';
import { CoordinatorProcess } from './coordinator-process.ts';
import { judge, type Verdict } from './judge.ts';
import { seeded } from './seeded.ts';
import { allSettled, countBy } from './statuses.ts';
import { Workload } from './workload.ts';

export interface SoakOptions {
  readonly seed: number;
  readonly kills: number;
  /** Clients, each with one transaction at a time. */
  readonly clients: number;
  /** Milliseconds from readiness to the next kill, at most. */
  readonly killWithinMs: number;
  /** Go on after the kills until this many were submitted. */
  readonly transactionsMin?: number;
  readonly onProgress?: (progress: Progress) => void;
}

/** At a kill: of the coordinator that is about to die. */
export interface Progress {
  readonly kills: number;
  readonly transactions: number;
  readonly rssMb: number;
  readonly handles: number;
}

export interface SoakResult extends Verdict {
  readonly kills: number;
  readonly acknowledged: number;
  readonly byStatus: Readonly<Record<string, number>>;
  readonly seconds: number;
  /** At each kill, in order. */
  readonly progress: readonly Progress[];
  /** Of the last coordinator, once everything has settled. */
  readonly atRest: { readonly rssMb: number; readonly handles: number } | undefined;
}

export async function soak(options: SoakOptions): Promise<SoakResult> {
  const startedMs = performance.now();
  const folder = mkdtempSync(join(tmpdir(), 'settle-soak-'));
  const faults = seeded(options.seed, 'faults');
  const banks = await openBanks(folder, { loseAnswer: () => faults() < 0.02 });
  const coordinator = await CoordinatorProcess.start(join(folder, 'settle.db'));
  const { seed, clients } = options;
  const workload = new Workload({ url: coordinator.url, banks, seed, clients });
  try {
    const progress = await killAtRandom(coordinator, options, () => workload.told.size);
    while (workload.told.size < (options.transactionsMin ?? 0)) await sleep(50);
    await workload.finish();
    const statuses = await allSettled(coordinator.url);
    const verdict = judge(banks, workload.told, (gid) => statuses.get(gid));
    return {
      ...verdict,
      kills: options.kills,
      acknowledged: workload.acknowledged,
      byStatus: countBy(statuses.values()),
      seconds: Math.round((performance.now() - startedMs) / 1_000),
      progress,
      atRest: coordinator.usage(),
    };
  } finally {
    await workload.close();
    await coordinator.end('SIGKILL');
    await banks.close();
    rmSync(folder, { recursive: true });
  }
}

async function killAtRandom(
  coordinator: CoordinatorProcess,
  { seed, kills, killWithinMs, onProgress }: SoakOptions,
  transactions: () => number,
): Promise<readonly Progress[]> {
  const draw = seeded(seed, 'kills');
  const all: Progress[] = [];
  for (let n = 1; n <= kills; n++) {
    await sleep(draw() * killWithinMs);
    const { rssMb, handles } = coordinator.usage() ?? { rssMb: 0, handles: 0 };
    const progress = { kills: n, transactions: transactions(), rssMb, handles };
    await coordinator.end('SIGKILL');
    await coordinator.start();
    all.push(progress);
    onProgress?.(progress);
  }
  return all;
}
