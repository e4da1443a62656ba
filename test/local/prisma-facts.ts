// Prisma as the contract drives it, and what is its own whatever the database.
import { describe, expect, expectTypeOf, onTestFinished, test, vi } from 'vitest';
import { prismaDriver } from '../../lib/src/local/adapters/prisma.ts';
import type { Driver } from '../../lib/src/local/driver.ts';
import { createTransactions } from '../../lib/src/local/manager.ts';
import type { Transactions } from '../../lib/src/local/transactions.ts';
import type { NoteDatabase } from './databases.ts';
import type { TestClient, TestHandle } from './prisma-client.ts';
import type { Subject } from './subject.ts';
import { barrierOf, thrownBy } from './world.ts';

export interface PrismaSetup {
  readonly name: string;
  readonly database: NoteDatabase;
  readonly connect: (url: string, max: number) => ConnectedPrisma;
  /** Of a query that fails: its SQL, and the code the driver gives it. */
  readonly failing: { readonly sql: string; readonly code: string };
}

export interface ConnectedPrisma {
  readonly prisma: TestClient;
  /** For what the client is connected to. */
  readonly base: Driver<object>;
  /** Runs SQL on it. */
  readonly run: (sql: string) => Promise<unknown>;
  readonly close: () => Promise<unknown>;
}

export function prismaSubject({ name, database, connect }: PrismaSetup): Subject<TestHandle> {
  return {
    name,
    database,
    async open(connectionsMax, url) {
      const opened = connect(url, connectionsMax);
      // The first call of a client starts its compiler, which takes longer than some of the limits that are tested.
      await opened.prisma.note.findMany();
      return { driver: prismaDriver(opened.prisma, opened.base), close: () => closed(opened) };
    },
    insert: (prisma, value) => prisma.note.create({ data: { value } }),
    async values(prisma) {
      const found = await prisma.note.findMany({ orderBy: { value: 'asc' } });
      return found.map(({ value }) => value);
    },
    raw: (prisma, sql) => prisma.$queryRawUnsafe(sql),
  };
}

async function closed({ prisma, close }: ConnectedPrisma): Promise<void> {
  await prisma.$disconnect();
  await close();
}

export interface OpenPrisma {
  readonly prisma: TestClient;
  readonly tx: Transactions<TestHandle>;
}

type Extend = (prisma: TestClient) => TestClient;

export async function openedPrisma(
  { connect, database }: PrismaSetup,
  extended: Extend = (prisma) => prisma,
): Promise<OpenPrisma> {
  const both = connect(database.url, 2);
  onTestFinished(() => closed(both));
  await both.run('drop table if exists reply');
  await both.run(replies[database.kind]);
  await database.clear();
  return { prisma: both.prisma, tx: createTransactions(prismaDriver(extended(both.prisma), both.base)) };
}

const reply =
  'varchar(100), constraint of_note foreign key ("to") references note (value) on delete cascade)';
const replies = {
  postgres: `create table reply (id varchar(100) primary key, "to" ${reply}`,
  sqlite: `create table reply (id varchar(100) primary key, "to" ${reply}`,
  mariadb: `create table reply (id varchar(100) primary key, \`to\` ${reply.replaceAll('"', '`')} collate utf8mb4_bin`,
};

