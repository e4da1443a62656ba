import 'reflect-metadata';
import { describe, expect, expectTypeOf, onTestFinished, test } from 'vitest';
import { DataSource, EntityManager, EntitySchema } from 'typeorm';
import { createTransactions } from '../../lib/src/local/manager.ts';
import type { Transactions } from '../../lib/src/local/transactions.ts';
import { mysql2Driver } from '../../lib/src/local/adapters/mysql2.ts';
import { pgDriver } from '../../lib/src/local/adapters/pg.ts';
import { typeormDriver } from '../../lib/src/local/adapters/typeorm.ts';
import { localContract } from './contract.ts';
import { mariadbNotes, postgresNotes, type NoteDatabase } from './databases.ts';
import type { Subject } from './subject.ts';
import { thrownBy } from './world.ts';

interface Note {
  value: string;
}

const Note = new EntitySchema<Note>({
  name: 'note',
  columns: { value: { type: String, primary: true } },
});

const commands = {
  insert: (manager: EntityManager, value: string) => manager.insert(Note, { value }),
  async values(manager: EntityManager) {
    const found = await manager.find(Note, { order: { value: 'asc' } });
    return found.map(({ value }) => value);
  },
  raw: (manager: EntityManager, sql: string): Promise<unknown> => manager.query(sql),
};

const subjects: readonly Subject<EntityManager>[] = [
  {
    name: 'TypeORM over pg',
    database: postgresNotes(),
    async open(poolSize, url) {
      const source = await new DataSource({ type: 'postgres', url, entities: [Note], poolSize }).initialize();
      return { driver: typeormDriver(source, pgDriver), close: () => source.destroy() };
    },
    ...commands,
  },
  {
    name: 'TypeORM over mysql2',
    database: mariadbNotes(),
    async open(poolSize, url) {
      const source = await new DataSource({ type: 'mysql', url, entities: [Note], poolSize }).initialize();
      return { driver: typeormDriver(source, mysql2Driver), close: () => source.destroy() };
    },
    ...commands,
  },
];

for (const subject of subjects) {
  localContract(subject);
  special(subject);
}

interface Opened {
  readonly source: DataSource;
  readonly tx: Transactions<EntityManager>;
}

async function opened(database: NoteDatabase): Promise<Opened> {
  const { kind, url } = database;
  const common = { url, entities: [Note], poolSize: 2 };
  const source = new DataSource({ type: kind === 'postgres' ? 'postgres' : 'mysql', ...common });
  await source.initialize();
  onTestFinished(() => source.destroy());
  await database.clear();
  return {
    source,
    tx: createTransactions(typeormDriver(source, kind === 'postgres' ? pgDriver : mysql2Driver)),
  };
}

function special({ name, database }: Subject<EntityManager>): void {
  describe(`${name}: what is its own`, () => {
    test("the handle is the user's own type of manager", async () => {
      const { tx } = await opened(database);
      expectTypeOf(tx.db).toEqualTypeOf<EntityManager>();
      expect(tx.db).toBeInstanceOf(EntityManager);
      await tx.run((t) => expect(t.client).toBeInstanceOf(EntityManager));
    });

    test('save, remove, upsert, repositories and query builders are part of the transaction', async () => {
      const { tx } = await opened(database);
      await tx.run(async () => {
        await tx.db.save(Note, { value: 'saved' });
        const repository = tx.db.getRepository(Note);
        await repository.save([{ value: 'one' }, { value: 'two' }]);
        await repository.remove(await repository.findOneByOrFail({ value: 'one' }));
        await tx.db.upsert(Note, { value: 'two' }, ['value']);
        await tx.db.createQueryBuilder().insert().into(Note).values({ value: 'built' }).execute();
        expect(await database.stored()).toEqual([]);
        await tx.db.sql`insert into note values (${'by sql'})`;
      });
      expect(await database.stored()).toEqual(['built', 'by sql', 'saved', 'two']);
    });

    test('transaction() of the manager is a nested scope: undone alone', async () => {
      const { tx } = await opened(database);
      await tx.run(async () => {
        const failing = tx.db.transaction(async (inner) => {
          await inner.save(Note, { value: 'inner' });
          // Whatever handle is used within it.
          await tx.db.save(Note, { value: 'ambient' });
          expect(tx.current()?.role).toBe('nested');
          throw new Error('inner fails');
        });
        expect(await thrownBy(failing)).toMatchObject({ message: 'inner fails' });
        const repository = tx.db.getRepository(Note);
        await repository.manager.transaction((inner) => inner.save(Note, { value: 'kept' }));
      });
      expect(await database.stored()).toEqual(['kept']);
    });

    test('a nested transaction with an isolation of its own is refused', async () => {
      const { tx } = await opened(database);
      const ran = tx.run(() => tx.db.transaction('SERIALIZABLE', async () => {}));
      expect(await thrownBy(ran)).toMatchObject({ code: 'option_conflict' });
    });

    test('the query runner begins and ends nothing', async () => {
      const { tx } = await opened(database);
      await tx.run(async () => {
        const runner = tx.db.queryRunner;
        if (runner === undefined) throw new Error('the handle has a query runner');
        for (const call of [
          () => runner.startTransaction(),
          () => runner.commitTransaction(),
          () => runner.rollbackTransaction(),
          () => runner.release(),
          () => runner.stream('select 1'),
        ]) {
          const thrown = await thrownBy(call());
          expect(thrown).toMatchObject({ name: 'SettleError', code: 'statement_refused' });
          expect(thrown.message).toMatch(/\(\) belongs to the manager/);
        }
        const commit = runner.query('commit');
        expect(await thrownBy(commit)).toMatchObject({ name: 'SettleError', code: 'statement_refused' });
        await tx.db.save(Note, { value: 'goes on' });
      });
      expect(await database.stored()).toEqual(['goes on']);
    });

    test('what the DataSource does itself goes around the transaction', async () => {
      const { source, tx } = await opened(database);
      await tx
        .run(async () => {
          await tx.db.save(Note, { value: 'inside' });
          await source.manager.save(Note, { value: 'around' });
          throw new Error('rolls back');
        })
        .catch(() => 'as wanted');
      expect(await database.stored()).toEqual(['around']);
    });

    test("a query that fails is TypeORM's own error, and one that comes too late is ours", async () => {
      const { tx } = await opened(database);
      const kept = await tx.run(async (t) => {
        const failing = t.run(() => t.client.query('select nonsense'), { propagation: 'nested' });
        expect(await thrownBy(failing)).toMatchObject({ name: 'QueryFailedError' });
        return t.client.getRepository(Note);
      });
      expect(await thrownBy(kept.find())).toMatchObject({ name: 'SettleError', code: 'scope_ended' });
      expect(await thrownBy(kept.save({ value: 'late' }))).toMatchObject({
        name: 'SettleError',
        code: 'scope_ended',
      });
    });

    test('a DataSource that is not initialized, or for another database, is refused', async () => {
      const source = new DataSource({ type: 'postgres', url: database.url });
      expect(() => typeormDriver(source, pgDriver)).toThrow(/^config_invalid.*initialized/);
      const sqlite = new DataSource({ type: 'better-sqlite3', database: ':memory:' });
      await sqlite.initialize();
      onTestFinished(() => sqlite.destroy());
      expect(() => typeormDriver(sqlite, pgDriver)).toThrow(/^config_invalid.*Pool/);
      expect(() => typeormDriver(sqlite, mysql2Driver)).toThrow(/^config_invalid.*pool/);
    });
  });
}
