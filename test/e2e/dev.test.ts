import { describe, expect, it } from 'vitest';
import { report } from './dev-report.ts';
import { runSettle, startSettle } from './settle-process.ts';

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

describe('settle dev on a server that cannot be had', () => {
  it.each([
    [
      'with no programs installed',
      'mariadb',
      'MariaDB is not installed here',
      '--databases mariadb=mysql://',
    ],
    [
      'with nobody at its URL',
      'postgres=postgres://me:secret@127.0.0.1:1',
      'ECONNREFUSED',
      'correct the URL',
    ],
  ])('%s, says so and what to do, and starts nothing', async (_, databases, what, next) => {
    const { code, stdout, stderr } = await runSettle(['dev', '--once', `--databases=${databases}`], {
      PATH: '/nowhere',
    });
    expect(stderr).toContain(what);
    expect(stderr).toContain(next);
    expect(stderr).not.toContain('secret@');
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' });
  });
});
