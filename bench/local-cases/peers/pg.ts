import { Pool, type PoolClient } from 'pg';
import { notOffered, type Peer, type Unit, type Work } from '../peer.ts';
import { versionsOf } from '../versions.ts';

export const peer: Peer = {
  name: 'pg',
  about: `${versionsOf('pg')}; BEGIN, COMMIT, ROLLBACK as in node-postgres's page on transactions, savepoints by the depth`,
  offers: ['nested', 'requiresNew'],
  open({ url, poolMax, acquireTimeoutMs }) {
    const pool = new Pool({
      connectionString: url,
      max: poolMax,
      ...(acquireTimeoutMs === undefined ? {} : { connectionTimeoutMillis: acquireTimeoutMs }),
    });
    return Promise.resolve({
      run: (work) => inTransaction(pool, work),
      async insert(text) {
        await pool.query('insert into note (text) values ($1)', [text]);
      },
    });
  },
};

async function inTransaction<T>(pool: Pool, work: Work<T>): Promise<T> {
  const client = await pool.connect();
  try {
    await client.query('begin');
    const result = await work(unitOf(pool, client, 1));
    await client.query('commit');
    return result;
  } catch (error) {
    await client.query('rollback');
    throw error;
  } finally {
    client.release();
  }
}

async function inSavepoint<T>(client: PoolClient, name: string, work: () => Promise<T>): Promise<T> {
  await client.query(`savepoint ${name}`);
  try {
    const result = await work();
    await client.query(`release savepoint ${name}`);
    return result;
  } catch (error) {
    await client.query(`rollback to savepoint ${name}`);
    throw error;
  }
}

function unitOf(pool: Pool, client: PoolClient, depth: number): Unit {
  return {
    async insert(text) {
      await client.query('insert into note (text) values ($1)', [text]);
    },
    async fail() {
      await client.query('select 1 / 0');
    },
    run(propagation, work) {
      if (propagation === 'requiresNew') return inTransaction(pool, work);
      if (propagation === 'nested')
        return inSavepoint(client, `sp${depth}`, () => work(unitOf(pool, client, depth + 1)));
      return notOffered(propagation);
    },
    afterCommit: () => notOffered('afterCommit'),
  };
}
