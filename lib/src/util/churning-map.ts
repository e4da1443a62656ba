/**
 * A Map for entries that come and go all the time while few are there at once.
 *
 * V8's own Map, when it makes a new table to be rid of deleted entries, lets the old table point to the new one (for
 * iterators under way). Once a single table has reached the old generation, that chain keeps every later table, and
 * what was in it, from being collected as young: measured with `--trace-gc`, one sixth of all that a transaction
 * allocated was promoted so, and had to be marked and compacted. This one moves to a fresh Map before V8 does that.
 *
 * Unlike a Map, a walk under way may still meet entries that were deleted after it began.
 */
export class ChurningMap<K, V> {
  #map = new Map<K, V>();
  #deleted = 0;

  get size(): number {
    return this.#map.size;
  }

  get(key: K): V | undefined {
    return this.#map.get(key);
  }

  has(key: K): boolean {
    return this.#map.has(key);
  }

  set(key: K, value: V): void {
    this.#map.set(key, value);
  }

  delete(key: K): boolean {
    if (!this.#map.delete(key)) return false;
    // V8 starts with room for four, and takes a new table once that many were put in, deleted ones included.
    if (++this.#deleted > 1 + this.#map.size / 2) {
      const fresh = new Map<K, V>();
      // `new Map(old)` would make an array of each entry.
      this.#map.forEach((value, key) => fresh.set(key, value));
      this.#map = fresh;
      this.#deleted = 0;
    }
    return true;
  }

  keys(): IterableIterator<K> {
    return this.#map.keys();
  }

  values(): IterableIterator<V> {
    return this.#map.values();
  }
}
