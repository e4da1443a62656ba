/**
 * The configuration of the server: one table, from which flags, variables, file keys, help, `settle config` and the
 * documentation follow.
 *
 * Owns: where a value comes from (flags before environment before file before default), what it must look like, and
 * the refusal to leave loopback without an API key.
 * Does not own: what the values do.
 */
import { readFileSync } from 'node:fs';
import { isIP } from 'node:net';
import { isSettleError, SettleError } from 'settle/core';
import { parseAllowRule } from 'settle/http';
import { jsonDepthMax, parseJson } from 'settle/wire';
import {
  choiceOption,
  integerOption,
  listOption,
  nearest,
  switchOption,
  textItem,
  textOption,
  type Option,
  type Parsed,
} from './config-option.ts';
import { flagOf, readFlags, unknownName, valueOf } from './flags.ts';

export interface Config {
  readonly host: string;
  readonly port: number;
  readonly store: string;
  readonly apiKeys: readonly ApiKey[];
  readonly allow: readonly string[];
  readonly privateAddresses: 'allow' | 'block';
  readonly secrets: readonly string[];
  readonly allowedHosts: readonly string[];
  readonly allowedOrigins: readonly string[];
  readonly callTimeoutMs: number;
  readonly callsPerDestinationMax: number;
  readonly transactionsMax: number;
  readonly writesWaitingMax: number;
  readonly cluster: string;
  readonly leaseMs: number;
  readonly drainMs: number;
  readonly retentionMs: number;
  readonly retentionMax: number;
  readonly connectionsMax: number;
  readonly headersTimeoutMs: number;
  readonly requestTimeoutMs: number;
  readonly keepAliveMs: number;
  readonly logLevel: LogLevel;
  readonly json: boolean;
}

export interface ApiKey {
  readonly name: string;
  readonly key: string;
}

export type LogLevel = 'error' | 'info' | 'debug';

export type OptionName = keyof Config;
export type Origin = 'flag' | 'environment' | 'file' | 'default';

const help = 'settle serve --help';
/** Nobody writes a configuration this large. */
const fileBytesMax = 1_048_576;
const day = 24 * 60 * 60 * 1_000;

