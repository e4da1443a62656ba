import { type NodePgDatabase, drizzle } from 'drizzle-orm/node-postgres';
import { pgTable, serial, text as textColumn } from 'drizzle-orm/pg-core';
import { Pool } from 'pg';
import { notOffered, type Peer, type Unit, type Work } from '../peer.ts';
import { versionsOf } from '../versions.ts';

const note = pgTable('note', { id: serial().primaryKey(), text: textColumn().notNull() });

export const peer: Peer = {
  name: 'drizzle',
  about: `${versionsOf('drizzle-orm', 'pg')}; db.transaction, tx.transaction`,
  offers: ['nested', 'requiresNew'],
  open({ url, poolMax, acquireTimeoutMs }) {
    const pool = new Pool({
      connectionString: url,
      max: poolMax,
      ...(acquireTimeoutMs === undefined ? {} : { connectionTimeoutMillis: acquireTimeoutMs }),
    });
    const db = drizzle(pool);
    return Promise.resolve({
      run: (work) => inTransaction(db, db, work),
      async insert(text) {
        await db.insert(note).values({ text });
      },
    });
  },
};

type Database = Pick<NodePgDatabase, 'transaction' | 'insert' | 'execute'>;

/** By the database a new transaction, by one of its transactions a savepoint. */
function inTransaction<T>(root: Database, within: Database, work: Work<T>): Promise<T> {
  return within.transaction((tx) => work(unitOf(root, tx)));
}

function unitOf(root: Database, tx: Database): Unit {
  return {
    async insert(text) {
      await tx.insert(note).values({ text });
    },
    async fail() {
      await tx.execute('select 1 / 0');
    },
    run(propagation, work) {
      if (propagation === 'requiresNew') return inTransaction(root, root, work);
      if (propagation === 'nested') return inTransaction(root, tx, work);
      return notOffered(propagation);
    },
    afterCommit: () => notOffered('afterCommit'),
  };
}
