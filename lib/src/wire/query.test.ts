import { describe, expect, it } from 'vitest';
import { isSettleError } from '../util/errors.ts';
import { parseQuery } from './query.ts';
import { listQuery } from './routes.ts';

function faults(text: string): readonly unknown[] {
  try {
    parseQuery(text, listQuery);
    return [];
  } catch (error) {
    return isSettleError(error) ? error.issues.map(({ path }) => path) : [error];
  }
}

describe('parseQuery', () => {
  it('reads every member by its type', () => {
    expect(
      parseQuery(
        'status=running,trying&status=aborted&pattern=saga&name=a%20b+c&stuck=true&createdFromMs=0&createdToMs=1700000000000&limit=200&gidContains=7',
        listQuery,
      ),
    ).toEqual({
      status: ['running', 'trying', 'aborted'],
      pattern: 'saga',
      name: 'a b c',
      stuck: true,
      createdFromMs: 0,
      createdToMs: 1_700_000_000_000,
      limit: 200,
      gidContains: '7',
    });
    expect(parseQuery('', listQuery)).toEqual({});
  });

  it.each([
    ['limit=0', '/limit'],
    ['limit=201', '/limit'],
    ['limit=', '/limit'],
    ['limit=1.5', '/limit'],
    ['limit=1e1', '/limit'],
    ['limit=0x10', '/limit'],
    ['limit=%201', '/limit'],
    ['limit=1&limit=2', '/limit'],
    ['name=a&name=b', '/name'],
    ['stuck=1', '/stuck'],
    ['stuck=TRUE', '/stuck'],
    ['stuck', '/stuck'],
    ['status=done', '/status/0'],
    ['status=running,', '/status/1'],
    ['status=', '/status/0'],
    ['pattern=xa', '/pattern'],
    ['name=', '/name'],
    ['createdFromMs=-1', '/createdFromMs'],
    ['createdFromMs=99999999999999999', '/createdFromMs'],
    ['gidContains=', '/gidContains'],
    ['other=1', '/other'],
    ['__proto__=1', '/__proto__'],
    ['constructor=1', '/constructor'],
    ['a/b=1', '/a~1b'],
  ])('refuses %s at %s', (text, path) => {
    expect(faults(text)).toEqual([path]);
  });

  it('refuses what is too long before reading it', () => {
    expect(() => parseQuery('x'.repeat(5_000), listQuery)).toThrow(/longer than 4096/);
  });
});
