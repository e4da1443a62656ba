import { historyEntriesMax, type HistoryEntry } from '../core/patterns.ts';

/** History with one more entry; beyond the limit the older half stays, and the middle is counted, not kept. */
export function withEntry(history: readonly HistoryEntry[], entry: HistoryEntry): readonly HistoryEntry[] {
  if (history.length < historyEntriesMax) return [...history, entry];
  const kept = historyEntriesMax / 2;
  const middle = history[kept];
  // The first time two entries make room: one for the count, one for the newcomer.
  const count = middle?.kind === 'left-out' ? middle.count + 1 : 2;
  return [
    ...history.slice(0, kept),
    { kind: 'left-out', atMs: entry.atMs, count },
    ...history.slice(kept + 2),
    entry,
  ];
}
