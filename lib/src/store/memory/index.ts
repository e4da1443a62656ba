/** `settle/store/memory`: a store for tests and experiments; nothing in it survives the process. */
export { memoryStore, type MemoryStoreOptions } from './memory-store.ts';
export type { Store } from '../../engine/ports.ts';
