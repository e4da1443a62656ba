/**
 * Everybody in the comparison. A peer is imported only in the process that runs it: some of them change others as soon
 * as they are loaded.
 */
import type { Peer } from './peer.ts';

const modules: Readonly<Record<string, () => Promise<{ readonly peer: Peer }>>> = {
  settle: () => import('./peers/settle.ts'),
  'settle-reserve': () => import('./peers/settle-reserve.ts'),
  pg: () => import('./peers/pg.ts'),
  drizzle: () => import('./peers/drizzle.ts'),
  knex: () => import('./peers/knex.ts'),
  kysely: () => import('./peers/kysely.ts'),
  sequelize: () => import('./peers/sequelize.ts'),
  typeorm: () => import('./peers/typeorm.ts'),
  'mikro-orm': () => import('./peers/mikro-orm.ts'),
  prisma: () => import('./peers/prisma.ts'),
  'nestjs-cls': () => import('./peers/nestjs-cls.ts'),
  'typeorm-transactional': () => import('./peers/typeorm-transactional.ts'),
  'typeorm-transactional-als': () => import('./peers/typeorm-transactional-als.ts'),
};

export const peerNames: readonly string[] = Object.keys(modules);

/** Throws for a name that is not among `peerNames`. */
export async function peerCalled(name: string): Promise<Peer> {
  const load = modules[name];
  if (load === undefined) throw new Error(`no peer ${name}; there are ${peerNames.join(', ')}`);
  return (await load()).peer;
}
