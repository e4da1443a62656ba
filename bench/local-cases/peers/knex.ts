import knexPackage, { type Knex } from 'knex';
import { notOffered, type Peer, type Unit, type Work } from '../peer.ts';
import { versionsOf } from '../versions.ts';

export const peer: Peer = {
  name: 'knex',
  about: `${versionsOf('knex', 'pg')}; knex.transaction, trx.transaction`,
  offers: ['nested', 'requiresNew'],
  open({ url, poolMax, acquireTimeoutMs }) {
    const db = knexPackage.knex({
      client: 'pg',
      connection: url,
      pool: { min: 0, max: poolMax },
      ...(acquireTimeoutMs === undefined ? {} : { acquireConnectionTimeout: acquireTimeoutMs }),
    });
    return Promise.resolve({
      run: (work) => inTransaction(db, db, work),
      async insert(text) {
        await db('note').insert({ text });
      },
    });
  },
};

/** By knex itself a new transaction, by one of its transactions a savepoint. */
function inTransaction<T>(root: Knex, within: Knex, work: Work<T>): Promise<T> {
  return within.transaction((trx) => work(unitOf(root, trx)));
}

function unitOf(root: Knex, trx: Knex.Transaction): Unit {
  return {
    async insert(text) {
      await trx('note').insert({ text });
    },
    async fail() {
      await trx.raw('select 1 / 0');
    },
    run(propagation, work) {
      if (propagation === 'requiresNew') return inTransaction(root, root, work);
      if (propagation === 'nested') return inTransaction(root, trx, work);
      return notOffered(propagation);
    },
    afterCommit: () => notOffered('afterCommit'),
  };
}
