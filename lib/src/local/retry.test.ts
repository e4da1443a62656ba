import { describe, expect, test } from 'vitest';
import { SettleError } from '../util/errors.ts';
import { mysqlDialect, postgresDialect, sqliteDialect } from './dialect.ts';
import { CommitUnknown, PostCommitError, UnexpectedRollback } from './errors.ts';
import { pauseBeforeRetryMs } from './retry.ts';

const conflict = Object.assign(new Error('could not serialize access'), { code: '40001' });
const deadlock = Object.assign(new Error('Deadlock found'), { errno: 1213 });
const busy = Object.assign(new Error('database is locked'), { errcode: 5 });
const retry = { attemptsMax: 3 };

function isRetried(error: unknown, dialect = postgresDialect): boolean {
  return pauseBeforeRetryMs(error, 1, retry, dialect, () => 0) !== undefined;
}

describe('a transaction is tried again', () => {
  test('after a serialization failure or a deadlock, however deep it is wrapped', () => {
    expect(isRetried(conflict)).toBe(true);
    expect(isRetried(deadlock, mysqlDialect)).toBe(true);
    expect(isRetried(busy, sqliteDialect)).toBe(true);
    expect(isRetried(new Error('order failed', { cause: conflict }))).toBe(true);
    expect(isRetried(new UnexpectedRollback('order', conflict))).toBe(true);
  });

  test('not after any other error, or none', () => {
    for (const error of [
      new Error('no stock'),
      'text',
      undefined,
      null,
      new SettleError('scope_ended', 'late'),
    ])
      expect(isRetried(error)).toBe(false);
  });

  test.each([
    ['committed', new PostCommitError('inner', [deadlock], undefined)],
    ['perhaps committed', new CommitUnknown('inner', deadlock)],
    ['committed on the way', new SettleError('implicit_commit', 'inner', { cause: deadlock })],
  ])('not when something of it is %s, however deep that is wrapped', (_, error) => {
    expect(isRetried(error, mysqlDialect)).toBe(false);
    expect(isRetried(new Error('order failed', { cause: error }), mysqlDialect)).toBe(false);
    const twice = new Error('a', { cause: new Error('b', { cause: error }) });
    expect(isRetried(twice, mysqlDialect)).toBe(false);
  });

  test('not when its attempts are used up', () => {
    expect(pauseBeforeRetryMs(conflict, 2, retry, postgresDialect, () => 0)).toBe(0);
    expect(pauseBeforeRetryMs(conflict, 3, retry, postgresDialect, () => 0)).toBeUndefined();
  });

  test('after pauses that double, up to the longest', () => {
    const pauses = [1, 2, 3, 4, 99].map((attempt) =>
      pauseBeforeRetryMs(
        conflict,
        attempt,
        { attemptsMax: 100, baseMs: 10, maxMs: 50 },
        postgresDialect,
        () => 1,
      ),
    );
    expect(pauses).toEqual([10, 20, 40, 50, 50]);
  });

  test('whatever the error points to, itself among that', () => {
    const circle = new Error('circle');
    circle.cause = circle;
    expect(isRetried(circle)).toBe(false);
  });
});
