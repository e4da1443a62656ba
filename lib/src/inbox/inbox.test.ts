import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { afterAll, describe, expect, test } from 'vitest';
import { inboxContract } from '../../../test/inbox/contract.ts';
import { nodeSqliteDriver } from '../local/adapters/node-sqlite.ts';
import { createTransactions } from '../local/manager.ts';
import { createInbox, inboxMigration } from './index.ts';

const folder = mkdtempSync(join(tmpdir(), 'settle-inbox-'));
afterAll(() => rmSync(folder, { recursive: true }));

inboxContract({
  name: 'node:sqlite',
  isolations: ['serializable'],
  writesSideBySide: false,
  async open() {
    const db = new DatabaseSync(join(folder, 'inbox.sqlite'));
    db.exec('pragma busy_timeout = 0');
    return { driver: nodeSqliteDriver(db), close: async () => db.close() };
  },
});

test('the statements of the migration are all that is needed, and may run again', async () => {
  const db = new DatabaseSync(':memory:');
  for (const sql of [...inboxMigration.sqlite, ...inboxMigration.sqlite]) db.exec(sql);
  const inbox = createInbox(createTransactions(nodeSqliteDriver(db)));
  expect(await inbox.once('stock', 'm1', () => 1)).toEqual({ duplicate: false, result: 1 });
  db.close();
});

describe('the redelivery window', () => {
  const tx = createTransactions(nodeSqliteDriver(new DatabaseSync(':memory:')));

  test('is seven days unless said otherwise', () => {
    expect(createInbox(tx).redeliveryWindowMs).toBe(7 * 24 * 3_600_000);
  });

  test.each([0, -1, Number.NaN])('is not %d', (redeliveryWindowMs) => {
    expect(() => createInbox(tx, { redeliveryWindowMs })).toThrow('config_invalid');
  });
});
