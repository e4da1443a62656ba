import { describe, expect, it } from 'vitest';
import { historyEntriesMax, type HistoryEntry } from '../core/patterns.ts';
import { withEntry } from './history.ts';

function entry(n: number): HistoryEntry {
  return { kind: 'call', atMs: n, branch: 'a', op: 'action', attempt: n, outcome: 'unknown' };
}

function after(count: number): readonly HistoryEntry[] {
  let history: readonly HistoryEntry[] = [];
  for (let n = 1; n <= count; n++) history = withEntry(history, entry(n));
  return history;
}

describe('the history of a transaction', () => {
  it('keeps everything up to its limit', () => {
    expect(after(historyEntriesMax).map(({ atMs }) => atMs)).toEqual(
      Array.from({ length: 200 }, (_, i) => i + 1),
    );
  });

  it.each([201, 202, 350, 1_000])('never grows beyond its limit, here after %i entries', (count) => {
    expect(after(count)).toHaveLength(historyEntriesMax);
  });

  it.each([201, 202, 350, 1_000])(
    'keeps the oldest half and the newest entries, and counts the rest of %i',
    (count) => {
      const history = after(count);
      const leftOut = history.flatMap((at) => (at.kind === 'left-out' ? [at.count] : []));
      expect(leftOut).toEqual([count - historyEntriesMax + 1]);
      expect(history.slice(0, 100).map(({ atMs }) => atMs)).toEqual(
        Array.from({ length: 100 }, (_, i) => i + 1),
      );
      expect(history.slice(101).map(({ atMs }) => atMs)).toEqual(
        Array.from({ length: 99 }, (_, i) => count - 98 + i),
      );
    },
  );

  it('changes nothing that was handed out', () => {
    const before = after(historyEntriesMax);
    const copy = [...before];
    withEntry(before, entry(201));
    expect(before).toEqual(copy);
  });
});
