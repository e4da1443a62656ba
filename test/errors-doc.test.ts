// docs/reference/errors.md and the code say the same.
import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { errorCodes } from '../lib/src/util/errors.ts';
import { statusOf } from '../lib/src/wire/problem.ts';

const text = readFileSync(new URL('../docs/reference/errors.md', import.meta.url), 'utf8');
const rows = [...text.matchAll(/^\| `(\w+)` \| (\d+) \| (.+) \| (.+) \|$/gm)].map(
  ([, code, status, meaning, next]) => ({
    code,
    status: Number(status),
    meaning,
    next,
  }),
);

describe('docs/reference/errors.md', () => {
  test('has every code once, and no other', () => {
    expect(new Set(rows.map(({ code }) => code))).toEqual(new Set(errorCodes));
    expect(rows).toHaveLength(errorCodes.length);
  });

  test.each(errorCodes)('gives %s the status it has, a meaning and something to do', (code) => {
    const row = rows.find((other) => other.code === code);
    expect(row).toMatchObject({ status: statusOf(code) });
    expect(row?.meaning?.length).toBeGreaterThan(10);
    expect(row?.next?.length).toBeGreaterThan(5);
  });

  test('shows a problem as it is printed', () => {
    const [, example = '{}'] = /```json\n([\s\S]*?)```/.exec(text) ?? [];
    const { code, type, status } = JSON.parse(example) as {
      code: 'illegal_action';
      type: string;
      status: number;
    };
    expect([type, status]).toEqual([`urn:settle:error:${code}`, statusOf(code)]);
  });
});
