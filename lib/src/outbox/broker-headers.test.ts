import { describe, expect, test } from 'vitest';
import { percentDecoded, percentEncoded } from './broker-headers.ts';

describe('values of headers', () => {
  test.each([
    ['order-1', 'order-1'],
    ['', ''],
    ['a b"c%d', 'a%20b%22c%25d'],
    ['Euro € 😀', 'Euro%20%E2%82%AC%20%F0%9F%98%80'],
    ['two\r\nlines', 'two%0D%0Alines'],
  ])('carry %j as %j, and back', (text, encoded) => {
    expect(percentEncoded(text)).toBe(encoded);
    expect(percentDecoded(encoded)).toBe(text);
  });

  test('bear half a character', () => {
    expect(percentEncoded('a\uD800')).toBe('a%EF%BF%BD');
  });

  test('stay as they are when nobody encoded them', () => {
    expect(percentDecoded('100 %')).toBe('100 %');
  });
});
