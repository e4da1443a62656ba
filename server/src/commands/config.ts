/** `settle config`: what would hold, and why. */
import {
  optionNames,
  options,
  resolveConfig,
  variableOf,
  type OptionName,
  type Resolved,
} from '../config.ts';
import { exitCodes, type ExitCode } from '../exit-codes.ts';

const mask = '***';

export function configCommand(argv: readonly string[], print: (line: string) => void): ExitCode {
  const resolved = resolveConfig({ argv, env: process.env });
  print(resolved.config.json ? asJson(resolved) : asTable(resolved));
  return exitCodes.done;
}

function asTable(resolved: Resolved): string {
  const rows = optionNames.map((name) => [name, shown(resolved, name), originOf(resolved, name)] as const);
  const width = (column: 0 | 1): number => Math.max(...rows.map((row) => row[column].length));
  const lines = rows.map(
    ([name, value, origin]) => `${name.padEnd(width(0))}  ${value.padEnd(width(1))}  ${origin}`,
  );
  return [...lines, ...resolved.warnings.map((warning) => `warning: ${warning}`)].join('\n');
}

function asJson(resolved: Resolved): string {
  const entries = optionNames.map((name): [OptionName, unknown] => [
    name,
    { value: masked(resolved, name), origin: resolved.origins[name] },
  ]);
  const shown = Object.fromEntries<unknown>(entries);
  return JSON.stringify({ options: shown, file: resolved.file, warnings: resolved.warnings }, null, 2);
}

function shown(resolved: Resolved, name: OptionName): string {
  const value = masked(resolved, name);
  return Array.isArray(value) ? value.join(',') || '(none)' : String(value);
}

/** A secret shows how many there are, and of API keys whose. */
function masked({ config }: Resolved, name: OptionName): string | number | boolean | readonly string[] {
  if (name === 'apiKeys') return config.apiKeys.map((key) => `${key.name}:${mask}`);
  const value = config[name];
  return options[name].secret && Array.isArray(value) ? value.map(() => mask) : value;
}

function originOf({ origins, file }: Resolved, name: OptionName): string {
  const origin = origins[name];
  if (origin === 'environment') return `environment ${variableOf(name)}`;
  return origin === 'file' ? `file ${file}` : origin;
}
