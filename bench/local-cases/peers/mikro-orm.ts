import {
  EntitySchema,
  type EventSubscriber,
  MikroORM,
  RequestContext,
  TransactionPropagation,
} from '@mikro-orm/postgresql';
import type { Peer, Unit } from '../peer.ts';
import { versionsOf } from '../versions.ts';

interface Note {
  readonly id: number;
  readonly text: string;
}

const note = new EntitySchema<Note>({
  name: 'note',
  properties: { id: { type: 'number', primary: true, autoincrement: true }, text: { type: 'text' } },
});

export const peer: Peer = {
  name: 'mikro-orm',
  about: `${versionsOf('@mikro-orm/postgresql')}; em.transactional with its propagation, each request in a RequestContext`,
  offers: ['required', 'nested', 'requiresNew', 'afterCommit'],
  async open({ url, poolMax, acquireTimeoutMs }) {
    const hooks: (() => void)[] = [];
    const subscriber: EventSubscriber = {
      afterTransactionCommit() {
        for (const hook of hooks.splice(0)) hook();
      },
    };
    const orm = await MikroORM.init({
      clientUrl: url,
      entities: [note],
      subscribers: [subscriber],
      pool: { max: poolMax },
      ...(acquireTimeoutMs === undefined
        ? {}
        : { driverOptions: { connectionTimeoutMillis: acquireTimeoutMs } }),
    });
    const { em } = orm;
    // Within a RequestContext, and within a transaction, the one `em` of the application stands for the current one.
    const unit: Unit = {
      async insert(text) {
        await em.insert(note, { text });
      },
      async fail() {
        await em.execute('select 1 / 0');
      },
      run: (propagation, work) =>
        em.transactional(() => work(unit), { propagation: propagations[propagation] }),
      afterCommit: (hook) => hooks.push(hook),
    };
    return {
      run: (work) => RequestContext.create(em, () => em.transactional(() => work(unit))),
      insert: (text) => unit.insert(text),
    };
  },
};

const propagations = {
  required: TransactionPropagation.REQUIRED,
  nested: TransactionPropagation.NESTED,
  requiresNew: TransactionPropagation.REQUIRES_NEW,
} as const;
