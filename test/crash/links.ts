/**
 * Every way in which a link breaks, on each link of a coordinator, under a mixed workload; then the link heals,
 * everything settles, and the banks' ledgers judge it.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { openBanks } from './bank.ts';
import { CoordinatorProcess } from './coordinator-process.ts';
import { FaultProxy, type Poison } from './fault-proxy.ts';
import { judge, type Verdict } from './judge.ts';
import { allSettled, countBy } from './statuses.ts';
import { Workload } from './workload.ts';

export type Link = 'client-coordinator' | 'coordinator-participant';

export const links: readonly Link[] = ['client-coordinator', 'coordinator-participant'];

/** Beyond the 400 ms that a call may take, and the 600 ms that a client waits for an answer. */
const tooLateMs = 900;

/** A response head of either side is some 200 bytes: some cuts fall into it, some into the body. */
export const poisons: readonly Poison[] = [
  { toxic: { kind: 'latency', ms: 30, jitterMs: 100 } },
  { toxic: { kind: 'latency', ms: tooLateMs, jitterMs: 0 }, share: 0.4 },
  { toxic: { kind: 'bandwidth', bytesPerSecond: 2_000 } },
  { toxic: { kind: 'slice', bytes: 16, pauseMs: 1 } },
  { toxic: { kind: 'slice', bytes: 1, pauseMs: 20 }, direction: 'response', share: 0.5 },
  { toxic: { kind: 'cut', afterBytes: 60 }, direction: 'request', share: 0.5 },
  { toxic: { kind: 'cut', afterBytes: 230 }, direction: 'response' },
  { toxic: { kind: 'reset', afterBytes: 0 }, direction: 'response' },
  { toxic: { kind: 'reset', afterBytes: 700 }, direction: 'response', share: 0.7 },
  { toxic: { kind: 'half-open' }, share: 0.7 },
  { toxic: { kind: 'blackhole' }, direction: 'request' },
  { toxic: { kind: 'blackhole' }, direction: 'response' },
  { toxic: { kind: 'slow-close', ms: 500 } },
  { toxic: { kind: 'down' } },
];

export interface Passed extends Verdict {
  readonly bitten: number;
  readonly committed: number;
  /** Milliseconds from the heal until nothing was open. */
  readonly settledMs: number;
}

const beforeMs = 250;
const poisonedMs = 1_200;
const afterMs = 250;

export async function runLink(link: Link, poison: Poison, seed: number): Promise<Passed> {
  const folder = mkdtempSync(join(tmpdir(), 'settle-links-'));
  const banks = await openBanks(folder, { loseAnswer: () => false });
  const flags = ['--call-timeout-ms', '400', '--keep-alive-ms', '300'];
  const coordinator = await CoordinatorProcess.start(join(folder, 'settle.db'), { flags });
  const proxy = await FaultProxy.start(link === 'client-coordinator' ? coordinator.url : banks.url, seed);
  const workload = new Workload({
    url: link === 'client-coordinator' ? proxy.url : coordinator.url,
    banksUrl: link === 'client-coordinator' ? banks.url : proxy.url,
    banks,
    seed,
    clients: 12,
    checkAfterMs: 300,
    answerWithinMs: 600,
  });
  try {
    await sleep(beforeMs);
    // What concerns new connections alone would otherwise meet none: both sides keep theirs.
    if (poison.toxic.kind === 'half-open') await proxy.poison({ toxic: { kind: 'down' } });
    await proxy.poison(poison);
    await sleep(poisonedMs);
    await proxy.heal();
    const healedMs = performance.now();
    await sleep(afterMs);
    await workload.finish();
    const statuses = await allSettled(coordinator.url);
    const settledMs = performance.now() - healedMs;
    const verdict = judge(banks, workload.told, (gid) => statuses.get(gid));
    const committed = countBy(statuses.values())['committed'] ?? 0;
    return { ...verdict, bitten: proxy.bitten(poison.toxic.kind), committed, settledMs };
  } finally {
    await workload.close();
    await coordinator.end('SIGKILL');
    await proxy.close();
    await banks.close();
    rmSync(folder, { recursive: true });
  }
}
