import { defineEntity, MikroORM, p } from '@mikro-orm/postgresql';
import { describe, expect, expectTypeOf, onTestFinished, test } from 'vitest';
import { mikroOrmDriver } from '../../lib/src/local/adapters/mikro-orm.ts';
import { pgDriver } from '../../lib/src/local/adapters/pg.ts';
import { createTransactions } from '../../lib/src/local/manager.ts';
import type { Transactions } from '../../lib/src/local/transactions.ts';
import { localContract } from './contract.ts';
import { postgresNotes } from './databases.ts';
import type { Subject } from './subject.ts';
import { thrownBy } from './world.ts';

const Note = defineEntity({ name: 'note', properties: { value: p.string().primary() } });

type EntityManager = MikroORM['em'];

function connected(clientUrl: string, max: number, options: object = {}): Promise<MikroORM> {
  return MikroORM.init({
    entities: [Note],
    clientUrl,
    pool: { max },
    allowGlobalContext: true,
    ...options,
  });
}

const subject: Subject<EntityManager> = {
  name: 'MikroORM over pg',
  database: postgresNotes(),
  async open(connectionsMax, url) {
    const orm = await connected(url, connectionsMax);
    return { driver: await mikroOrmDriver(orm, pgDriver), close: () => orm.close() };
  },
  insert: (em, value) => em.insert(Note, { value }),
  async values(em) {
    const found = await em.find(Note, {}, { orderBy: { value: 'asc' } });
    return found.map(({ value }) => value);
  },
  raw: (em, sql) => em.execute(sql),
};

localContract(subject);

