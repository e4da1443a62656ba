import { spawn } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { typeStrippingFlags } from '../../scripts/lib/node.mjs';

let folder: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'settle-retry-'));
});

afterAll(() => rm(folder, { recursive: true }));

const program = `
  import { DatabaseSync } from 'node:sqlite';
  import { nodeSqliteDriver } from '${new URL('../../lib/src/local/adapters/node-sqlite.ts', import.meta.url).href}';
  import { createTransactions } from '${new URL('../../lib/src/local/manager.ts', import.meta.url).href}';
  const [other, own] = [new DatabaseSync('busy.db'), new DatabaseSync('busy.db')];
  other.exec('create table note (value); begin immediate');
  own.exec('pragma busy_timeout = 0');
  let attempts = 0;
  const add = (t) => {
    if (++attempts === 2) other.exec('rollback');
    t.client.prepare('insert into note values (1)').run();
  };
  const retry = { attemptsMax: 3, baseMs: 20 };
  createTransactions(nodeSqliteDriver(own), { random: () => 1 })
    .run(add, { retry })
    .then(() => console.log('committed'), console.error);
`;

test('a process that has nothing else to do lives until the transaction was tried again', async () => {
  const child = spawn(process.execPath, [...typeStrippingFlags(), '--input-type=module', '--eval', program], {
    cwd: folder,
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  expect(await text(child.stdout)).toBe('committed\n');
});
