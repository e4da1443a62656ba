import { describe, expect, test } from 'vitest';
import { isSettleError } from '../util/errors.ts';
import { parseToken, positionOf, readTokenLengthMax, tokenOf, type Position } from './read-token.ts';

const uuid = '3E11FA47-71CA-11E1-9E33-C80AA9429562'.toLowerCase();

const positions: readonly (readonly [token: string, position: Position])[] = [
  ['primary', { kind: 'unknown' }],
  ['postgres-00000001-000000001F040C58', { kind: 'postgres', timeline: '00000001', lsn: '0/1F040C58' }],
  ['postgres-0000000A-00000010000000FF', { kind: 'postgres', timeline: '0000000A', lsn: '10/FF' }],
  ['mariadb-0-1-40', { kind: 'mariadb', gtids: ['0-1-40'] }],
  [
    'mariadb-0-1-40.7-4294967295-18446744073709551615',
    { kind: 'mariadb', gtids: ['0-1-40', '7-4294967295-18446744073709551615'] },
  ],
  [
    `mysql-${uuid}:1-5:11-18.${uuid}:tag_1:7`,
    { kind: 'mysql', gtids: [`${uuid}:1-5:11-18`, `${uuid}:tag_1:7`] },
  ],
];

describe('a token', () => {
  test.each(positions)('%s says where the log stood, and is made of that', (token, position) => {
    expect(positionOf(token)).toEqual(position);
    expect(tokenOf(position)).toBe(token);
    expect(parseToken(token)).toBe(token);
  });

  test.each(positions)('%s can stand in a cookie, a header and a URL as it is', (token) => {
    expect(token).toMatch(/^[A-Za-z0-9.:_-]+$/);
  });

  test.each([
    '',
    ' primary',
    'Primary',
    'postgres-00000001-1F040C58',
    'postgres-00000001-000000001f040c58',
    'postgres-00000001-000000001F040C58 ',
    'postgres-00000001-000000001F040C58\n',
    "postgres-00000001-000000001F040C58'",
    'postgres-0000000G-000000001F040C58',
    'mariadb-',
    'mariadb-0-1',
    'mariadb-0-1-',
    'mariadb-0-1-40.',
    'mariadb-0-1-40,0-1-41',
    "mariadb-0-1-40'); drop table note; -- ",
    'mariadb-0-1-999999999999999999999',
    'mysql-1:2',
    `mysql-${uuid}`,
    `mysql-${uuid}:`,
    `mysql-${uuid}:1-`,
    `mysql-${uuid}:1') or ('1`,
    `mysql-${uuid.toUpperCase()}:1`,
    'sqlite-1',
    'x'.repeat(readTokenLengthMax + 1),
    `mariadb-${Array.from({ length: 500 }, () => '0-1-40').join('.')}`,
  ])('%j is none', (text) => {
    expect(() => parseToken(text)).toThrow(/^invalid_request: .* is no token/);
  });

  test.each([undefined, null, 7, {}, ['primary'], Symbol('primary')])('%s is none either', (value) => {
    expect(() => parseToken(value as string)).toThrow(/^invalid_request: .* is no token/);
  });

  test('the message shows no more of what came than its beginning', () => {
    const text = `\u001b[2J${'x'.repeat(500)}`;
    let message = '';
    try {
      parseToken(text);
    } catch (error) {
      message = isSettleError(error) ? error.message : '';
    }
    expect(message).toMatch(/^invalid_request: "\\u001b\[2Jx{36}" is no token/);
  });

  test('a position too long for it is for the primary alone', () => {
    const gtids = Array.from({ length: 200 }, (_, domain) => `${domain}-1-40`);
    expect(tokenOf({ kind: 'mariadb', gtids })).toBe('primary');
  });

  test('what is no position makes none', () => {
    expect(() => tokenOf({ kind: 'postgres', timeline: '', lsn: '' })).toThrow(/no token/);
    expect(() => tokenOf({ kind: 'mariadb', gtids: ["0-1-40'"] })).toThrow(/no token/);
  });
});