describe('MikroORM over pg: what is its own', () => {
  const { database } = subject;

  interface Opened {
    readonly orm: MikroORM;
    readonly tx: Transactions<EntityManager>;
  }

  async function opened(): Promise<Opened> {
    const orm = await connected(database.url, 2);
    onTestFinished(() => orm.close());
    await database.clear();
    return { orm, tx: createTransactions(await mikroOrmDriver(orm, pgDriver)) };
  }

  test("the handle is the user's own type of manager", async () => {
    const { orm, tx } = await opened();
    expectTypeOf(tx.db).toEqualTypeOf<(typeof orm)['em']>();
    await tx.run((t) => {
      expect(t.client).toBeInstanceOf(orm.em.constructor);
      expect(t.client.isInTransaction()).toBe(true);
    });
  });

  test('what was not flushed is flushed at the end, also what hooks before the commit leave', async () => {
    const { tx } = await opened();
    await tx.run((t) => {
      tx.db.create(Note, { value: 'held' });
      t.onBeforeCommit(() => void tx.db.create(Note, { value: 'by a hook' }));
    });
    expect(await database.stored()).toEqual(['by a hook', 'held']);
  });

  test('a flush that fails at the end rolls back, and reaches the caller', async () => {
    const { tx } = await opened();
    await tx.run(() => void tx.db.create(Note, { value: 'taken' }));
    const ran = tx.run(async () => {
      await tx.db.insert(Note, { value: 'first' });
      tx.db.create(Note, { value: 'taken' });
    });
    expect(await thrownBy(ran)).toMatchObject({ name: 'UniqueConstraintViolationException', code: '23505' });
    expect(await database.stored()).toEqual(['taken']);
  });

  test('nothing is flushed by a scope that throws, or may only roll back', async () => {
    const { tx } = await opened();
    await thrownBy(
      tx.run(() => {
        tx.db.create(Note, { value: 'thrown' });
        throw new Error('thrown');
      }),
    );
    await tx.run((t) => {
      tx.db.create(Note, { value: 'dry run' });
      t.setRollbackOnly();
    });
    expect(await database.stored()).toEqual([]);
  });

  test('scopes that join share one manager, and so see what is not flushed', async () => {
    const { tx } = await opened();
    await tx.run(async (t) => {
      const note = tx.db.create(Note, { value: 'shared' });
      await tx.run(async (inner) => {
        expect(inner.client).toBe(t.client);
        expect(await tx.db.findOne(Note, 'shared')).toBe(note);
      });
    });
    expect(await database.stored()).toEqual(['shared']);
  });

  test('a nested scope flushes before its savepoint is released, and is undone alone', async () => {
    const { tx } = await opened();
    await tx.run(async () => {
      tx.db.create(Note, { value: 'outer' });
      await tx.run(() => void tx.db.create(Note, { value: 'kept' }), { propagation: 'nested' });
      expect(await tx.db.count(Note, { value: 'kept' })).toBe(1);
      const failing = tx.run(
        async () => {
          tx.db.create(Note, { value: 'undone' });
          await tx.db.flush();
          throw new Error('nested fails');
        },
        { propagation: 'nested' },
      );
      await thrownBy(failing);
    });
    expect(await database.stored()).toEqual(['kept', 'outer']);
  });

  test('transactional() of the manager is a nested scope, also of its forks, and merges entities back', async () => {
    const { tx } = await opened();
    await tx.run(async (t) => {
      const em = t.client;
      const kept = await em.transactional(async (fork) => {
        const made = fork.create(Note, { value: 'kept' });
        await fork.flush();
        const failing = fork.transactional(async (inner) => {
          inner.create(Note, { value: 'inner' });
          await inner.flush();
          await tx.db.insert(Note, { value: 'ambient' });
          throw new Error('inner fails');
        });
        expect(await thrownBy(failing)).toMatchObject({ message: 'inner fails' });
        expect(tx.current()?.role).toBe('nested');
        return made;
      });
      expect(await em.findOne(Note, 'kept')).toBe(kept);
    });
    expect(await database.stored()).toEqual(['kept']);
  });

  test('the manager begins and ends nothing, and suspends nothing', async () => {
    const { tx } = await opened();
    await tx.run(async ({ client: em }) => {
      for (const call of [
        () => em.begin(),
        () => em.commit(),
        () => em.rollback(),
        () => em.transactional(async () => {}, { propagation: 'requires_new' }),
        () => em.transactional(async () => {}, { propagation: 'not_supported' }),
        () => em.execute('commit'),
      ]) {
        expect(await thrownBy(call())).toMatchObject({ name: 'SettleError', code: 'statement_refused' });
      }
      const isolated = em.transactional(async () => {}, { isolationLevel: 'serializable' });
      expect(await thrownBy(isolated)).toMatchObject({ code: 'option_conflict' });
      expect(em.isInTransaction()).toBe(true);
      em.create(Note, { value: 'goes on' });
    });
    expect(await database.stored()).toEqual(['goes on']);
  });

  test('orm.em goes around the transaction, and into it by the option context', async () => {
    let tx: Transactions<EntityManager> | undefined;
    const rollBack = async (orm: MikroORM, value: string): Promise<void> => {
      tx = createTransactions(await mikroOrmDriver(orm, pgDriver));
      await tx
        .run(async () => {
          await orm.em.insert(Note, { value });
          throw new Error('rolls back');
        })
        .catch(() => 'as wanted');
    };
    const { orm } = await opened();
    await rollBack(orm, 'around');
    const bridged = await connected(database.url, 2, { context: () => tx?.current()?.client });
    onTestFinished(() => bridged.close());
    await rollBack(bridged, 'within');
    expect(await database.stored()).toEqual(['around']);
  });

  async function ofOptions(options: object): Promise<unknown> {
    return await mikroOrmDriver(await connected(database.url, 1, options), pgDriver);
  }

  test('what is no MikroORM of PostgreSQL, or does something as it takes a connection, is refused', async () => {
    const { orm } = await opened();
    for (const refused of [
      mikroOrmDriver({ em: orm.em } as MikroORM, pgDriver),
      ofOptions({ onCreateConnection: () => {} }),
      ofOptions({ sessionContext: 'connection' }),
    ]) {
      expect(await thrownBy(refused)).toMatchObject({ code: 'config_invalid' });
    }
  });

  test('a session context, which we would not apply, is refused', async () => {
    const { orm } = await opened();
    const em = orm.em.fork({ session: { variables: { tenant: '7' } } });
    const driver = await mikroOrmDriver(Object.assign(Object.create(orm), { em }) as MikroORM, pgDriver);
    const tx = createTransactions(driver);
    expect(await thrownBy(tx.run((t) => t.client.find(Note, {})))).toMatchObject({ code: 'config_invalid' });
  });
});
