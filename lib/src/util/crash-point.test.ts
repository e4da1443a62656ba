import { spawnSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { crashPoints } from './crash-point.ts';

const sources = new URL('../', import.meta.url);

it('every name is passed before and after exactly where the code says, and no other name is used', () => {
  const passed: string[] = [];
  for (const file of readdirSync(sources, { recursive: true, encoding: 'utf8' })) {
    if (!file.endsWith('.ts') || file.endsWith('.test.ts')) continue;
    const calls = readFileSync(new URL(file.replaceAll('\\', '/'), sources), 'utf8').matchAll(
      /^ *crashPoint\('([\w.-]+)', '(before|after)'\);$/gm,
    );
    for (const [, name, moment] of calls) passed.push(`${name}:${moment}`);
  }
  const named = crashPoints.flatMap((name) => [`${name}:before`, `${name}:after`]);
  expect([...new Set(passed)].toSorted()).toEqual(named.toSorted());
});

it.each([
  ['unset', '', null, 0],
  ['another place', 'lease.join:before:1', null, 0],
  ['another moment', 'lease.renew:after:1', null, 0],
  ['more passes than there are', 'lease.renew:before:3', null, 0],
  ['the second pass', 'lease.renew:before:2', 'SIGKILL', null],
])('dies at the place, moment and pass it is armed for, and nowhere else: %s', (_, at, signal, code) => {
  const url = new URL('crash-point.ts', import.meta.url).href;
  const script = `import { crashPoint } from '${url}'; crashPoint('lease.renew', 'before'); crashPoint('lease.renew', 'before');`;
  const ran = spawnSync(process.execPath, [...process.execArgv, '--input-type=module', '-e', script], {
    env: { SETTLE_CRASH_AT: at },
  });
  expect([ran.signal, ran.status]).toEqual([signal, code]);
});

it.each(['nowhere:before', 'lease.renew:during', 'lease.renew:before:zero'])('refuses %s', (at) => {
  const url = new URL('crash-point.ts', import.meta.url).href;
  const ran = spawnSync(
    process.execPath,
    [...process.execArgv, '--input-type=module', '-e', `await import('${url}')`],
    {
      env: { SETTLE_CRASH_AT: at },
    },
  );
  expect(ran.status).toBe(1);
  expect(ran.stderr.toString()).toContain('is no crash point');
});
