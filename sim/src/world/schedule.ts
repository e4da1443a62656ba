/**
 * Virtual time: one heap of what is to happen, in the order of time and then of being asked for.
 *
 * - V1 Time stands still while anything runs, and jumps to the next entry.
 * - V2 Before the next entry, every promise that can settle has settled, with all that follows from it.
 * - V3 Nothing here touches the real clock or the event loop's timers.
 */
import type { TraceHash } from './trace-hash.ts';

export interface Entry {
  readonly at: number;
  readonly order: number;
  run: (() => void) | undefined;
}

/** Entries after which a run is taken for one that never ends; usual ones have some thousands. */
export const eventsMax = 1_000_000;

export class Schedule {
  now = 0;
  /** Entries that ran. */
  events = 0;
  readonly #heap: Entry[] = [];
  #order = 0;
  readonly #hash: TraceHash;

  constructor(hash: TraceHash) {
    this.#hash = hash;
  }

  /** Runs it after so many milliseconds, never at once. Returns what cancels it. */
  after(delayMs: number, run: () => void): () => void {
    // Times are kept in microseconds, so that sums of fractions compare the same everywhere.
    const at = this.now + Math.max(0, Math.round(delayMs * 1_000) / 1_000);
    const entry: Entry = { at, order: this.#order++, run };
    this.#push(entry);
    return () => (entry.run = undefined);
  }

  /** Runs entries until one of them calls {@link stop}, or none is left. */
  run(): Promise<void> {
    return new Promise((resolve, reject) => {
      const turn = (): void => {
        try {
          if (this.#stopped || !this.#runNext()) return resolve();
        } catch (error) {
          return reject(error instanceof Error ? error : new Error(String(error)));
        }
        // V2: microtasks run to their end before the next tick; setImmediate would do the same at a sixth of the pace.
        queueMicrotask(later);
      };
      const later = (): void => process.nextTick(turn);
      // Not at once: what the world was built with has promises, too, wherever this is called from.
      queueMicrotask(later);
    });
  }

  stop(): void {
    this.#stopped = true;
  }

  #stopped = false;

  #runNext(): boolean {
    for (;;) {
      const entry = this.#pop();
      if (entry === undefined) return false;
      const { run } = entry;
      if (run === undefined) continue;
      this.now = entry.at;
      if (++this.events > eventsMax) throw new Error(`${eventsMax} events, and no end`);
      this.#hash.number(entry.at);
      this.#hash.number(entry.order);
      entry.run = undefined;
      run();
      return true;
    }
  }

  #push(entry: Entry): void {
    const heap = this.#heap;
    let at = heap.push(entry) - 1;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      const above = heap[parent];
      if (above === undefined || !isBefore(entry, above)) break;
      heap[at] = above;
      at = parent;
    }
    heap[at] = entry;
  }

  #pop(): Entry | undefined {
    const heap = this.#heap;
    const first = heap[0];
    const last = heap.pop();
    if (first === undefined || last === undefined || heap.length === 0) return first;
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      let below = heap[child];
      if (below === undefined) break;
      const right = heap[child + 1];
      if (right !== undefined && isBefore(right, below)) {
        child++;
        below = right;
      }
      if (!isBefore(below, last)) break;
      heap[at] = below;
      at = child;
    }
    heap[at] = last;
    return first;
  }
}

function isBefore(a: Entry, b: Entry): boolean {
  return a.at < b.at || (a.at === b.at && a.order < b.order);
}
