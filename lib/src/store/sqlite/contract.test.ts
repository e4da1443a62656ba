import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it } from 'vitest';
import { storeContract } from '../contract.ts';
import { SqliteStore } from './sqlite-store.ts';

storeContract({ describe, it }, 'sqlite', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'settle-store-'));
  const open = () =>
    new SqliteStore({ path: join(folder, 'settle.db'), verify: 'bounded', synchronous: 'full' });
  const store = open();
  return {
    store,
    advance: (ms) => store.advance(ms),
    reopen: async () => {
      await store.close();
      return open();
    },
    dispose: async () => {
      await store.close();
      rmSync(folder, { recursive: true });
    },
  };
});
