/** Characters of what has columns of limited length on MySQL; the same everywhere, so that a message fits every database. */
export const columnLengths = {
  id: 255,
  target: 64,
  address: 2_048,
  key: 255,
  type: 255,
  dedupKey: 255,
  relay: 255,
} as const;

/**
 * Rows of `settle_outbox_key_locks` on MySQL and MariaDB: the slots that `serializeKeys` locks. Keys that share one wait for
 * each other. A version that changes this no longer waits for writers of the one before.
 */
export const keyLockSlots = 1_024;
