import { describe, expect, test } from 'vitest';
import { PartitionProgress } from './kafka-progress.ts';

function taken(...offsets: bigint[]): PartitionProgress {
  const progress = new PartitionProgress('orders', 0, 10n);
  for (const offset of offsets) progress.take(offset);
  return progress;
}

describe('the position of a partition', () => {
  test('is where it began while nothing is taken', () => {
    expect(taken().position).toBe(10n);
  });

  test('stays before the first message that is not done', () => {
    const progress = taken(10n, 11n, 12n);
    progress.done(11n);
    progress.done(12n);
    expect(progress.position).toBe(10n);
    progress.done(10n);
    expect(progress.position).toBe(13n);
  });

  test('passes over offsets that the log does not give out', () => {
    const progress = taken(10n, 15n);
    progress.done(10n);
    expect(progress.position).toBe(15n);
    progress.done(15n);
    progress.skipTo(20n);
    expect(progress.position).toBe(20n);
  });

  test('is not moved by what comes behind while something before is at work', () => {
    const progress = taken(10n);
    progress.skipTo(20n);
    expect(progress.position).toBe(10n);
  });

  test('a message that comes again is not taken again', () => {
    const progress = taken(10n, 11n);
    expect([progress.take(10n), progress.take(11n), progress.take(12n)]).toEqual([false, false, true]);
  });
});
