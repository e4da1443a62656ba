import { describe, expect, it } from 'vitest';
import { apiWorld, requestOf } from '../testing/api-world.ts';
import { routes } from '../wire/routes.ts';
import { checkMediaType, gate, type GateOptions } from './gate.ts';

type Headers = Readonly<Record<string, string | readonly string[] | undefined>>;

function verdict(headers: Headers, options: GateOptions = {}): string {
  try {
    gate(options)(requestOf('POST', '/v1/transactions', {}, { headers }));
    return 'let in';
  } catch (error) {
    return String(error).replace(/^SettleError: (\w+): .*$/, '$1');
  }
}

describe('the Host header', () => {
  it.each(['127.0.0.1:36789', '127.0.0.1', 'localhost:1', 'LOCALHOST', '[::1]', '[::1]:36789'])(
    'may be %s by default',
    (host) => {
      expect(verdict({ host })).toBe('let in');
    },
  );

  it.each([
    undefined,
    '',
    'evil.test',
    'evil.test:36789',
    'localhost.evil.test',
    '127.0.0.1.evil.test',
    'evil.test@localhost',
    'localhost@evil.test',
    '[::2]',
    '[::1]evil.test',
    '[::1',
    ':36789',
    ['localhost', 'localhost'],
  ])('may not be %j', (host) => {
    expect(verdict({ host })).toBe('host_not_allowed');
  });

  it('may be a configured name and then no other', () => {
    const hosts = ['Settle.internal', '[2001:db8::1]'];
    expect(verdict({ host: 'settle.INTERNAL:80' }, { hosts })).toBe('let in');
    expect(verdict({ host: '[2001:db8::1]:80' }, { hosts })).toBe('let in');
    expect(verdict({ host: 'localhost' }, { hosts })).toBe('host_not_allowed');
    expect(verdict({ host: 'anything' }, { hosts: 'any' })).toBe('let in');
    expect(verdict({ host: undefined }, { hosts: 'any' })).toBe('let in');
  });
});

describe('the Origin header', () => {
  const host = 'localhost:36789';

  it('may be the very host that is called, or a configured origin', () => {
    expect(verdict({ host, origin: 'http://localhost:36789' })).toBe('let in');
    expect(verdict({ host, origin: 'https://Ops.example' }, { origins: ['https://ops.example'] })).toBe(
      'let in',
    );
  });

  it.each([
    'null',
    '',
    'http://evil.test',
    'http://localhost',
    'http://localhost:3000',
    'http://evil.test:36789',
    '://',
    ['http://localhost:36789', 'http://evil.test'],
  ])('may not be %j', (origin) => {
    expect(verdict({ host, origin })).toBe('origin_not_allowed');
    expect(verdict({ host, origin }, { origins: ['https://ops.example'] })).toBe('origin_not_allowed');
  });
});

function check(type: string | readonly string[] | undefined): () => void {
  return () => checkMediaType(requestOf('POST', '/', {}, { headers: { 'content-type': type } }));
}

describe('the media type of a body', () => {
  it.each([
    'application/json',
    'Application/JSON',
    'application/json;charset=UTF-8',
    'application/json ; charset="utf-8";',
  ])('may be %s', (type) => {
    expect(check(type)).not.toThrow();
  });

  it.each([
    undefined,
    '',
    'text/plain',
    'text/plain;application/json',
    'application/json, text/plain',
    'application/json+x',
    'application/json;charset=latin1',
    'application/problem+json',
    ['application/json', 'text/plain'],
  ])('may not be %j', (type) => {
    expect(check(type)).toThrow(/^unsupported_media_type/);
  });
});

describe('the api', () => {
  it.each(routes)('lets no strange host or page reach $method $path, unless it is open', async (route) => {
    const { ask } = await apiWorld();
    const verdictOf = async (headers: Headers): Promise<unknown> =>
      (await ask(route.method, route.path.replace('{gid}', 'nobody'), undefined, { headers })).json['code'];
    const open = route.access === 'open';
    expect(await verdictOf({ host: 'evil.test' })).toBe(open ? undefined : 'host_not_allowed');
    expect(await verdictOf({ origin: 'http://evil.test' })).toBe(open ? undefined : 'origin_not_allowed');
  });
});
