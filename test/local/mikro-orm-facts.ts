// MikroORM as the contract drives it, and what is its own whatever the database.
import { defineEntity, p, type MikroORM } from '@mikro-orm/core';
import type { SqlEntityManager } from '@mikro-orm/sql';
import { describe, expect, onTestFinished, test } from 'vitest';
import { mikroOrmDriver } from '../../lib/src/local/adapters/mikro-orm.ts';
import type { DriverBeneath } from '../../lib/src/local/adapters/orm.ts';
import type { Driver } from '../../lib/src/local/driver.ts';
import { mysql2Driver } from '../../lib/src/local/adapters/mysql2.ts';
import { pgDriver } from '../../lib/src/local/adapters/pg.ts';
import { createTransactions } from '../../lib/src/local/manager.ts';
import type { Transactions } from '../../lib/src/local/transactions.ts';
import type { NoteDatabase } from './databases.ts';
import type { Subject } from './subject.ts';
import { thrownBy } from './world.ts';

export const Note = defineEntity({ name: 'note', properties: { value: p.string().primary() } });

export type Orm = Pick<MikroORM, 'config' | 'close'> & { readonly em: SqlEntityManager };

export interface MikroOrmSetup {
  readonly name: string;
  readonly database: NoteDatabase;
  readonly beneath: DriverBeneath;
  connect(url: string, options: object): Promise<Orm>;
}

export function connected(
  setup: MikroOrmSetup,
  url: string,
  max: number,
  options: object = {},
): Promise<Orm> {
  return setup.connect(url, { entities: [Note], pool: { max }, allowGlobalContext: true, ...options });
}

export function driverOn(setup: MikroOrmSetup, orm: Orm): Promise<Driver<SqlEntityManager>> {
  return mikroOrmDriver(orm, setup.beneath);
}

export function mikroOrmSubject(setup: MikroOrmSetup): Subject<SqlEntityManager> {
  return {
    name: setup.name,
    database: setup.database,
    async open(connectionsMax, url) {
      const orm = await connected(setup, url, connectionsMax);
      return { driver: await driverOn(setup, orm), close: () => orm.close() };
    },
    insert: (em, value) => em.insert(Note, { value }),
    async values(em) {
      const found = await em.find(Note, {}, { orderBy: { value: 'asc' } });
      return found.map(({ value }) => value);
    },
    raw: (em, sql) => em.execute(sql),
  };
}

export interface OpenMikroOrm {
  readonly orm: Orm;
  readonly tx: Transactions<SqlEntityManager>;
}

export async function openedMikroOrm(setup: MikroOrmSetup): Promise<OpenMikroOrm> {
  const orm = await connected(setup, setup.database.url, 2);
  onTestFinished(() => orm.close());
  await setup.database.clear();
  return { orm, tx: createTransactions(await driverOn(setup, orm)) };
}

export function mikroOrmFacts(setup: MikroOrmSetup): void {
  const { database } = setup;
  const opened = (): Promise<OpenMikroOrm> => openedMikroOrm(setup);

  describe(`${setup.name}: what is its own`, () => {
    test('the handle is a manager of the same class', async () => {
      const { orm, tx } = await opened();
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
      expect(await thrownBy(ran)).toMatchObject({ name: 'UniqueConstraintViolationException' });
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

    test('keys, and how many rows were changed, are told as MikroORM itself tells them', async () => {
      const { orm, tx } = await opened();
      const toldByItself = await told(orm.em.fork());
      expect(await tx.run(() => told(tx.db))).toEqual(toldByItself);
      expect(toldByItself).toMatchObject([expect.anything(), 1, 2]);
    });

    test('what is no MikroORM, or of another database, or does something as it takes a connection, is refused', async () => {
      const { orm } = await opened();
      const other = database.kind === 'postgres' ? mysql2Driver : pgDriver;
      const having = async (options: object): Promise<unknown> => {
        const orm = await connected(setup, database.url, 1, options);
        onTestFinished(() => orm.close());
        return await driverOn(setup, orm);
      };
      for (const refused of [
        mikroOrmDriver({} as Orm, setup.beneath),
        mikroOrmDriver({ em: orm.em } as Orm, setup.beneath),
        mikroOrmDriver(orm, other),
        having({ onCreateConnection: () => {} }),
      ]) {
        expect(await thrownBy(refused)).toMatchObject({ code: 'config_invalid' });
      }
    });
  });
}

async function told(em: SqlEntityManager): Promise<unknown> {
  return [
    await em.insertMany(Note, [{ value: 'a' }, { value: 'b' }]),
    await em.nativeUpdate(Note, { value: 'b' }, { value: 'c' }),
    await em.nativeDelete(Note, {}),
  ];
}
