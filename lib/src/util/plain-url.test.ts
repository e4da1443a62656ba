import { describe, expect, it } from 'vitest';
import { whyNotPlainUrl } from './plain-url.ts';

describe('whyNotPlainUrl', () => {
  it.each([
    'http://127.0.0.1:4000/reserve',
    'https://bank.example',
    'https://bank.example/a?b=c',
    'https://bank.example:443/',
    'http://[::1]:80/',
    'http://b.example/a@b',
    'http://x.example/%2e%2e/',
  ])('takes %s, and takes it again', (text) => {
    expect(whyNotPlainUrl(text)).toBeUndefined();
    expect(whyNotPlainUrl(text)).toBeUndefined();
  });

  it.each([
    '',
    '/reserve',
    '//bank.example/',
    'bank.example',
    'fn:debit',
    'ftp://bank.example/',
    'file:///etc/passwd',
    'javascript:alert(1)',
    'data:text/plain,x',
    'http:bank.example',
    'http:/bank.example',
    'http:///bank.example/',
    'http://',
    'http://:80/',
    'http://bank.example:99999/',
    'http://[::1/',
    'http://user@bank.example/',
    'http://user:pw@bank.example/',
    'http://@bank.example/',
    'http://bank.example\\@evil.example/',
    'http:\\\\bank.example/',
    'http://bank.example\\.evil.example/',
    'http://bank.example/a\\b',
    'http://bank.example./',
    'http://bank.example.:80/x',
    ' http://bank.example/',
    'http://bank.example/ ',
    'http://bank.example/\n',
    'ht\ttp://bank.example/',
    'http://ba nk.example/',
    'http://bank.example/#there',
    'http://bank.example/#',
    'http://a b/',
    `http://bank.example/${'x'.repeat(2_048)}`,
  ])('refuses %j, and refuses it again', (text) => {
    expect(whyNotPlainUrl(text)).toMatch(/\w/);
    expect(whyNotPlainUrl(text)).toMatch(/\w/);
  });
});
