import { describe, expect, it } from 'vitest';
import { SettleError } from '../../util/errors.ts';
import { judge } from './sqlite-errors.ts';

function sqliteError(errcode: number): Error {
  return Object.assign(new Error('said by SQLite'), { code: 'ERR_SQLITE_ERROR', errcode });
}

// https://www.sqlite.org/rescode.html
const table: readonly [name: string, code: number, settles: string, fatal: boolean][] = [
  ['SQLITE_BUSY', 5, 'unavailable', false],
  ['SQLITE_IOERR', 10, 'unavailable', false],
  ['SQLITE_IOERR_READ', 266, 'unavailable', false],
  ['SQLITE_IOERR_WRITE', 778, 'unavailable', false],
  // covers A25
  ['SQLITE_IOERR_FSYNC', 1034, 'unavailable', true],
  ['SQLITE_IOERR_DIR_FSYNC', 1290, 'unavailable', true],
  ['SQLITE_CORRUPT', 11, 'store_corrupt', true],
  ['SQLITE_CORRUPT_INDEX', 779, 'store_corrupt', true],
  ['SQLITE_FULL', 13, 'unavailable', false],
  ['SQLITE_CANTOPEN', 14, 'unavailable', false],
  ['SQLITE_NOTADB', 26, 'store_corrupt', true],
];

describe('what an error of SQLite means', () => {
  it.each(table)('%s', (_name, code, settles, fatal) => {
    const verdict = judge(sqliteError(code), '/data/settle.db');
    expect([verdict.error.code, verdict.fatal]).toEqual([settles, fatal]);
    expect(verdict.error.message).toContain('/data/settle.db');
    expect(verdict.error.next).toBeTruthy();
  });

  it('leaves our own errors as they are', () => {
    const own = new SettleError('invalid_request', 'no');
    expect(judge(own, 'x')).toEqual({ error: own, fatal: false });
  });

  it('takes what the operating system refuses for a fault of the place', () => {
    const denied = Object.assign(new Error('EACCES: permission denied'), { code: 'EACCES', syscall: 'open' });
    const { error, fatal } = judge(denied, '/data/settle.db');
    expect([error.code, fatal, error.message]).toEqual([
      'unavailable',
      false,
      'unavailable: /data/settle.db: EACCES: permission denied',
    ]);
  });

  it('takes anything else for a defect of ours', () => {
    expect(judge(new TypeError('oops'), 'x').error.code).toBe('internal');
  });
});
