import { memoryStore } from 'settle/store/memory';
import { sqliteStore } from 'settle/store/sqlite';
import type { Store } from 'settle/engine/ports';

/** The store that `--store` names, open and checked. Rejects with `store_locked`, `store_corrupt`, `store_newer`. */
export async function openStore(where: string): Promise<Store> {
  if (where === 'memory') return memoryStore();
  const store = sqliteStore(where);
  try {
    await store.ready();
    return store;
  } catch (error) {
    await store.close().catch(() => undefined);
    throw error;
  }
}
