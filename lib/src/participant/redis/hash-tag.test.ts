import { expect, it } from 'vitest';
import { hashTagOf } from './hash-tag.ts';

// Of the cluster specification of Redis.
it.each([
  ['{user1000}.following', 'user1000'],
  ['foo{}{bar}', 'foo{}{bar}'],
  ['foo{{bar}}zap', '{bar'],
  ['foo{bar}{zap}', 'bar'],
  ['plain', 'plain'],
  ['a}b{c', 'a}b{c'],
])('the slot of %s is made from %s', (key, tag) => {
  expect(hashTagOf(key)).toBe(tag);
});
