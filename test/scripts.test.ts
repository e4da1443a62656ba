// The scripts behind the two commands: which Node they accept, and how they count.
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { isSuitable, typeStrippingFlags } from '../scripts/lib/node.mjs';
import { Tally } from '../scripts/lib/tally.mjs';

describe('the Node that runs the project', () => {
  test.each(['v22.14.0', 'v22.23.3', 'v24.0.0', 'v26.10.0', 'v30.0.0'])('%s is taken as it is', (version) => {
    expect(isSuitable(version)).toBe(true);
  });

  test.each(['v18.0.0', 'v20.20.2', 'v22.13.1', 'v23.11.0', 'v25.0.0'])('%s is replaced', (version) => {
    expect(isSuitable(version)).toBe(false);
  });

  test('only versions before 22.18 have to be told to run TypeScript', () => {
    expect(typeStrippingFlags('v22.17.1')).toContain('--experimental-strip-types');
    expect(typeStrippingFlags('v22.18.0')).toEqual([]);
    expect(typeStrippingFlags('v24.21.0')).toEqual([]);
  });
});

describe('the closing line', () => {
  const printed: string[] = [];
  beforeEach(() => {
    printed.length = 0;
    const keep = (text: unknown) => void printed.push(String(text));
    vi.spyOn(console, 'log').mockImplementation(keep);
    vi.spyOn(console, 'error').mockImplementation(keep);
  });
  afterEach(() => {
    vi.restoreAllMocks();
  });

  test('sums tests and checks, alone on the last line', async () => {
    const tally = new Tally();
    await tally.check('types', () => Promise.resolve(0));
    tally.addTests({ passed: 5, failed: 0, skipped: 2 }, 'tests');
    expect(tally.close()).toBe(0);
    expect(printed.at(-1)?.split('\n').at(-1)).toBe('6 passed, 0 failed, 2 skipped');
  });

  test('fails when a check fails or throws, and names it', async () => {
    const tally = new Tally();
    tally.addTests({ passed: 5, failed: 0, skipped: 0 }, 'tests');
    await tally.check('lint', () => Promise.resolve(1));
    await tally.check('packages', () => Promise.reject(new Error('npm is gone')));
    expect(tally.close()).toBe(1);
    expect(printed.join('\n')).toContain('failed: lint · packages');
    expect(printed.at(-1)).toContain('5 passed, 2 failed, 0 skipped');
  });

  test('fails when no test ran', async () => {
    const tally = new Tally();
    await tally.check('types', () => Promise.resolve(0));
    expect(tally.close()).toBe(1);
    expect(printed.at(-1)).toContain('1 passed, 1 failed, 0 skipped');
  });
});
