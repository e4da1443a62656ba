import type { EventEmitter } from 'node:events';
import { describe, expect, expectTypeOf, onTestFinished, test } from 'vitest';
import { Sequelize, STRING, Transaction, type Model, type ModelStatic } from 'sequelize';
import { betterSqliteDriver } from '../../lib/src/local/adapters/better-sqlite3.ts';
import { mysql2Driver } from '../../lib/src/local/adapters/mysql2.ts';
import { pgDriver } from '../../lib/src/local/adapters/pg.ts';
import { sequelizeDriver, sequelizeNamespace } from '../../lib/src/local/adapters/sequelize.ts';
import { createTransactions } from '../../lib/src/local/manager.ts';
import type { Transactions } from '../../lib/src/local/transactions.ts';
import { localContract } from './contract.ts';
import { mariadbNotes, postgresNotes, type NoteDatabase } from './databases.ts';
import type { Subject } from './subject.ts';
import { barrierOf, thrownBy } from './world.ts';

type Note = Model<{ value: string }, { value: string }>;

async function connected(url: string, max: number): Promise<Sequelize> {
  const sequelize = new Sequelize(url, { logging: false, pool: { max } });
  const columns = { value: { type: STRING, primaryKey: true } };
  sequelize.define<Note>('note', columns, { tableName: 'note', timestamps: false });
  // It asks for versions and types first, which is not what is measured.
  await sequelize.authenticate();
  return sequelize;
}

/** The model of the Sequelize that a handle belongs to. */
function notes(handle: Transaction): ModelStatic<Note> {
  return (handle as unknown as { readonly sequelize: Sequelize }).sequelize.model('note');
}

const commands = {
  insert: (handle: Transaction, value: string) => notes(handle).create({ value }, { transaction: handle }),
  async values(handle: Transaction) {
    const found = await notes(handle).findAll({ order: ['value'], transaction: handle });
    return found.map((note) => note.dataValues.value);
  },
  raw: (handle: Transaction, sql: string) => notes(handle).sequelize?.query(sql, { transaction: handle }),
};

const subjects: readonly Subject<Transaction>[] = [
  {
    name: 'Sequelize over pg',
    database: postgresNotes(),
    async open(connectionsMax, url) {
      const sequelize = await connected(url, connectionsMax);
      return { driver: sequelizeDriver(sequelize, pgDriver), close: () => sequelize.close() };
    },
    ...commands,
  },
  {
    name: 'Sequelize over mysql2',
    database: mariadbNotes(),
    async open(connectionsMax, url) {
      const sequelize = await connected(url, connectionsMax);
      return { driver: sequelizeDriver(sequelize, mysql2Driver), close: () => sequelize.close() };
    },
    ...commands,
  },
];

for (const subject of subjects) {
  localContract(subject);
  special(subject);
}

test('Sequelize on SQLite is refused: it takes sqlite3, which no driver here is for', () => {
  const sqlite3 = { verbose: () => sqlite3 };
  const sequelize = new Sequelize({ dialect: 'sqlite', storage: ':memory:', dialectModule: sqlite3 });
  expect(() => sequelizeDriver(sequelize, betterSqliteDriver)).toThrow(/^config_invalid.*dialect is sqlite/);
});

interface Opened {
  readonly sequelize: Sequelize;
  readonly Note: ModelStatic<Note>;
  readonly tx: Transactions<Transaction>;
}

async function opened(database: NoteDatabase): Promise<Opened> {
  const sequelize = await connected(database.url, 2);
  onTestFinished(() => sequelize.close());
  await database.clear();
  const beneath = database.kind === 'postgres' ? pgDriver : mysql2Driver;
  const tx = createTransactions(sequelizeDriver(sequelize, beneath));
  return { sequelize, Note: sequelize.model('note'), tx };
}

