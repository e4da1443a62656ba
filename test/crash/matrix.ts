/**
 * The crash matrix: at every named crash point, before it and after it, a real coordinator dies under a mixed workload,
 * starts again, settles, and is judged from the banks' own ledgers.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { CrashMoment, CrashPoint } from '../../lib/src/util/crash-point.ts';
import { openBanks } from './bank.ts';
import { CoordinatorProcess } from './coordinator-process.ts';
import { judge } from './judge.ts';
import { seeded } from './seeded.ts';
import { allSettled } from './statuses.ts';
import { Workload } from './workload.ts';

/**
 * When the coordinator is armed.
 * - `fresh`: from its first start, on a file that does not exist.
 * - `recovering`: from the start after a kill, with transactions under way.
 * - `stopping`: as `fresh`, and after a while it is told to stop.
 */
export type Scene = 'fresh' | 'recovering' | 'stopping';

export interface Case {
  readonly point: CrashPoint;
  readonly moment: CrashMoment;
  readonly scene: Scene;
  /** How often the point is passed until it is the one. */
  readonly nth: number;
}

type Reach = { readonly [S in Scene]?: readonly number[] };

/** Where each point is reached, and which passes of it are worth a death: the first ones serve the opening. */
const reaches: { readonly [P in CrashPoint]: Reach } = {
  'api.submit': { fresh: [5] },
  'api.register': { fresh: [2] },
  'api.commit': { fresh: [1] },
  'api.abort': { fresh: [1] },
  'api.get': { fresh: [1] },
  'api.print': { fresh: [9] },
  'engine.begin': { fresh: [7] },
  'engine.decide': { fresh: [3] },
  'engine.adopt': { fresh: [1] },
  'engine.claim': { fresh: [1], recovering: [1] },
  'engine.take-over': { recovering: [2] },
  'engine.prune': { fresh: [1] },
  'engine.drain': { stopping: [1] },
  'engine.hand-over': { stopping: [1] },
  'runner.insert': { fresh: [4] },
  'runner.decide': { fresh: [3] },
  'runner.save': { fresh: [2, 11], recovering: [2] },
  'runner.give-back': { fresh: [1], stopping: [1] },
  'runner.stands': { fresh: [3], recovering: [1] },
  'runner.call': { fresh: [1, 10], recovering: [2] },
  'runner.answer': { fresh: [1, 10] },
  'runner.retry': { fresh: [1] },
  'runner.wake': { fresh: [1] },
  'runner.recover': { recovering: [2] },
  'group-commit.commit': { fresh: [1, 12] },
  'group-commit.settle': { fresh: [5] },
  'lease.join': { fresh: [1], recovering: [1] },
  'lease.renew': { fresh: [2] },
  'lease.leave': { stopping: [1] },
  'sqlite.begin': { fresh: [9] },
  'sqlite.commit': { fresh: [1, 9], recovering: [2] },
  'sqlite.insert': { fresh: [3] },
  'sqlite.update': { fresh: [3] },
  'sqlite.touch': { fresh: [8] },
  'sqlite.reply': { fresh: [1, 9] },
  'sqlite.take': { recovering: [2] },
  'sqlite.sweep': { recovering: [1] },
  'sqlite.join': { fresh: [1] },
  'sqlite.renew': { fresh: [1] },
  'sqlite.leave': { stopping: [1] },
  'sqlite.prune': { fresh: [1] },
  'sqlite.lock': { fresh: [1], recovering: [1] },
  'sqlite.create': { fresh: [1] },
  'sqlite.migrate': { fresh: [1] },
  'sqlite.rename': { fresh: [1] },
  'sqlite.configure': { recovering: [1] },
  'sqlite.verify': { recovering: [1] },
  'sqlite.forget-leases': { recovering: [1] },
  'sqlite.checkpoint': { stopping: [1] },
  'sqlite.close': { stopping: [1] },
};

export const cases: readonly Case[] = Object.entries(reaches).flatMap(([point, reach]) =>
  (['before', 'after'] as const).flatMap((moment) =>
    Object.entries(reach).flatMap(([scene, nths]) =>
      nths.map((nth) => ({ point: point as CrashPoint, moment, scene: scene as Scene, nth })),
    ),
  ),
);

/** One line for each broken promise; that the point was not reached is one too. */
export async function runCase({ point, moment, scene, nth }: Case): Promise<readonly string[]> {
  const folder = mkdtempSync(join(tmpdir(), 'settle-matrix-'));
  const draw = seeded(nth, `${point}:${moment}:${scene}`);
  let hanging = scene === 'recovering';
  let hung = 0;
  const banks = await openBanks(folder, {
    loseAnswer: () => draw() < 0.05,
    hang: () => {
      const hangs = hanging && draw() < 0.5;
      if (hangs) hung++;
      return hangs;
    },
  });
  const prunes = point === 'sqlite.prune';
  const flags = ['--lease-ms', '500', '--drain-ms', '300', ...(prunes ? ['--retention-max', '3'] : [])];
  const coordinator = await CoordinatorProcess.at(join(folder, 'settle.db'), { flags });
  // Longer than the coordinator keeps in memory what waits for its producer.
  const slowMs = point === 'engine.adopt' || point === 'runner.give-back' ? 5_500 : 50;
  const workload = new Workload({
    slowMs,
    url: coordinator.url,
    banks,
    seed: nth,
    clients: 8,
    checkAfterMs: 200,
    producersDie: 0.4,
  });
  try {
    if (scene === 'recovering') {
      await coordinator.start();
      // Two of one transaction may hang at once; there must be some to recover.
      while (hung < 4) await sleep(10);
      await coordinator.end('SIGKILL');
      hanging = false;
    }
    const started = await coordinator.tryToStart({ SETTLE_CRASH_AT: `${point}:${moment}:${nth}` });
    if (started.kind === 'ready' && scene === 'stopping') {
      await sleep(100);
      void coordinator.end('SIGTERM');
    }
    const how = await Promise.race([coordinator.exited, sleep(reachedWithinMs, 'still alive')]);
    if (how !== 'SIGKILL') return [`${point}:${moment} was not reached: ${how}; ${coordinator.errors}`];
    await coordinator.start();
    await workload.finish();
    const statuses = await allSettled(coordinator.url);
    // What was pruned had ended: of that, the client's word has to do.
    const wasTold = (gid: string): string | undefined => {
      const answer = workload.told.get(gid)?.answer;
      return prunes && (answer === 'committed' || answer === 'aborted') ? answer : undefined;
    };
    const { violations } = judge(banks, workload.told, (gid) => statuses.get(gid) ?? wasTold(gid), {
      prunes,
    });
    return violations;
  } finally {
    await workload.close();
    await coordinator.end('SIGKILL');
    await banks.close();
    rmSync(folder, { recursive: true });
  }
}

const reachedWithinMs = 12_000;
