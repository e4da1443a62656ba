import { PrismaPg } from '@prisma/adapter-pg';
import { notOffered, type Peer, type Unit, type Work } from '../peer.ts';
import { versionsOf } from '../versions.ts';
import { type Client, PrismaClient } from './prisma-client.ts';

export const peer: Peer = {
  name: 'prisma',
  about: `${versionsOf('@prisma/client', '@prisma/adapter-pg')}; interactive transactions with their default limits`,
  offers: ['nested', 'requiresNew'],
  open({ url, poolMax, acquireTimeoutMs }) {
    const adapter = new PrismaPg({
      connectionString: url,
      max: poolMax,
      ...(acquireTimeoutMs === undefined ? {} : { connectionTimeoutMillis: acquireTimeoutMs }),
    });
    const options = acquireTimeoutMs === undefined ? [] : ([{ maxWait: acquireTimeoutMs }] as const);
    const prisma = new PrismaClient({ adapter });
    const start = <T>(within: Client, work: Work<T>) =>
      within.$transaction((tx) => work(unitOf(tx)), ...options);
    const unitOf = (tx: Client): Unit => ({
      async insert(text) {
        await tx.note.create({ data: { text } });
      },
      async fail() {
        await tx.$queryRawUnsafe('select 1 / 0');
      },
      run(propagation, work) {
        if (propagation === 'requiresNew') return start(prisma, work);
        if (propagation === 'nested') return start(tx, work);
        return notOffered(propagation);
      },
      afterCommit: () => notOffered('afterCommit'),
    });
    return Promise.resolve({
      run: (work) => start(prisma, work),
      async insert(text) {
        await prisma.note.create({ data: { text } });
      },
    });
  },
};
