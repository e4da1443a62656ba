import { describe, expect, it } from 'vitest';
import { isSettleError } from 'settle/core';
import { configCommand } from './commands/config.ts';
import { optionNames, options, resolveConfig, variableOf, type Sources } from './config.ts';
import { defaultText, nearest } from './config-option.ts';
import { flagOf } from './flags.ts';

function resolve(sources: Partial<Sources> & { readonly file?: unknown }) {
  const { argv = [], env = {}, file, readFile } = sources;
  return file === undefined
    ? resolveConfig({ argv, env, ...(readFile === undefined ? {} : { readFile }) })
    : resolveConfig({
        argv: ['--config', 'settle.json', ...argv],
        env,
        readFile: () => JSON.stringify(file),
      });
}

function refusal(sources: Parameters<typeof resolve>[0]): {
  readonly message: string;
  readonly next: string;
} {
  try {
    resolve(sources);
  } catch (error) {
    if (isSettleError(error) && error.code === 'config_invalid')
      return { message: error.message, next: error.next ?? '' };
    throw error;
  }
  throw new Error('it was accepted');
}

describe('where a value comes from', () => {
  it('is the default when nobody says anything', () => {
    const { config, origins } = resolve({});
    expect(config).toMatchObject({ host: '127.0.0.1', port: 36_789, allow: ['loopback'], json: false });
    expect(new Set(Object.values(origins))).toEqual(new Set(['default']));
  });

  it('is the flag before the environment before the file before the default', () => {
    const file = { port: 1, callTimeoutMs: 101, leaseMs: 1_001 };
    const env = { SETTLE_PORT: '2', SETTLE_CALL_TIMEOUT_MS: '102' };
    const { config, origins } = resolve({ argv: ['--port', '3'], env, file });
    expect(config).toMatchObject({ port: 3, callTimeoutMs: 102, leaseMs: 1_001, drainMs: 15_000 });
    expect(origins).toMatchObject({
      port: 'flag',
      callTimeoutMs: 'environment',
      leaseMs: 'file',
      drainMs: 'default',
    });
  });

  it('may be a file that SETTLE_CONFIG names', () => {
    const read: string[] = [];
    const readFile = (path: string): string => {
      read.push(path);
      return '{ "port": 5 }';
    };
    expect(resolveConfig({ argv: [], env: { SETTLE_CONFIG: 'a.json' }, readFile }).config.port).toBe(5);
    expect(read).toEqual(['a.json']);
  });

  it('adds up when a list is given by several flags', () => {
    const { config } = resolve({ argv: ['--allow', 'loopback', '--allow=https://*.shop.example'] });
    expect(config.allow).toEqual(['loopback', 'https://*.shop.example']);
  });

  it('takes an empty variable for absent', () => {
    expect(resolve({ env: { SETTLE_PORT: '' } }).origins.port).toBe('default');
  });
});

describe('every option of the table', () => {
  it.each(optionNames)('%s: its default parses to itself, from text and from JSON', (name) => {
    const { default: value, parse } = options[name];
    for (const input of [value, defaultText(options[name])])
      expect(parse(input)).toEqual({ kind: 'value', value });
  });

  it.each(optionNames)(
    '%s: refuses null, an object and a text of the wrong kind, naming the place',
    (name) => {
      for (const wrong of [null, {}, 0.5]) {
        expect(refusal({ file: { [name]: wrong } }).message).toContain(`"${name}" in the file must be`);
      }
    },
  );

  it.each(optionNames)('%s: can be set by flag, variable and file', (name) => {
    const text = {
      text: 'x.example',
      integer: '5000',
      switch: 'true',
      choice: name === 'logLevel' ? 'debug' : 'block',
      list: sampleList(name),
    }[options[name].kind];
    const key = { SETTLE_API_KEYS: 'ops:0123456789abcdef' };
    expect(
      resolve({ argv: [`--${flagOf(name)}`, ...(options[name].kind === 'switch' ? [] : [text])], env: key })
        .origins[name],
    ).toBe('flag');
    expect(resolve({ env: { ...key, [variableOf(name)]: text } }).origins[name]).toBe('environment');
    expect(resolve({ file: { apiKeys: ['ops:0123456789abcdef'], [name]: text } }).origins[name]).toBe('file');
  });

  it.each(optionNames)('%s: its documentation ends like a sentence', (name) => {
    expect(options[name].doc).toMatch(/\.$/);
  });

  it.each(optionNames.filter((name) => name.endsWith('Ms')))(
    '%s: its documentation names the unit',
    (name) => {
      expect(options[name].doc).toMatch(/^Milliseconds /);
    },
  );
});

