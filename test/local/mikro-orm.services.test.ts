import { MikroORM as MariadbOrm } from '@mikro-orm/mariadb';
import { MikroORM } from '@mikro-orm/postgresql';
import { describe, expect, expectTypeOf, onTestFinished, test } from 'vitest';
import { mikroOrmDriver } from '../../lib/src/local/adapters/mikro-orm.ts';
import { mysql2Driver } from '../../lib/src/local/adapters/mysql2.ts';
import { pgDriver } from '../../lib/src/local/adapters/pg.ts';
import { createTransactions } from '../../lib/src/local/manager.ts';
import type { Transactions } from '../../lib/src/local/transactions.ts';
import { localContract } from './contract.ts';
import { mariadbNotes, postgresNotes } from './databases.ts';
import {
  connected,
  driverOn,
  mikroOrmFacts,
  mikroOrmSubject,
  Note,
  openedMikroOrm,
  type MikroOrmSetup,
  type Orm,
} from './mikro-orm-facts.ts';
import { thrownBy } from './world.ts';

const onPg: MikroOrmSetup = {
  name: 'MikroORM over pg',
  database: postgresNotes(),
  beneath: pgDriver,
  connect: (clientUrl, options) => MikroORM.init({ clientUrl, ...options }),
};

const onMysql2: MikroOrmSetup = {
  name: 'MikroORM over mysql2',
  database: mariadbNotes(),
  beneath: mysql2Driver,
  connect: (clientUrl, options) => MariadbOrm.init({ clientUrl, ...options }),
};

for (const setup of [onPg, onMysql2]) {
  localContract(mikroOrmSubject(setup));
  mikroOrmFacts(setup);
  goesAround(setup);
}

function goesAround(setup: MikroOrmSetup): void {
  const { name, database } = setup;

  test(`${name}: orm.em goes around the transaction, and into it by the option context`, async () => {
    let tx: Transactions<Orm['em']> | undefined;
    const rollBack = async (orm: Orm, value: string): Promise<void> => {
      tx = createTransactions(await driverOn(setup, orm));
      await tx
        .run(async () => {
          await orm.em.insert(Note, { value });
          throw new Error('rolls back');
        })
        .catch(() => 'as wanted');
    };
    const { orm } = await openedMikroOrm(setup);
    await rollBack(orm, 'around');
    const bridged = await connected(setup, database.url, 2, { context: () => tx?.current()?.client });
    onTestFinished(() => bridged.close());
    await rollBack(bridged, 'within');
    expect(await database.stored()).toEqual(['around']);
  });
}

describe('MikroORM over pg: what is its own', () => {
  test("the handle is the user's own type of manager", async () => {
    const orm = await MikroORM.init({ entities: [Note], clientUrl: onPg.database.url });
    onTestFinished(() => orm.close());
    const tx = createTransactions(await mikroOrmDriver(orm, pgDriver));
    expectTypeOf(tx.db).toEqualTypeOf<(typeof orm)['em']>();
  });

  test('a session context, which we would not apply, is refused', async () => {
    const { orm } = await openedMikroOrm(onPg);
    const em = orm.em.fork({ session: { variables: { tenant: '7' } } });
    const driver = await driverOn(onPg, Object.assign(Object.create(orm) as Orm, { em }));
    const tx = createTransactions(driver);
    expect(await thrownBy(tx.run((t) => t.client.find(Note, {})))).toMatchObject({ code: 'config_invalid' });
    const inAll = await connected(onPg, onPg.database.url, 1, { sessionContext: 'connection' });
    onTestFinished(() => inAll.close());
    expect(await thrownBy(driverOn(onPg, inAll))).toMatchObject({ code: 'config_invalid' });
  });
});
