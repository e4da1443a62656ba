// For tests: commits in a loop and notes each gid in a file once it was acknowledged. Arguments: store, notes, prefix.
// Plain JavaScript, so that it stays out of the built package.
import { openSync, writeSync } from 'node:fs';
import { sqliteStore } from './index.ts';

const [path, notesPath, run] = process.argv.slice(2);
const notes = openSync(notesPath, 'a');
const store = sqliteStore(path);
const { epoch } = await store.join('child', 60_000);
process.send('open');

await Promise.all(
  Array.from({ length: 8 }, async (_, writer) => {
    for (let i = 0; ; i++) {
      const gid = `${run}-${writer}-${i}`;
      const { outcomes } = await store.commit([
        {
          kind: 'insert',
          gid,
          pattern: 'saga',
          name: 'n',
          status: 'running',
          stuck: false,
          epoch,
          plan: 'p'.repeat(500),
          progress: String(i),
          createdAtMs: 0,
          dueAtMs: 0,
        },
      ]);
      if (outcomes[0].kind === 'written') writeSync(notes, `${gid}\n`);
    }
  }),
);
