import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { debitLocally, openBanks } from './bank.ts';
import { judge, type Told } from './judge.ts';
import { soak } from './soak.ts';

// covers A3
it(
  'loses no acknowledged transfer, and doubles none, over 10 kills of the coordinator at random moments',
  { timeout: 180_000 },
  async () => {
    const seed = Number(process.env['SETTLE_SOAK_SEED'] ?? Date.now() % 1_000_000);
    const result = await soak({ seed, kills: 10, clients: 16, killWithinMs: 800, transactionsMin: 500 });
    expect(result.violations, `seed ${seed}`).toEqual([]);
    expect(result.byStatus['committed'], `seed ${seed}`).toBeGreaterThan(100);
    expect(result.byStatus['aborted'], `seed ${seed}`).toBeGreaterThan(5);
    // Off Linux nobody tells.
    if (result.atRest === undefined) return;
    expect(result.atRest.rssMb, 'memory of the coordinator at rest').toBeLessThan(300);
    expect(result.atRest.handles, 'open files and sockets at rest').toBeLessThan(200);
  },
);

it('the judge finds money that left and never arrived, a doubled effect, and a lost acknowledgement', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'settle-judge-'));
  const banks = await openBanks(folder, { loseAnswer: () => false });
  await debitLocally(banks.payer, 'half', 5);
  banks.payee.db.exec(
    "insert into entry values ('twice', 'payee', 'action', 3), ('twice', 'payee', 'action', 3)",
  );
  const told = new Map<string, Told>([
    ['half', { amount: 5, answer: 'accepted' }],
    ['gone', { amount: 1, answer: 'committed' }],
  ]);
  const { violations } = judge(banks, told, (gid) => (gid === 'half' ? 'committed' : undefined));
  await banks.close();
  rmSync(folder, { recursive: true });
  expect(violations).toEqual(
    expect.arrayContaining([
      'half: 5 left the payer, 0 reached the payee',
      'twice: payee did payee/action 2 times',
      'gone: acknowledged as committed, and lost',
    ]),
  );
});
