import { DatabaseSync } from 'node:sqlite';
import { test } from 'vitest';
import { migrateOutbox } from '../../lib/src/outbox/index.ts';
import { nodeSqliteSubject } from '../local/node-sqlite-subject.ts';
import { connectionsMax, messagesOfTreesAreThoseThatSurvive } from './message-trees.ts';

const subject = nodeSqliteSubject();

test(
  'of 3,000 random trees of scopes those messages are left whose scopes survive',
  { timeout: 300_000 },
  async () => {
    const opened = await subject.open(connectionsMax, subject.database.url);
    await migrateOutbox(opened.driver);
    const db = new DatabaseSync(subject.database.url);
    const sent = {
      read: () =>
        Promise.resolve(
          db
            .prepare('select payload from settle_outbox order by seq')
            .all()
            .map(({ payload }) => String(payload)),
        ),
      clear: () => Promise.resolve(db.exec('delete from settle_outbox')),
    };
    try {
      await messagesOfTreesAreThoseThatSurvive(subject, opened, sent, 3_000);
    } finally {
      db.close();
      await opened.close();
    }
  },
);
