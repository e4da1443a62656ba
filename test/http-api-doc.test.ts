// docs/reference/http-api.md and the table of routes say the same.
import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { planOf } from '../lib/src/core/patterns.ts';
import { submitSchema, toSubmit } from '../lib/src/wire/requests.ts';
import { listQuery, routes } from '../lib/src/wire/routes.ts';
import { parse } from '../lib/src/wire/schema.ts';

const text = readFileSync(new URL('../docs/reference/http-api.md', import.meta.url), 'utf8');

describe('docs/reference/http-api.md', () => {
  test('lists every route with its summary, and no other', () => {
    const listed = [...text.matchAll(/^\| `(GET|POST) (\S+)` \| (.+) \|$/gm)].map(([, ...cells]) => cells);
    expect(listed).toEqual(routes.map(({ method, path, summary }) => [method, path, summary]));
  });

  test('shows a submit that is taken', () => {
    const [, example = '{}'] = /```http\n[^{]*([\s\S]*?)```/.exec(text) ?? [];
    const parsed = parse(submitSchema, JSON.parse(example));
    expect(parsed).toMatchObject({ kind: 'valid' });
    const plan = parsed.kind === 'valid' ? planOf(toSubmit(parsed.value).definition) : undefined;
    expect(plan?.pattern).toBe('saga');
  });

  test('names every parameter of the list', () => {
    for (const name of listQuery.members.keys()) expect(text).toContain(`\`${name}\``);
  });
});
