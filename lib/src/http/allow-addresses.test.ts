import { describe, expect, it } from 'vitest';
import { isSettleError } from '../util/errors.ts';
import { allowAddresses, parseAllowRule } from './allow-addresses.ts';

const check = allowAddresses(
  [
    'loopback',
    'https://stock.example.com',
    'https://wallet.example.com:8443/api',
    'https://*.svc.example.net',
    'http://plain.example.org:8080/v1/',
  ].map(parseAllowRule),
);

const allowed = [
  'http://127.0.0.1:3000/x',
  'http://127.8.9.10/',
  'https://127.0.0.1/',
  'http://localhost:3000/x?y=1',
  'http://[::1]:3000/',
  'https://stock.example.com',
  'https://stock.example.com/',
  'https://stock.example.com:443/a',
  'https://stock.example.com/a%20b?c=..%2f',
  'https://wallet.example.com:8443/api',
  'https://wallet.example.com:8443/api/debit',
  'https://wallet.example.com:8443/api?x=1',
  'https://a.svc.example.net/',
  'https://a.b.svc.example.net/x',
  'http://plain.example.org:8080/v1',
  'http://plain.example.org:8080/v1/x',
];

const refused = [
  // Not on the list
  '',
  'https://evil.example.com/',
  'https://example.com/',
  'https://stock.example.com.evil.test/',
  'https://notstock.example.com/',
  'https://svc.example.net/',
  'https://xsvc.example.net/',
  'https://wallet.example.com/api',
  'https://wallet.example.com:8444/api',
  'https://wallet.example.com:8443/',
  'https://wallet.example.com:8443/apix',
  'https://plain.example.org:8080/v1/x',
  'http://stock.example.com/',
  'http://stock.example.com:443/',
  // Out of the path prefix again
  'https://wallet.example.com:8443/api/../admin',
  'https://wallet.example.com:8443/api/%2e%2e/admin',
  'https://wallet.example.com:8443/api/..%2fadmin',
  'https://wallet.example.com:8443/api/..%5cadmin',
  'https://wallet.example.com:8443/api/%252e%252e%252fadmin',
  // Other schemes
  'ftp://stock.example.com/',
  'file:///etc/passwd',
  'gopher://127.0.0.1:6379/_',
  'data:text/plain,x',
  'javascript:alert(1)',
  'ws://127.0.0.1/',
  '//127.0.0.1/',
  '/relative',
  'stock.example.com',
  'http:127.0.0.1/',
  'http:/127.0.0.1/',
  'http:///127.0.0.1/',
  'HTTP://127.0.0.1/',
  // Another address than it looks like
  'http://2130706433/',
  'http://0x7f.1/',
  'http://0177.0.0.1/',
  'http://127.1/',
  'http://127.0.0.1./',
  'http://0/',
  'http://[::ffff:127.0.0.1]/',
  'http://[0:0:0:0:0:0:0:1]/',
  'http://１２７.0.0.1/',
  'http://127。0。0。1/',
  'http://localhost./',
  'http://LOCALHOST/',
  'http://loc%61lhost/',
  'http://localhost.evil.test/',
  'https://stock.example.com./',
  'https://ſtock.example.com/',
  'https://xn--tock-3za.example.com/',
  // Private and metadata
  'http://169.254.169.254/latest/meta-data',
  'http://10.0.0.1/',
  'http://192.168.0.1/',
  'http://[fd00::1]/',
  'http://[fe80::1]/',
  'http://metadata.google.internal/',
  // User information
  'http://127.0.0.1@169.254.169.254/',
  'https://stock.example.com@evil.test/',
  'https://user:secret@stock.example.com/',
  'https://@stock.example.com/',
  'https://stock.example.com:443@evil.test/',
  // Characters that parsers treat differently
  'https://stock.example.com\\@evil.test/',
  'https:\\\\stock.example.com/',
  'https://stock.example.com/\n',
  ' https://stock.example.com/',
  'https://stock.exa\tmple.com/',
  'https://stock.example.com/\0',
  'https://stock.example.com/a b',
  'https://stock.example.com/#fragment',
  'https://stock.example.com#@evil.test/',
  'https://stock.example.com:99999/',
  'https://stock.example.com:/',
  'https://stock.example.com:0443/',
  `https://stock.example.com/${'x'.repeat(2_048)}`,
];

describe('the list of allowed addresses', () => {
  it.each(allowed)('lets %j through', (url) => {
    expect(check(url)).toBeUndefined();
  });

  it.each(refused)('refuses %j, and says why', (url) => {
    expect(check(url)).toMatch(/./);
  });

  it('allows nothing without rules', () => {
    for (const url of allowed) expect(allowAddresses([])(url)).toMatch(/./);
  });

  it('takes https where a rule names no scheme', () => {
    const only = allowAddresses([{ kind: 'host', host: 'a.example' }]);
    expect([only('https://a.example/'), only('http://a.example/')]).toEqual([undefined, expect.any(String)]);
  });

  it.each([
    '',
    'example.com',
    'https://',
    'https://*',
    'https://a.*.example',
    'https://user@a.example',
    'ftp://a.example',
  ])('does not read %j as a rule', (text) => {
    expect(() => parseAllowRule(text)).toThrow(
      expect.toSatisfy((e) => isSettleError(e) && e.code === 'config_invalid'),
    );
  });
});