function special({ name, database }: Subject<Transaction>): void {
  describe(`${name}: what is its own`, () => {
    test("the handle is Sequelize's own Transaction", async () => {
      const { tx } = await opened(database);
      expectTypeOf(tx.db).toEqualTypeOf<Transaction>();
      expect(tx.db).toBeInstanceOf(Transaction);
      await tx.run((t) => expect(t.client).toBeInstanceOf(Transaction));
    });

    test('a connection is listened to no more often, the more transactions it has served', async () => {
      const { tx, Note, sequelize } = await opened(database);
      const listeners = async (): Promise<number> => {
        const connection = await sequelize.connectionManager.getConnection({ type: 'write' });
        sequelize.connectionManager.releaseConnection(connection);
        return (connection as EventEmitter).listenerCount('error');
      };
      const insert = (value: string): Promise<unknown> =>
        tx.run((t) => Note.create({ value }, { transaction: t.client }));
      await insert('first');
      const before = await listeners();
      for (let i = 0; i < 12; i++) await insert(`${i}`);
      expect(await listeners()).toBe(before);
    });

    test('models, bulk, raw queries and findOrCreate are part of the transaction', async () => {
      const { tx, Note, sequelize } = await opened(database);
      await Note.create({ value: 'there' });
      await tx.run(async () => {
        const transaction = tx.db;
        await Note.bulkCreate([{ value: 'a' }, { value: 'b' }], { transaction });
        await Note.update({ value: 'c' }, { where: { value: 'b' }, transaction });
        await Note.destroy({ where: { value: 'a' }, transaction });
        await sequelize.query('insert into note values (?)', { replacements: ['raw'], transaction });
        for (const [value, isNew] of [
          ['there', false],
          ['found', true],
        ] as const) {
          const [note, created] = await Note.findOrCreate({ where: { value }, transaction });
          expect([note.dataValues.value, created]).toEqual([value, isNew]);
        }
        expect(await Note.findAll({ lock: tx.db.LOCK.UPDATE, transaction })).toHaveLength(4);
        expect(await database.stored()).toEqual(['there']);
      });
      expect(await database.stored()).toEqual(['c', 'found', 'raw', 'there']);
    });

    test('findOrCreate with the ambient handle works outside, too', async () => {
      const { tx, Note } = await opened(database);
      for (const isNew of [true, false]) {
        const [, created] = await Note.findOrCreate({ where: { value: 'alone' }, transaction: tx.db });
        expect(created).toBe(isNew);
      }
      expect(await database.stored()).toEqual(['alone']);
    });

    test('afterCommit is a hook of the transaction, gone with a savepoint that is rolled back', async () => {
      const { tx, Note } = await opened(database);
      const told: string[] = [];
      await tx.run(async () => {
        tx.db.afterCommit(async (handle) => {
          expect(handle).toBeInstanceOf(Transaction);
          told.push(...(await database.stored()));
        });
        await Note.create({ value: 'row' }, { transaction: tx.db });
        const nested = async (): Promise<void> => {
          tx.db.afterCommit(() => void told.push('never'));
          throw new Error('nested');
        };
        await thrownBy(tx.run(nested, { propagation: 'nested' }));
      });
      expect(told).toEqual(['row']);
      expect(() => tx.db.afterCommit(() => {})).toThrow(/^transaction_required/);
    });

    test('the handle begins and ends nothing', async () => {
      const { tx, Note, sequelize } = await opened(database);
      await tx.run(async (t) => {
        for (const call of [
          () => t.client.commit(),
          () => t.client.rollback(),
          () => sequelize.transaction({ transaction: t.client }),
          () => sequelize.transaction({ transaction: t.client }, async () => {}),
          () => sequelize.query('commit', { transaction: t.client }),
        ]) {
          expect(await thrownBy(call())).toMatchObject({ name: 'SettleError', code: 'statement_refused' });
        }
        await Note.create({ value: 'goes on' }, { transaction: t.client });
      });
      expect(await database.stored()).toEqual(['goes on']);
    });

    test('a query without the option goes around the transaction, and into it with the namespace', async () => {
      const { tx, Note } = await opened(database);
      const rollBack = (value: string): Promise<unknown> =>
        tx
          .run(async () => {
            await Note.create({ value });
            throw new Error('rolls back');
          })
          .catch(() => 'as wanted');
      await rollBack('around');
      Sequelize.useCLS(sequelizeNamespace(tx));
      onTestFinished(() => {
        // Sequelize has no call for this.
        Object.assign(Sequelize, { _cls: undefined });
      });
      await rollBack('within');
      await Note.create({ value: 'outside' });
      await tx.run(async () => {
        await Note.create({ value: 'apart' }, { transaction: null });
        await Note.findOrCreate({ where: { value: 'ambient' } });
      });
      expect(await database.stored()).toEqual(['ambient', 'apart', 'around', 'outside']);
    });

    test('a deadlock that is met with the ambient handle is told as what it is, and tried again', async () => {
      const { tx, Note } = await opened(database);
      await Note.bulkCreate([{ value: 'a' }, { value: 'b' }]);
      const both = barrierOf(2);
      let attempts = 0;
      const lock = (...values: string[]) =>
        tx.run(
          async () => {
            const isFirst = ++attempts <= 2;
            for (const value of values) {
              const [note] = await Note.findAll({ where: { value }, lock: true, transaction: tx.db });
              expect(note?.dataValues).toEqual({ value });
              if (isFirst && value === values[0]) await both();
            }
          },
          { retry: { attemptsMax: 5, baseMs: 1 } },
        );
      await Promise.all([lock('a', 'b'), lock('b', 'a')]);
      expect(attempts).toBeGreaterThan(2);
    });

    test("a query that fails is Sequelize's own error", async () => {
      const { tx, Note } = await opened(database);
      await Note.create({ value: 'taken' });
      const ran = tx.run(() => Note.create({ value: 'taken' }, { transaction: tx.db }));
      expect(await thrownBy(ran)).toMatchObject({ name: 'SequelizeUniqueConstraintError' });
    });

    test('what is no Sequelize, or for another database, is refused', async () => {
      const { sequelize } = await opened(database);
      const other = database.kind === 'postgres' ? mysql2Driver : pgDriver;
      expect(() => sequelizeDriver(sequelize, other)).toThrow(/^config_invalid/);
      const notOne = {} as unknown as Sequelize;
      expect(() => sequelizeDriver(notOne, pgDriver)).toThrow(/^config_invalid.*Sequelize 6/);
    });
  });
}
