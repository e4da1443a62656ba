import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { runSettle, startSettle } from './settle-process.ts';

/** The parts of the report that these tests look at. */
interface Report {
  readonly ok: boolean;
  readonly rolledBack: number;
  readonly tally: { readonly duplicates: number; readonly kills: Readonly<Record<string, number>> };
  readonly check: {
    readonly orders: number;
    readonly invoices: number;
    readonly facts: readonly { readonly name: string; readonly violations: number }[];
  };
}

async function report(...args: readonly string[]): Promise<Report & { readonly code: number | string }> {
  const dir = mkdtempSync(join(tmpdir(), 'settle-dev-outbox-'));
  try {
    const once = ['dev', '--demo=outbox', '--once', '--json', `--dir=${dir}`];
    const { code, stdout, stderr } = await runSettle([...once, ...args]);
    if (stdout === '') throw new Error(`there is no report: ${stderr}`);
    return { ...(JSON.parse(stdout) as Report), code };
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}

describe('settle dev --demo outbox --once', () => {
  it('finds every committed order to have taken effect once, though all three processes are killed', async () => {
    const { ok, code, rolledBack, tally, check } = await report('--orders=60', '--seed=7');
    expect({ ok, code }).toEqual({ ok: true, code: 0 });
    expect(check.orders + rolledBack).toBe(60);
    expect(check.invoices).toBe(check.orders);
    expect(rolledBack).toBeGreaterThan(0);
    expect(tally.kills).toEqual({ writer: 1, relay: 1, consumer: 1 });
    expect(tally.duplicates).toBeGreaterThan(0);
  });

  it.concurrent.each([
    ['dual-write', 'nothing-made-up'],
    ['ignore-order', 'key-order'],
    ['skip-inbox', 'exactly-once'],
  ])('fails when a defect is planted: %s', async (plant, fact) => {
    const { ok, code, check } = await report('--orders=60', '--seed=7', `--plant=${plant}`);
    expect({ ok, code }).toEqual({ ok: false, code: 1 });
    expect(check.facts.filter(({ violations }) => violations > 0).map(({ name }) => name)).toContain(fact);
  });

  it('goes on in the folder of an earlier run', async () => {
    const dir = mkdtempSync(join(tmpdir(), 'settle-dev-outbox-'));
    const run = async (): Promise<Report> => {
      const args = ['dev', '--demo=outbox', '--once', '--json', '--faults=false', '--seed=7', '--orders=10'];
      const { stdout } = await runSettle([...args, `--dir=${dir}`]);
      return JSON.parse(stdout) as Report;
    };
    const first = await run();
    const second = await run();
    expect([first.ok, second.ok]).toEqual([true, true]);
    expect(second.check.orders).toBe(20 - first.rolledBack - second.rolledBack);
    expect(readdirSync(dir)).toEqual(expect.arrayContaining(['billing.db', 'shop.db']));
    rmSync(dir, { recursive: true });
  });
});

describe('settle dev --demo outbox', () => {
  it('runs until it is told to stop, then delivers what is left and checks', async () => {
    const settle = startSettle(['dev', '--demo=outbox', '--seed=5']);
    await settle.until(/^1 s \|/m);
    settle.child.kill('SIGINT');
    expect(await settle.exit).toBe(0);
    expect(settle.output.stdout).toContain('OK: every committed order took effect exactly once (seed 5)');
  });

  it('refuses what only the other demo has', async () => {
    const { code, stderr } = await runSettle(['dev', '--demo=outbox', '--kill-coordinator']);
    expect(code).toBe(2);
    expect(stderr).toContain('--kill-coordinator is not an option of --demo outbox');
  });
});