export function prismaFacts(setup: PrismaSetup): void {
  const { database } = setup;
  const opened = (extended?: Extend): Promise<OpenPrisma> => openedPrisma(setup, extended);

  describe(`${setup.name}: what is its own`, () => {
    test("the handle is of the type that the client's own transaction gives", async () => {
      const { tx } = await opened();
      expectTypeOf(tx.db).toEqualTypeOf<TestHandle>();
      await tx.run((t) => expect(t.client.note).toBe(t.client.note));
    });

    test('models, nested writes, relations and raw queries are part of the transaction', async () => {
      const { tx } = await opened();
      await tx.run(async () => {
        await tx.db.note.createMany({ data: [{ value: 'a' }, { value: 'b' }] });
        await tx.db.note.update({ where: { value: 'a' }, data: { replies: { create: { id: 'r' } } } });
        const found = await Promise.all(
          ['a', 'b', 'c'].map((value) => tx.db.note.findUnique({ where: { value } })),
        );
        expect(found).toEqual([{ value: 'a' }, { value: 'b' }, null]);
        const replies = await tx.db.note.findUnique({ where: { value: 'a' } }).replies();
        expect(replies).toEqual([{ id: 'r', to: 'a' }]);
        await tx.db.note.delete({ where: { value: 'b' } });
        await tx.db.$queryRaw`insert into note values (${'raw'})`;
        expect(await database.stored()).toEqual([]);
      });
      expect(await database.stored()).toEqual(['a', 'raw']);
    });

    test('queries of two transactions in one tick are not batched into one', async ({ skip }) => {
      if (database.kind === 'sqlite') skip('one handle is one connection');
      const { tx } = await opened();
      const written = barrierOf(2);
      const read = barrierOf(2);
      const own = (value: string) =>
        tx.run(async () => {
          await tx.db.note.create({ data: { value } });
          await written();
          const seen = await Promise.all(
            ['a', 'b'].map((v) => tx.db.note.findUnique({ where: { value: v } })),
          );
          await read();
          return seen.map((note) => note?.value);
        });
      expect(await Promise.all([own('a'), own('b')])).toEqual([
        ['a', undefined],
        [undefined, 'b'],
      ]);
    });

    test('calls of two transactions in one tick are each part of the scope they are made in', async ({
      skip,
    }) => {
      if (database.kind === 'sqlite') skip('one handle is one connection');
      const { tx } = await opened();
      const both = barrierOf(2);
      const own = (value: string) =>
        tx.run(async (outer) => {
          await outer.client.note.create({ data: { value } });
          const nested = tx.run(
            async () => {
              await both();
              await outer.client.note.create({ data: { value: `${value} nested` } });
              throw new Error('undone alone');
            },
            { propagation: 'nested' },
          );
          expect(await thrownBy(nested)).toMatchObject({ message: 'undone alone' });
        });
      await Promise.all([own('a'), own('b')]);
      expect(await database.stored()).toEqual(['a', 'b']);
    });

    test('a call does nothing before it is awaited, as in Prisma', async () => {
      const { tx } = await opened();
      await tx.run(() => {
        void tx.db.note.create({ data: { value: 'never' } });
      });
      expect(await database.stored()).toEqual([]);
    });

    test('$transaction of the handle is a nested scope, with a function or a list', async () => {
      const { tx } = await opened();
      await tx.run(async () => {
        const failing = tx.db.$transaction(async (inner) => {
          await inner.note.create({ data: { value: 'inner' } });
          await tx.db.note.create({ data: { value: 'ambient' } });
          expect(tx.current()?.role).toBe('nested');
          throw new Error('inner fails');
        });
        expect(await thrownBy(failing)).toMatchObject({ message: 'inner fails' });
        const create = (value: string) => tx.db.note.create({ data: { value } });
        await tx.db.$transaction([create('one'), create('two')]);
        await thrownBy(tx.db.$transaction([create('three'), create('one')]));
        const siblings = ['x', 'y'].map((value) =>
          tx.db.$transaction(async (inner) => await inner.note.create({ data: { value } })),
        );
        await Promise.all(siblings);
      });
      expect(await database.stored()).toEqual(['one', 'two', 'x', 'y']);
    });

    test('options of a nested transaction are refused, and so is SQL that would end it', async () => {
      const { tx } = await opened();
      await tx.run(async () => {
        for (const options of [{ isolationLevel: 'Serializable' }, { timeout: 100 }]) {
          const nested = tx.db.$transaction(async () => {}, options);
          expect(await thrownBy(nested)).toMatchObject({ code: 'option_conflict' });
        }
        const commit = Promise.resolve(tx.db.$queryRawUnsafe('commit'));
        expect(await thrownBy(commit)).toMatchObject({ name: 'SettleError', code: 'statement_refused' });
      });
    });

    test("a query that fails is Prisma's own error, with that of the driver as its cause", async () => {
      const { tx } = await opened();
      const ran = tx.run(() => tx.db.$queryRawUnsafe(setup.failing.sql));
      expect(await thrownBy(ran)).toMatchObject({
        name: 'PrismaClientKnownRequestError',
        code: 'P2010',
        cause: { code: setup.failing.code },
      });
    });

    test("Prisma's own transaction ends with the scope, and its log tells how", async () => {
      const { tx, prisma } = await opened();
      const told: string[] = [];
      prisma.$on('query', ({ query }) => told.push(query));
      await tx.run(() => tx.db.$queryRaw`select 1`);
      await vi.waitFor(() => expect(told).toEqual(['select 1', expect.stringContaining('COMMIT')]));
      told.length = 0;
      await thrownBy(tx.run(() => tx.db.$queryRaw`nonsense`));
      await vi.waitFor(() => expect(told).toEqual([expect.stringContaining('ROLLBACK')]));
    });

    test('the handle of a client that is extended has its extensions', async () => {
      const { tx } = await opened((prisma) =>
        prisma.$extends({ client: { noted: (value: string) => `noted ${value}` } }),
      );
      await tx.run(async () => {
        const { noted } = tx.db as TestHandle & { readonly noted: (value: string) => Promise<string> };
        expect(await noted('a')).toBe('noted a');
        await tx.db.note.create({ data: { value: 'extended' } });
      });
      expect(await database.stored()).toEqual(['extended']);
    });
  });
}
