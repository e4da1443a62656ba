import { describe, expect, it } from 'vitest';
import { isBranchName, isGid, parseBranchName, parseGid } from './ids.ts';

describe('a gid', () => {
  it.each(['a', 'order-7_x:2~b', '0'.repeat(128)])('may be %s', (text) => {
    expect(parseGid(text)).toBe(text);
  });

  it.each(['', 'a b', 'a.b', 'a/b', 'ä', 'a\n', '0'.repeat(129)])('may not be %j', (text) => {
    expect(isGid(text)).toBe(false);
    expect(() => parseGid(text)).toThrow('is not a gid');
  });
});

describe('the name of a branch', () => {
  it.each(['a', '7', 'reserve_stock-2', 'a'.repeat(64)])('may be %s', (text) => {
    expect(parseBranchName(text)).toBe(text);
  });

  it.each(['', '-a', '_a', 'a.b', 'a b', 'a:b', 'a\n', 'a'.repeat(65)])('may not be %j', (text) => {
    expect(isBranchName(text)).toBe(false);
    expect(() => parseBranchName(text)).toThrow('is not a branch name');
  });
});
