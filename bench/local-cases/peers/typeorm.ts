import { DataSource, type EntityManager } from 'typeorm';
import { notOffered, type Peer, type Unit, type Work } from '../peer.ts';
import { versionsOf } from '../versions.ts';
import { dataSourceOptions, note } from './typeorm-note.ts';

export const peer: Peer = {
  name: 'typeorm',
  about: `${versionsOf('typeorm', 'pg')}; dataSource.transaction, manager.transaction`,
  offers: ['nested', 'requiresNew'],
  async open(options) {
    const dataSource = await new DataSource(dataSourceOptions(options)).initialize();
    return {
      run: (work) => inTransaction(dataSource, dataSource.manager, work),
      async insert(text) {
        await dataSource.manager.insert(note, { text });
      },
    };
  },
};

/** By the manager of the data source a new transaction, by that of a transaction a savepoint. */
function inTransaction<T>(dataSource: DataSource, within: EntityManager, work: Work<T>): Promise<T> {
  return within.transaction((manager) => work(unitOf(dataSource, manager)));
}

function unitOf(dataSource: DataSource, manager: EntityManager): Unit {
  return {
    async insert(text) {
      await manager.insert(note, { text });
    },
    async fail() {
      await manager.query('select 1 / 0');
    },
    run(propagation, work) {
      if (propagation === 'requiresNew') return inTransaction(dataSource, dataSource.manager, work);
      if (propagation === 'nested') return inTransaction(dataSource, manager, work);
      return notOffered(propagation);
    },
    afterCommit: () => notOffered('afterCommit'),
  };
}