describe('what cannot be meant', () => {
  it.each([
    [{ argv: ['--prot', '1'] }, '--prot is not an option', 'Did you mean --port?'],
    [{ argv: ['--call-timeout', '1'] }, '--call-timeout is not an option', 'Did you mean --call-timeout-ms?'],
    [
      { file: { callTimeoutMS: 1 } },
      '"callTimeoutMS" in settle.json is not an option',
      'Did you mean callTimeoutMs?',
    ],
    [{ argv: ['--zzzzzzzzzzzzzzzz', '1'] }, '--zzzzzzzzzzzzzzzz is not an option', 'settle serve --help'],
    [{ argv: ['-p', '1'] }, '-p is not an option', ''],
    [{ argv: ['--port'] }, '--port needs a value', '--port <value>'],
    [{ argv: ['serve'] }, '"serve" is not expected here', ''],
    [{ argv: ['--port', '70000'] }, '--port must be a whole number from 0 to 65535', ''],
    [{ argv: ['--port', '-1'] }, '--port', ''],
    [{ argv: ['--port', '1e3'] }, '--port must be a whole number', ''],
    [{ env: { SETTLE_PORT: 'tcp://10.0.0.1:1' } }, 'SETTLE_PORT must be', 'enableServiceLinks'],
    [{ env: { SETTLE_ALLOW: 'ftp://x' } }, 'SETTLE_ALLOW must be a list in which every entry is', ''],
    [{ env: { SETTLE_API_KEYS: 'ops:short' } }, 'SETTLE_API_KEYS must be a list', ''],
    [{ env: { SETTLE_SECRETS: 'whsec_c2hvcnQ=' } }, 'SETTLE_SECRETS must be a list', ''],
    [{ argv: ['--json=maybe'] }, '--json must be true or false', ''],
    [{ file: [] }, 'the file settle.json holds no object', ''],
  ])('%j is refused: %s', (sources, message, next) => {
    const refused = refusal(sources);
    expect(refused.message).toContain(message);
    expect(refused.next).toContain(next);
  });

  it('never repeats the value, which may be a secret', () => {
    expect(refusal({ env: { SETTLE_API_KEYS: 'ops:hunter2' } }).message).not.toContain('hunter2');
  });

  it('refuses a file that is missing or no JSON, naming it', () => {
    expect(refusal({ argv: ['--config', '/nowhere/settle.json'] }).message).toContain('/nowhere/settle.json');
    expect(() => resolveConfig({ argv: ['--config=a.json'], env: {}, readFile: noJson })).toThrow(
      'a.json cannot be read as JSON',
    );
  });

  it('refuses a key that stands twice in the file, naming it and not its value', () => {
    const { message } = refusal({ argv: ['--config=a.json'], readFile: keysTwice });
    expect(message).toContain('"/apiKeys" in a.json stands twice in one object');
    expect(message).not.toContain('hunter2');
  });

  it('only warns of a variable that it does not know, with the nearest name', () => {
    expect(resolve({ env: { SETTLE_PROT: '1' } }).warnings).toEqual([
      'SETTLE_PROT is not an option; did you mean SETTLE_PORT?',
    ]);
  });
});

describe('an address that is not loopback', () => {
  it.each(['0.0.0.0', '::', '10.0.0.5', 'settle.internal', '128.0.0.1', '127.0.0.1.evil.example'])(
    '%s is refused without an API key',
    (host) => {
      expect(refusal({ argv: ['--host', host] }).message).toContain('not loopback');
      expect(
        resolve({ argv: ['--host', host], env: { SETTLE_API_KEYS: 'ops:0123456789abcdef' } }).config.host,
      ).toBe(host);
    },
  );

  it.each(['127.0.0.1', '127.8.9.1', '::1', 'localhost'])('%s needs none', (host) => {
    expect(resolve({ argv: ['--host', host] }).config.host).toBe(host);
  });
});

describe('settle config', () => {
  const secret = `whsec_${Buffer.alloc(32, 7).toString('base64')}`;

  it.each([[], ['--json']])('masks secrets and says where values come from %j', (...flags) => {
    const lines: string[] = [];
    configCommand(
      [...flags, '--api-keys', 'ops:0123456789abcdef', '--secrets', secret, '--port', '7'],
      (line) => lines.push(line),
    );
    const output = lines.join('\n');
    expect(output).not.toContain('0123456789abcdef');
    expect(output).not.toContain(secret);
    expect(output).toContain('ops:***');
    expect(output).toContain('flag');
    for (const name of optionNames) expect(output).toContain(name);
  });
});

describe('the nearest name', () => {
  it('is none when nothing is close', () => {
    expect(nearest('colour', ['port', 'host'])).toBeUndefined();
    expect(nearest('PORT', ['port', 'host'])).toBe('port');
  });
});

function keysTwice(): string {
  return '{ "port": 1, "apiKeys": ["a:hunter2"], "apiKeys": [] }';
}

function noJson(): string {
  return '{ port: 1 }';
}

function sampleList(name: string): string {
  const samples: Readonly<Record<string, string>> = {
    apiKeys: 'ops:0123456789abcdef',
    secrets: `whsec_${Buffer.alloc(32, 7).toString('base64')}`,
    allow: 'loopback',
    allowedHosts: 'settle.internal',
    allowedOrigins: 'https://ops.example',
  };
  return samples[name] ?? '';
}