/** Every option, in the order in which help and documentation show them. */
export const options: { readonly [Name in OptionName]: Option<Config[Name]> } = {
  host: textOption({
    default: '127.0.0.1',
    hint: 'address',
    doc: 'Address to listen on. Any address that is not loopback needs apiKeys.',
  }),
  port: integerOption({
    default: 36_789,
    min: 0,
    max: 65_535,
    doc: 'Port to listen on; 0 takes a free one.',
  }),
  store: textOption({
    default: 'settle.db',
    hint: 'file|memory',
    doc: 'SQLite file of the transactions, created when it is missing; `memory` keeps nothing beyond the process.',
  }),
  apiKeys: listOption({
    default: [],
    hint: 'name:key,...',
    doc: 'API keys that callers send as `Authorization: Bearer`, each 16 characters or more, with a name for the history. Flags show in process lists: prefer the file.',
    secret: true,
    item: apiKey,
  }),
  allow: listOption({
    default: ['loopback'],
    hint: 'rule,...',
    doc: 'Where branches may be called: `loopback`, or a URL such as `https://*.shop.example:8443/settle`, whose scheme, host, port and path prefix must match.',
    item: textItem('`loopback`, or an http(s) URL without user, query and fragment', isAllowRule),
  }),
  privateAddresses: choiceOption({
    choices: ['allow', 'block'],
    default: 'allow',
    doc: 'Whether an allowed name may lead to a private or loopback address; `block` where callers choose the names. Loopback stays open while `allow` says so.',
  }),
  secrets: listOption({
    default: [],
    hint: 'whsec_...,...',
    doc: 'Keys that sign branch calls (Standard Webhooks); all of them sign, so that participants can rotate. Flags show in process lists: prefer the file.',
    secret: true,
    item: textItem('`whsec_` and 24 to 64 bytes in base64', isWebhookSecret),
  }),
  allowedHosts: listOption({
    default: [],
    hint: 'host,...',
    doc: 'Further values of the Host header that are served; the address listened on and localhost always are.',
    item: textItem('a host name, with or without a port', (text) => /^[^\s/]+$/.test(text)),
  }),
  allowedOrigins: listOption({
    default: [],
    hint: 'origin,...',
    doc: 'Values of the Origin header that browsers may send; none by default.',
    item: textItem('an origin such as https://ops.shop.example', (text) => /^https?:\/\/[^/\s]+$/.test(text)),
  }),
  callTimeoutMs: integerOption({
    default: 10_000,
    min: 10,
    max: 600_000,
    doc: 'Milliseconds one branch call may take, to the last byte of its answer, unless the transaction says otherwise.',
  }),
  callsPerDestinationMax: integerOption({
    default: 256,
    min: 1,
    max: 100_000,
    doc: 'Branch calls under way to one origin; more wait.',
  }),
  transactionsMax: integerOption({
    default: 10_000,
    min: 1,
    max: 10_000_000,
    doc: 'Unfinished transactions in memory; further submits are answered 503 `overloaded`.',
  }),
  writesWaitingMax: integerOption({
    default: 20_000,
    min: 1,
    max: 10_000_000,
    doc: 'Writes waiting for the store; further submits are answered 503 `overloaded`.',
  }),
  cluster: textOption({
    default: 'settle',
    hint: 'name',
    doc: 'Whose transactions the store holds, such as `production`. The first coordinator that opens a store gives it this name for good, and those of other clusters are refused: name it at the first start.',
  }),
  leaseMs: integerOption({
    default: 6_000,
    min: 500,
    max: 600_000,
    doc: 'Milliseconds after which another coordinator may take over from one that went silent.',
  }),
  drainMs: integerOption({
    default: 15_000,
    min: 0,
    max: 600_000,
    doc: 'Milliseconds that a stop waits for calls and requests under way.',
  }),
  retentionMs: integerOption({
    default: 7 * day,
    min: 0,
    max: 3_650 * day,
    doc: 'Milliseconds that a finished transaction is kept.',
  }),
  retentionMax: integerOption({
    default: 1_000_000,
    min: 0,
    max: 1_000_000_000,
    doc: 'Finished transactions kept at most; the oldest go first.',
  }),
  connectionsMax: integerOption({
    default: 4_096,
    min: 1,
    max: 1_000_000,
    doc: 'Connections of callers at a time; further ones are closed.',
  }),
  headersTimeoutMs: integerOption({
    default: 10_000,
    min: 100,
    max: 600_000,
    doc: 'Milliseconds a caller has to send its request headers.',
  }),
  requestTimeoutMs: integerOption({
    default: 30_000,
    min: 100,
    max: 600_000,
    doc: 'Milliseconds a caller has to send its whole request.',
  }),
  keepAliveMs: integerOption({
    default: 65_000,
    min: 0,
    max: 600_000,
    doc: 'Milliseconds an idle connection of a caller stays open.',
  }),
  logLevel: choiceOption({
    choices: ['error', 'info', 'debug'],
    default: 'info',
    doc: 'What is logged; `debug` logs every branch call.',
  }),
  json: switchOption({
    default: false,
    doc: 'Log one JSON object per line.',
  }),
};

/** Every default. */
export function defaultConfig(): Config {
  return resolveConfig({ argv: [], env: {} }).config;
}

export const optionNames: readonly OptionName[] = Object.keys(options).filter(isOptionName);

export interface Resolved {
  readonly config: Config;
  readonly origins: Readonly<Record<OptionName, Origin>>;
  /** The file that was read. */
  readonly file: string | undefined;
  /** Variables that start with SETTLE_ and mean nothing: shown, not refused, because platforms set such by themselves. */
  readonly warnings: readonly string[];
}

export interface Sources {
  readonly argv: readonly string[];
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly readFile?: (path: string) => string;
}

/**
 * The effective configuration. Throws `config_invalid` that names the flag, variable or key, what it must be, and the
 * nearest name that exists.
 */
export function resolveConfig(sources: Sources): Resolved {
  const flags = readFlags(sources.argv, { ...options, config: { kind: 'text' } }, help);
  const file = flags.get('config') ?? sources.env['SETTLE_CONFIG'];
  const keys =
    file === undefined ? new Map<OptionName, unknown>() : readKeys(file, sources.readFile ?? readText);
  const values: Partial<Record<OptionName, unknown>> = {};
  const origins: Partial<Record<OptionName, Origin>> = {};
  for (const name of optionNames) {
    const found = firstOf(name, flags, sources.env, keys);
    origins[name] = found.origin;
    values[name] =
      found.origin === 'default'
        ? options[name].default
        : valueOf<unknown>(options[name].parse(found.value), found.where, nextFor(found.where));
  }
  // Every name of the table was just filled by its own parser, or its default.
  const config = values as Config;
  refuseOpenDoor(config);
  return { config, origins: origins as Record<OptionName, Origin>, file, warnings: strangers(sources.env) };
}

interface Found {
  readonly origin: Origin;
  readonly value: unknown;
  readonly where: string;
}

