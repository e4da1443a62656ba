import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { runSettle, startSettle } from './settle-process.ts';

/** The parts of `DemoReport` that these tests look at. */
interface Report {
  readonly ok: boolean;
  readonly unsettled: number;
  readonly lost: readonly string[];
  readonly tally: {
    readonly patterns: Readonly<
      Record<string, Record<'submitted' | 'committed' | 'aborted' | 'neverBegan', number>>
    >;
    readonly faults: Readonly<Record<string, number>>;
    readonly restarts: Readonly<Record<string, number>>;
    readonly coordinatorKills: number;
  };
  readonly check: { readonly facts: readonly { readonly name: string; readonly violations: number }[] };
}

const once = ['dev', '--once', '--port=0', '--json'];

async function report(
  ...args: readonly string[]
): Promise<{ readonly code: number | string; readonly report: Report }> {
  // Of its own: the databases of a run that failed are kept for whoever looks into it.
  const dir = mkdtempSync(join(tmpdir(), 'settle-dev-test-'));
  const { code, stdout, stderr } = await runSettle([...once, `--dir=${dir}`, ...args]);
  rmSync(dir, { recursive: true, force: true });
  if (stdout === '') throw new Error(`there is no report: ${stderr}`);
  return { code, report: JSON.parse(stdout) as Report };
}

describe('settle dev --once', () => {
  it(
    'settles every order under every fault, and finds all invariants to hold',
    { timeout: 30_000 },
    async () => {
      const { code, report: found } = await report('--orders=150', '--seed=7');
      expect(found).toMatchObject({ ok: true, unsettled: 0, lost: [] });
      expect(code).toBe(0);
      for (const { submitted, committed, aborted, neverBegan } of Object.values(found.tally.patterns)) {
        expect(submitted).toBeGreaterThan(0);
        expect(committed).toBeGreaterThan(0);
        expect(committed + aborted + neverBegan).toBe(submitted);
      }
      expect(Object.values(found.tally.restarts)).toEqual([1, 1, 1]);
      expect(Object.values(found.tally.faults).filter((count) => count === 0)).toEqual([]);
    },
  );

  it('does so although the coordinator is killed again and again', { timeout: 30_000 }, async () => {
    const { code, report: found } = await report('--orders=150', '--seed=11', '--kill-coordinator');
    expect(found).toMatchObject({ ok: true, unsettled: 0, lost: [], tally: { coordinatorKills: 4 } });
    expect(code).toBe(0);
  });

  it.each([
    ['stock:skip-barrier', ['exactly-once']],
    // Whose undo is dropped, a saga's or a TCC's, is a matter of timing.
    ['wallet:drop-undo', ['all-or-nothing', 'nothing-held']],
  ])('fails when a defect is planted: %s', { timeout: 30_000 }, async (plant, facts) => {
    const { code, report: found } = await report(
      '--orders=120',
      '--seed=7',
      `--plant=${plant}`,
      '--settle-ms=8000',
    );
    expect(found.ok).toBe(false);
    expect(code).toBe(1);
    const broken = found.check.facts.filter(({ violations }) => violations > 0).map(({ name }) => name);
    expect(facts.some((fact) => broken.includes(fact))).toBe(true);
  });
});

describe('settle dev', () => {
  it('runs until it is told to stop, then settles and checks', { timeout: 30_000 }, async () => {
    const settle = startSettle(['dev', '--port=0', '--seed=5']);
    await settle.until(/^2 s \|/m);
    settle.child.kill('SIGINT');
    expect(await settle.exit).toBe(0);
    expect(settle.output.stdout).toContain('OK: every order settled everywhere or nowhere (seed 5)');
  });

  it('refuses a flag that does not exist', async () => {
    const { code, stderr } = await runSettle(['dev', '--onec']);
    expect(code).toBe(2);
    expect(stderr).toContain('Did you mean --once?');
  });
});
