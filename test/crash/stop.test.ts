import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, it } from 'vitest';
import { openBanks } from './bank.ts';
import { CoordinatorProcess } from './coordinator-process.ts';
import { judge } from './judge.ts';
import { seeded } from './seeded.ts';
import { allSettled, countBy } from './statuses.ts';
import { Workload } from './workload.ts';

/** Longer than every timeout below, the lease, and the two seconds after which a TCC of the workload is cancelled. */
const stoppedMs = 3_000;
const flags = ['--lease-ms', '500', '--call-timeout-ms', '700'];

// covers A27, A29, A31
it('loses and doubles nothing when it is stopped for longer than every timeout and its lease, and goes on unaware', async () => {
  const seed = Date.now() % 1_000_000;
  const folder = mkdtempSync(join(tmpdir(), 'settle-stop-'));
  const draw = seeded(seed, 'moments');
  const faults = seeded(seed, 'faults');
  const banks = await openBanks(folder, { loseAnswer: () => faults() < 0.02 });
  const store = join(folder, 'settle.db');
  const coordinator = await CoordinatorProcess.start(store, { flags });
  const second = await CoordinatorProcess.at(store, { flags });
  const workload = new Workload({
    url: coordinator.url,
    banks,
    seed,
    clients: 12,
    checkAfterMs: 200,
    answerWithinMs: 1_000,
  });
  try {
    for (let n = 0; n < 3; n++) {
      await sleep(200 + draw() * 300);
      const before = workload.told.size;
      coordinator.pause();
      const stopped = sleep(stoppedMs);
      expect(await second.tryToStart()).toEqual({ kind: 'gone', how: expect.stringMatching(/^[1-9]\d*$/) });
      await stopped;
      // Each client is held up with the one it has.
      expect(workload.told.size - before).toBeLessThan(100);
      coordinator.resume();
    }
    expect(second.errors.match(/store_locked/g)).toHaveLength(3);
    await sleep(500);
    await workload.finish();
    const statuses = await allSettled(coordinator.url);
    expect(judge(banks, workload.told, (gid) => statuses.get(gid)).violations, `seed ${seed}`).toEqual([]);
    expect(countBy(statuses.values())['committed'], `seed ${seed}`).toBeGreaterThan(50);
    expect(await coordinator.end('SIGTERM')).toBe('0');
    await second.start();
  } finally {
    await workload.close();
    await coordinator.end('SIGKILL');
    await second.end('SIGKILL');
    await banks.close();
    rmSync(folder, { recursive: true });
  }
});