function firstOf(
  name: OptionName,
  flags: ReadonlyMap<string, string>,
  env: Sources['env'],
  keys: ReadonlyMap<OptionName, unknown>,
): Found {
  const flag = flags.get(name);
  if (flag !== undefined) return { origin: 'flag', value: flag, where: `--${flagOf(name)}` };
  const variable = env[variableOf(name)];
  if (variable !== undefined && variable !== '')
    return { origin: 'environment', value: variable, where: variableOf(name) };
  if (keys.has(name)) return { origin: 'file', value: keys.get(name), where: `"${name}" in the file` };
  return { origin: 'default', value: undefined, where: name };
}

function readKeys(path: string, read: (path: string) => string): ReadonlyMap<OptionName, unknown> {
  let content: unknown;
  try {
    content = parseJson(read(path), { bytesMax: fileBytesMax, depthMax: jsonDepthMax });
  } catch (cause) {
    // Where, but not what: what a parser repeats of the file may be a secret.
    const [issue] = isSettleError(cause) ? cause.issues : [];
    const what =
      issue === undefined || issue.path === ''
        ? `the file ${path} cannot be read as JSON`
        : `"${issue.path}" in ${path} ${issue.message}`;
    throw new SettleError('config_invalid', what, {
      next: 'Correct the file, or the path in --config or SETTLE_CONFIG',
      cause,
    });
  }
  if (typeof content !== 'object' || content === null || Array.isArray(content)) {
    throw new SettleError('config_invalid', `the file ${path} holds no object`, {
      next: 'Write { "port": 36789 }',
    });
  }
  const keys = new Map<OptionName, unknown>();
  for (const [key, value] of Object.entries(content)) {
    if (!isOptionName(key))
      throw unknownName({ subject: `"${key}" in ${path}`, name: key, kind: 'option' }, optionNames, help);
    keys.set(key, value);
  }
  return keys;
}

function readText(path: string): string {
  return readFileSync(path, 'utf8');
}

/** The one mistake that is not the reader's own. */
function nextFor(where: string): string | undefined {
  return where === 'SETTLE_PORT'
    ? 'Correct it. Kubernetes sets SETTLE_PORT for a Service called settle: set enableServiceLinks to false'
    : undefined;
}

function strangers(env: Sources['env']): readonly string[] {
  const known = new Set([...optionNames.map(variableOf), 'SETTLE_CONFIG']);
  return Object.keys(env)
    .filter((name) => name.startsWith('SETTLE_') && !known.has(name))
    .map((name) => {
      const close = nearest(name, [...known]);
      return `${name} is not an option${close === undefined ? '' : `; did you mean ${close}?`}`;
    });
}

/** Who can reach the API can move money. */
function refuseOpenDoor(config: Config): void {
  if (config.apiKeys.length > 0 || isLoopback(config.host)) return;
  throw new SettleError(
    'config_invalid',
    `the host ${config.host} is not loopback, and there are no API keys`,
    {
      next: 'Set apiKeys (SETTLE_API_KEYS=name:key), or listen on 127.0.0.1',
    },
  );
}

/** Only what needs no resolver to be sure of: a name could point anywhere tomorrow. */
export function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || (isIP(host) === 4 && host.startsWith('127.'));
}

function apiKey(input: unknown): Parsed<ApiKey> {
  const wrong = {
    kind: 'wrong',
    must: '`name:key` with a key of at least 16 characters, or { "name", "key" }',
  } as const;
  const pair = typeof input === 'string' ? pairOf(input) : input;
  if (typeof pair !== 'object' || pair === null || !('key' in pair) || !('name' in pair)) return wrong;
  const { name, key } = pair;
  if (typeof name !== 'string' || typeof key !== 'string' || name === '' || key.length < 16) return wrong;
  return { kind: 'value', value: { name, key } };
}

function pairOf(text: string): { readonly name: string; readonly key: string } {
  const at = text.indexOf(':');
  return at < 0 ? { name: 'default', key: text } : { name: text.slice(0, at), key: text.slice(at + 1) };
}

function isAllowRule(text: string): boolean {
  try {
    parseAllowRule(text);
    return true;
  } catch {
    return false;
  }
}

function isWebhookSecret(text: string): boolean {
  if (!/^whsec_[A-Za-z0-9+/]+={0,2}$/.test(text)) return false;
  const { length } = Buffer.from(text.slice('whsec_'.length), 'base64');
  return length >= 24 && length <= 64;
}

/** `callTimeoutMs` -> `SETTLE_CALL_TIMEOUT_MS` */
export function variableOf(name: OptionName): string {
  return `SETTLE_${flagOf(name).replaceAll('-', '_').toUpperCase()}`;
}

function isOptionName(name: string): name is OptionName {
  return Object.hasOwn(options, name);
}
