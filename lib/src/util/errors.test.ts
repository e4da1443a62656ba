import { describe, expect, it } from 'vitest';
import { assert, AssertionError, unreachable } from './assert.ts';
import { errorCodes, isSettleError, messageOf, SettleError } from './errors.ts';

describe('a SettleError', () => {
  it('leads its message with the code, and keeps what it knows', () => {
    const cause = new Error('disk');
    const error = new SettleError('unavailable', 'no room', {
      gid: 'g1',
      next: 'Free some',
      retryAfterMs: 5,
      issues: [{ path: '/a', message: 'is wrong' }],
      cause,
    });
    expect(error).toMatchObject({
      name: 'SettleError',
      message: 'unavailable: no room',
      code: 'unavailable',
      gid: 'g1',
      next: 'Free some',
      retryAfterMs: 5,
      issues: [{ path: '/a' }],
      cause,
    });
  });

  it('knows nothing it was not told', () => {
    const error = new SettleError('internal', 'x');
    expect(error).toMatchObject({ gid: undefined, next: undefined, issues: [] });
    expect('cause' in error).toBe(false);
  });

  it('is recognised across installed copies', async () => {
    const path = './errors.ts?another-copy';
    const copy = (await import(/* @vite-ignore */ path)) as typeof import('./errors.ts');
    expect(copy.SettleError).not.toBe(SettleError);
    expect(isSettleError(new copy.SettleError('internal', 'x'))).toBe(true);
    expect([new Error('x'), null, 'x'].some((other) => isSettleError(other))).toBe(false);
  });

  it('has codes that are all different', () => {
    expect(new Set(errorCodes).size).toBe(errorCodes.length);
  });
});

it('anything thrown has a text', () => {
  expect([messageOf(new Error('x')), messageOf('y'), messageOf(undefined)]).toEqual(['x', 'y', 'undefined']);
});

describe('an assertion', () => {
  it('stops at once when it does not hold', () => {
    expect(() => assert(false, 'broken')).toThrow(AssertionError);
    expect(() => assert(true, 'fine')).not.toThrow();
    expect(() => unreachable({ kind: 'odd' } as never, 'state')).toThrow('state: {"kind":"odd"}');
  });
});
