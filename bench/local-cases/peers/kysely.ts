import { type ControlledTransaction, Kysely, PostgresDialect, sql } from 'kysely';
import { Pool } from 'pg';
import { notOffered, type Peer, type Unit, type Work } from '../peer.ts';
import { versionsOf } from '../versions.ts';

interface Tables {
  readonly note: { readonly text: string };
}

type Controlled = ControlledTransaction<Tables, string[]>;

export const peer: Peer = {
  name: 'kysely',
  about: `${versionsOf('kysely', 'pg')}; its controlled transactions, which have savepoints`,
  offers: ['nested', 'requiresNew'],
  open({ url, poolMax, acquireTimeoutMs }) {
    const pool = new Pool({
      connectionString: url,
      max: poolMax,
      ...(acquireTimeoutMs === undefined ? {} : { connectionTimeoutMillis: acquireTimeoutMs }),
    });
    const db = new Kysely<Tables>({ dialect: new PostgresDialect({ pool }) });
    return Promise.resolve({
      run: (work) => inTransaction(db, work),
      async insert(text) {
        await db.insertInto('note').values({ text }).execute();
      },
    });
  },
};

async function inTransaction<T>(db: Kysely<Tables>, work: Work<T>): Promise<T> {
  const trx = await db.startTransaction().execute();
  try {
    const result = await work(unitOf(db, trx));
    await trx.commit().execute();
    return result;
  } catch (error) {
    await trx.rollback().execute();
    throw error;
  }
}

/** The name is the user's: a literal, as its types ask for, and so the same for siblings. */
async function inSavepoint<T>(db: Kysely<Tables>, trx: Controlled, work: Work<T>): Promise<T> {
  const within = await trx.savepoint('nested').execute();
  try {
    const result = await work(unitOf(db, within));
    await within.releaseSavepoint('nested').execute();
    return result;
  } catch (error) {
    await within.rollbackToSavepoint('nested').execute();
    throw error;
  }
}

function unitOf(db: Kysely<Tables>, trx: Controlled): Unit {
  return {
    async insert(text) {
      await trx.insertInto('note').values({ text }).execute();
    },
    async fail() {
      await sql`select 1 / 0`.execute(trx);
    },
    run(propagation, work) {
      if (propagation === 'requiresNew') return inTransaction(db, work);
      if (propagation === 'nested') return inSavepoint(db, trx, work);
      return notOffered(propagation);
    },
    afterCommit: () => notOffered('afterCommit'),
  };
}
