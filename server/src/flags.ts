/** Flags of a command, read against a table of options. */
import { parseArgs } from 'node:util';
import { SettleError } from 'settle/core';
import { nearest, type Option, type Parsed } from './config-option.ts';

type AnyOption = Pick<Option<unknown>, 'kind'>;

/**
 * The text given for each option of the table, by its name in the table. Throws `config_invalid` for what is not in
 * it, with the nearest name. A list may be given several times.
 */
export function readFlags(
  argv: readonly string[],
  table: Readonly<Record<string, AnyOption>>,
  help: string,
): ReadonlyMap<string, string> {
  const names = new Map(Object.keys(table).map((name) => [flagOf(name), name]));
  const { tokens } = parseArgs({ args: [...argv], strict: false, tokens: true, options: typesOf(table) });
  const flags = new Map<string, string>();
  for (const token of tokens) {
    if (token.kind === 'positional') {
      throw new SettleError('config_invalid', `${JSON.stringify(token.value)} is not expected here`, {
        next: `Give options as --name value; ${help} lists them`,
      });
    }
    if (token.kind !== 'option') continue;
    const name = names.get(token.name);
    if (name === undefined)
      throw unknownName(
        { subject: token.rawName, kind: 'option' },
        [...names.keys()].map((flag) => `--${flag}`),
        help,
      );
    const value = token.value ?? (table[name]?.kind === 'switch' ? 'true' : undefined);
    if (value === undefined) {
      throw new SettleError('config_invalid', `${token.rawName} needs a value`, {
        next: `Write ${token.rawName} <value>`,
      });
    }
    const before = flags.get(name);
    flags.set(name, table[name]?.kind === 'list' && before !== undefined ? `${before},${value}` : value);
  }
  return flags;
}

/** The value, or `config_invalid` that names the place and never the value, which may be a secret. */
export function valueOf<T>(
  parsed: Parsed<T>,
  where: string,
  next = 'Correct it, or leave it out for the default',
): T {
  if (parsed.kind === 'value') return parsed.value;
  throw new SettleError('config_invalid', `${where} must be ${parsed.must}`, { next });
}

/** `subject` is what was written, `name` the part of it that could be misspelt. */
export function unknownName(
  what: { readonly subject: string; readonly name?: string; readonly kind: 'option' | 'command' },
  known: readonly string[],
  help: string,
): SettleError {
  const { subject, name = subject, kind } = what;
  const close = nearest(name, known);
  const article = kind === 'option' ? 'an' : 'a';
  return new SettleError('config_invalid', `${subject} is not ${article} ${kind}`, {
    next: close === undefined ? `${help} lists the ${kind}s` : `Did you mean ${close}?`,
  });
}

/** `callTimeoutMs` -> `call-timeout-ms` */
export function flagOf(name: string): string {
  return name.replaceAll(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
}

function typesOf(table: Readonly<Record<string, AnyOption>>): Record<string, { type: 'string' | 'boolean' }> {
  return Object.fromEntries(
    Object.entries(table).map(([name, { kind }]) => [
      flagOf(name),
      { type: kind === 'switch' ? 'boolean' : 'string' },
    ]),
  );
}
