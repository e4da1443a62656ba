import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { optionNames, options, variableOf } from './config.ts';
import { defaultText } from './config-option.ts';
import { exitCodes } from './exit-codes.ts';
import { flagOf } from './flags.ts';

const doc = readFileSync(new URL('../../docs/operating/configuration.md', import.meta.url), 'utf8');
const rows = doc.split('\n').filter((line) => line.startsWith('| `'));

describe('docs/operating/configuration.md', () => {
  it('has one row for each option, and none for others', () => {
    const named = rows.map((row) => /^\| `(\w+)`/.exec(row)?.[1]);
    expect(named).toEqual([...optionNames]);
  });

  it.each(optionNames)('%s: says flag, variable, default, meaning and whether it is secret', (name) => {
    const { doc: meaning, secret } = options[name];
    const row = rows.find((line) => line.startsWith(`| \`${name}\``)) ?? '';
    expect(row).toContain(`\`--${flagOf(name)}\``);
    expect(row).toContain(`\`${variableOf(name)}\``);
    const shown = defaultText(options[name]);
    expect(row).toContain(shown === '' ? '| (none) |' : `| \`${shown}\` |`);
    expect(row).toContain(meaning);
    expect(row.includes('*Secret.*')).toBe(secret);
  });

  it('lists every exit code, and no other', () => {
    const listed = [...doc.matchAll(/^\| (\d+) \|/gm)].map((match) => Number(match[1]));
    expect(listed).toEqual(Object.values(exitCodes));
  });
});
