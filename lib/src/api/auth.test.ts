import { describe, expect, it } from 'vitest';
import { apiWorld, requestOf } from '../testing/api-world.ts';
import { sha256 } from '../wire/digest.ts';
import { routes } from '../wire/routes.ts';
import { anonymous, authenticator, type ApiKey } from './auth.ts';

const first = 'first-key-0123456789';
const second = 'second-key-0123456789';
const keys: readonly ApiKey[] = [
  { name: 'shop', key: first },
  { name: 'ops', sha256: Buffer.from(sha256(second)).toString('hex').toUpperCase() },
];

function actorOf(authorization: string | undefined, which = keys): string {
  return authenticator(which)(requestOf('GET', '/v1/legal', undefined, { headers: { authorization } }));
}

describe('authenticator', () => {
  it('knows who asks by the key, plain or as a digest', () => {
    expect([actorOf(`Bearer ${first}`), actorOf(`bearer  ${second} `)]).toEqual(['shop', 'ops']);
  });

  it('lets everybody in, without a name, when there are no keys', () => {
    expect([actorOf(undefined, []), actorOf('Bearer whatever', [])]).toEqual([anonymous, anonymous]);
  });

  it.each([
    undefined,
    '',
    'Bearer',
    'Bearer ',
    `Basic ${first}`,
    first,
    `Bearer ${first}x`,
    `Bearer ${first.slice(1)}`,
    `Bearer ${first} ${first}`,
    `Bearer ${first.toUpperCase()}`,
  ])('does not let in %j', (header) => {
    expect(() => actorOf(header)).toThrow(/^unauthenticated/);
  });

  it('does not take the digest for the key', () => {
    expect(() => actorOf(`Bearer ${Buffer.from(sha256(second)).toString('hex')}`)).toThrow(
      /^unauthenticated/,
    );
  });

  it.each([
    { name: 'short', key: 'abc' },
    { name: 'odd', sha256: 'abc' },
    { name: 'odd', sha256: 'x'.repeat(64) },
    { name: '', key: first },
  ])('refuses the unusable key %j at start, without saying it', (key) => {
    expect(() => authenticator([key])).toThrow(/^config_invalid/);
    expect(() => authenticator([key])).not.toThrow(new RegExp(first));
  });
});

describe('the api with keys', () => {
  it.each(routes)(
    'answers $method $path only to a key, unless it is open',
    async ({ method, path, access }) => {
      const { ask } = await apiWorld({ keys });
      const { status, headers } = await ask(method, path.replace('{gid}', 'nobody'));
      expect(status).toBe(access === 'open' ? 200 : 401);
      expect(headers['www-authenticate']).toBe(access === 'open' ? undefined : 'Bearer realm="settle"');
    },
  );

  it.each(['?key=', '?api_key=', '?authorization=Bearer%20'])(
    'takes no key from the query %s',
    async (query) => {
      const { ask } = await apiWorld({ keys });
      expect((await ask('GET', `/v1/legal${query}${first}`)).status).toBe(401);
    },
  );

  it('tells nobody without a key which routes there are', async () => {
    const { ask } = await apiWorld({ keys });
    expect((await ask('GET', '/v1/nothing')).status).toBe(401);
    expect((await ask('DELETE', '/v1/transactions')).status).toBe(401);
  });

  it('reads no body before it knows who sent it', async () => {
    const { ask } = await apiWorld({ keys });
    const body = 'x'.repeat(5_000_000);
    expect((await ask('POST', '/v1/transactions', undefined, { body })).status).toBe(401);
  });
});
