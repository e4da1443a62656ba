import { describe, expect, it } from 'vitest';
import { isSettleError } from '../util/errors.ts';
import { parseSecret, sign, verify } from './signature.ts';

const secretText = 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw';
const secret = parseSecret(secretText);
const other = parseSecret(`whsec_${Buffer.alloc(32, 7).toString('base64')}`);
const signed = { id: 'msg_p5jXN8AQM9LWM0D4loKWxJek', timestamp: '1614265330', body: '{"test": 2432232314}' };
const nowMs = 1_614_265_330_000;

describe('signing', () => {
  it('agrees with the test vector of the Standard Webhooks libraries', () => {
    expect(sign([secret], signed)).toBe('v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=');
  });

  it('gives one signature for each secret', () => {
    expect(sign([secret, other], signed).split(' ')).toHaveLength(2);
  });
});

describe('verifying', () => {
  const signature = sign([secret], signed);
  const cases: [what: string, received: Parameters<typeof verify>[1], nowMs: number, valid: boolean][] = [
    ['takes what was signed', { ...signed, signature }, nowMs, true],
    [
      'takes either secret while they change',
      { ...signed, signature: sign([other, secret], signed) },
      nowMs,
      true,
    ],
    [
      'takes a known signature among unknown schemes',
      { ...signed, signature: `v1a,abc v2,x ${signature}` },
      nowMs,
      true,
    ],
    ['takes a clock that is 5 minutes off', { ...signed, signature }, nowMs + 300_000, true],
    ['refuses a replay after more than 5 minutes', { ...signed, signature }, nowMs + 300_001, false],
    ['refuses a time more than 5 minutes ahead', { ...signed, signature }, nowMs - 300_001, false],
    [
      'refuses a body with one byte changed',
      { ...signed, body: '{"test": 2432232315}', signature },
      nowMs,
      false,
    ],
    ['refuses another id', { ...signed, id: 'msg_q', signature }, nowMs, false],
    ['refuses another time', { ...signed, timestamp: '1614265331', signature }, nowMs, false],
    ['refuses a secret that is not ours', { ...signed, signature: sign([other], signed) }, nowMs, false],
    ['refuses a signature that is cut', { ...signed, signature: signature.slice(0, -6) }, nowMs, false],
    ['refuses an empty signature', { ...signed, signature: 'v1,' }, nowMs, false],
    ['refuses a signature without scheme', { ...signed, signature: signature.slice(3) }, nowMs, false],
    ['refuses no signature', { ...signed, signature: undefined }, nowMs, false],
    ['refuses no id', { ...signed, id: undefined, signature }, nowMs, false],
    ['refuses no time', { ...signed, timestamp: undefined, signature }, nowMs, false],
    ['refuses a time that is no number', { ...signed, timestamp: '1e9', signature }, nowMs, false],
    [
      'refuses signatures without end',
      { ...signed, signature: `${'v1,a '.repeat(500)}${signature}` },
      nowMs,
      false,
    ],
  ];

  it.each(cases)('%s', (_what, received, at, valid) => {
    expect(verify([secret], received, { nowMs: at }).kind).toBe(valid ? 'valid' : 'invalid');
  });

  it('refuses an id with a dot, which could move bytes from the body into the id', () => {
    const moved = { id: 'a.1614265330.b', timestamp: '1614265330', body: 'c' };
    expect(verify([secret], { ...moved, signature: sign([secret], moved) }, { nowMs }).kind).toBe('invalid');
  });

  it('refuses everything when there are no secrets', () => {
    expect(verify([], { ...signed, signature }, { nowMs }).kind).toBe('invalid');
  });
});

describe('reading a secret', () => {
  it.each([24, 64])('takes %i bytes', (length) => {
    expect(parseSecret(`whsec_${Buffer.alloc(length, 1).toString('base64')}`)).toHaveLength(length);
  });

  it.each([
    ['no prefix', 'MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw'],
    ['no base64', 'whsec_!!!!'],
    ['23 bytes', `whsec_${Buffer.alloc(23, 1).toString('base64')}`],
    ['65 bytes', `whsec_${Buffer.alloc(65, 1).toString('base64')}`],
    ['nothing', ''],
    ['a stray bit at the end', 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwB'],
  ])('refuses %s, without a word of it', (_what, text) => {
    const error: unknown = thrownBy(() => parseSecret(text));
    expect(isSettleError(error) && error.code).toBe('config_invalid');
    expect(String(error).includes(text.slice(6) || 'whsec_M')).toBe(false);
  });
});

function thrownBy(body: () => unknown): unknown {
  try {
    return body();
  } catch (error) {
    return error;
  }
}
