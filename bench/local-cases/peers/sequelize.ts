import { DataTypes, Sequelize, type Transaction } from 'sequelize';
import { notOffered, type Peer, type Unit, type Work } from '../peer.ts';
import { versionsOf } from '../versions.ts';

export const peer: Peer = {
  name: 'sequelize',
  about: `${versionsOf('sequelize', 'pg')}; managed transactions, handed on by the option transaction`,
  offers: ['nested', 'requiresNew', 'afterCommit'],
  open({ url, poolMax, acquireTimeoutMs }) {
    const sequelize = new Sequelize(url, {
      logging: false,
      pool: { max: poolMax, ...(acquireTimeoutMs === undefined ? {} : { acquire: acquireTimeoutMs }) },
    });
    const note = sequelize.define('note', { text: DataTypes.TEXT }, { tableName: 'note', timestamps: false });
    const insert = async (text: string, transaction?: Transaction) => {
      await note.create({ text }, transaction === undefined ? {} : { transaction });
    };
    const start = <T>(work: Work<T>, outer?: Transaction): Promise<T> =>
      sequelize.transaction(outer === undefined ? {} : { transaction: outer }, (t) => work(unitOf(t)));
    const unitOf = (transaction: Transaction): Unit => ({
      insert: (text) => insert(text, transaction),
      async fail() {
        await sequelize.query('select 1 / 0', { transaction });
      },
      run(propagation, work) {
        if (propagation === 'requiresNew') return start(work);
        if (propagation === 'nested') return start(work, transaction);
        return notOffered(propagation);
      },
      afterCommit: (hook) => transaction.afterCommit(hook),
    });
    return Promise.resolve({ run: (work) => start(work), insert: (text) => insert(text) });
  },
};
