import { describe, expect, it } from 'vitest';
import { planTcc, planTccBranches, type TccBranchDefinition } from './tcc-plan.ts';

const call = { address: 'http://x' };

function branch(name: string, more: Partial<TccBranchDefinition> = {}): TccBranchDefinition {
  return { name, try: call, confirm: call, cancel: call, ...more };
}

const presumed: TccBranchDefinition = { name: 'p', confirm: call, cancel: call };

describe('a TCC definition', () => {
  it('leaves the word to the initiator, for a minute', () => {
    expect(planTcc({ name: 'x' })).toMatchObject({ decide: 'initiator', timeoutMs: 60_000, branches: [] });
  });

  it('builds with branches whose try the initiator calls', () => {
    expect(planTcc({ name: 'x', branches: [presumed, branch('a')] }).branches).toHaveLength(2);
  });

  it('lets confirm and cancel use the result of their own try, and nothing else', () => {
    const own = { ...call, inject: { n: { from: 'a', path: [] } } };
    expect(() =>
      planTcc({ name: 'x', branches: [branch('a', { confirm: own, cancel: own })] }),
    ).not.toThrow();
    for (const op of ['try', 'confirm', 'cancel']) {
      const other = { ...call, inject: { n: { from: 'b', path: [] } } };
      expect(() => planTcc({ name: 'x', branches: [branch('a', { [op]: other }), branch('b')] })).toThrow(
        `the ${op} of a takes "n" from b`,
      );
    }
  });

  it.each<[string, Parameters<typeof planTcc>[0], string]>([
    ['decides by itself on nothing', { name: 'x', decide: 'when-all-tried' }, 'no branches to try'],
    [
      'decides by itself without knowing all tries',
      { name: 'x', decide: 'when-all-tried', branches: [branch('a'), presumed] },
      'p has no try',
    ],
    [
      'names branches alike',
      { name: 'x', branches: [branch('a'), branch('a')] },
      'two branches are called a',
    ],
    ['has a deadline of nothing', { name: 'x', timeoutMs: 0 }, 'timeoutMs is 0'],
    [
      'retries without end in sight',
      {
        name: 'x',
        branches: [branch('a', { retry: { kind: 'exponential', baseMs: NaN, factor: 2, maxMs: 1 } })],
      },
      'the baseMs of branch a is NaN',
    ],
  ])('does not build when it %s', (_, definition, message) => {
    expect(() => planTcc(definition)).toThrow(message);
  });
});

describe('branches that join', () => {
  it('bear names of their own', () => {
    const present = planTccBranches([branch('a')], []);
    expect(planTccBranches([branch('b')], present).map(({ name }) => name)).toEqual(['b']);
    expect(() => planTccBranches([branch('a')], present)).toThrow('two branches are called a');
  });
});
