import { describe, it } from 'vitest';
import { memoryOutbox } from './memory-store.ts';
import { relayStoreContract, type ContractPlace, type NewMessage } from './store-contract.ts';

/** As long as nothing happens, no time passes. */
function memoryPlace(): ContractPlace {
  let nowMs = 1_800_000_000_000;
  const outbox = memoryOutbox(() => nowMs);
  const begin = ({ key, delayMs, ...message }: NewMessage): (() => void) =>
    outbox.begin({
      ...message,
      ...(key !== undefined && { key }),
      ...(delayMs !== undefined && { delayMs }),
    });
  return {
    store: outbox,
    async write(messages) {
      for (const message of messages) begin(message)();
    },
    async begin() {
      const commits: (() => void)[] = [];
      return {
        write: async (messages) => void commits.push(...messages.map(begin)),
        commit: async () => commits.forEach((commit) => commit()),
      };
    },
    readLong: async () => ({ end: async () => {} }),
    async pass(ms) {
      nowMs += ms;
    },
  };
}

relayStoreContract({ describe, it }, 'memory', async () => memoryPlace(), {
  tables: 'memory has no tables',
  numbers: 'a bigint is exact whatever its size',
  dedup: 'the outbox in memory takes every message',
});
