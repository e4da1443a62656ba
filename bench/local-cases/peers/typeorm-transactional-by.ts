/** typeorm-transactional, which can keep its context in two ways. */
import { DataSource } from 'typeorm';
import {
  addTransactionalDataSource,
  initializeTransactionalContext,
  Propagation,
  runInTransaction,
  runOnTransactionCommit,
  type StorageDriver,
} from 'typeorm-transactional';
import type { Peer, Unit } from '../peer.ts';
import { versionsOf } from '../versions.ts';
import { dataSourceOptions, note } from './typeorm-note.ts';

export function typeormTransactional(
  name: string,
  { storageDriver, about }: { readonly storageDriver: StorageDriver; readonly about: string },
): Peer {
  return {
    name,
    about: `${versionsOf('typeorm-transactional', 'typeorm', 'pg')}; runInTransaction, context by ${about}`,
    offers: ['required', 'nested', 'requiresNew', 'afterCommit'],
    async open(options) {
      initializeTransactionalContext({ storageDriver });
      const dataSource = addTransactionalDataSource(new DataSource(dataSourceOptions(options)));
      await dataSource.initialize();
      const notes = dataSource.getRepository(note);
      const unit: Unit = {
        async insert(text) {
          await notes.insert({ text });
        },
        async fail() {
          await dataSource.query('select 1 / 0');
        },
        run: (propagation, work) =>
          runInTransaction(() => work(unit), { propagation: propagations[propagation] }),
        afterCommit: (hook) => runOnTransactionCommit(hook),
      };
      return { run: (work) => runInTransaction(() => work(unit)), insert: (text) => unit.insert(text) };
    },
  };
}

const propagations = {
  required: Propagation.REQUIRED,
  nested: Propagation.NESTED,
  requiresNew: Propagation.REQUIRES_NEW,
} as const;
