import { PrismaPg } from '@prisma/adapter-pg';
import { Pool } from 'pg';
import { describe, expect, expectTypeOf, onTestFinished, test, vi } from 'vitest';
import { pgDriver } from '../../lib/src/local/adapters/pg.ts';
import { opening } from '../../lib/src/local/adapters/prisma-adapter.ts';
import { prismaAdapter, prismaDriver } from '../../lib/src/local/adapters/prisma.ts';
import { createTransactions } from '../../lib/src/local/manager.ts';
import type { Transactions } from '../../lib/src/local/transactions.ts';
import { localContract } from './contract.ts';
import { postgresNotes } from './databases.ts';
import { prismaClient, type TestClient, type TestHandle } from './prisma-client.ts';
import type { Subject } from './subject.ts';
import { barrierOf, thrownBy } from './world.ts';

function connected(url: string, max: number): { readonly prisma: TestClient; readonly pool: Pool } {
  const pool = new Pool({ connectionString: url, max });
  return { pool, prisma: prismaClient(prismaAdapter(new PrismaPg(pool))) };
}

async function closed({ prisma, pool }: ReturnType<typeof connected>): Promise<void> {
  await prisma.$disconnect();
  await pool.end();
}

const subject: Subject<TestHandle> = {
  name: 'Prisma over pg',
  database: postgresNotes(),
  async open(connectionsMax, url) {
    const opened = connected(url, connectionsMax);
    // The first call of a client starts its compiler, which takes longer than some of the limits that are tested.
    await opened.prisma.note.findMany();
    return { driver: prismaDriver(opened.prisma, pgDriver(opened.pool)), close: () => closed(opened) };
  },
  insert: (prisma, value) => prisma.note.create({ data: { value } }),
  async values(prisma) {
    const found = await prisma.note.findMany({ orderBy: { value: 'asc' } });
    return found.map(({ value }) => value);
  },
  raw: (prisma, sql) => prisma.$queryRawUnsafe(sql),
};

localContract(subject);

interface Opened {
  readonly prisma: TestClient;
  readonly tx: Transactions<TestHandle>;
}

const { database } = subject;

async function opened(): Promise<Opened> {
  const both = connected(database.url, 2);
  onTestFinished(() => closed(both));
  const replies =
    'create table reply (id text primary key, "to" varchar(100) references note on delete cascade)';
  await both.pool.query(`drop table if exists reply; ${replies}`);
  await database.clear();
  const tx = createTransactions(prismaDriver(both.prisma, pgDriver(both.pool)));
  return { prisma: both.prisma, tx };
}

describe('Prisma over pg: what is its own', () => {
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

  test('queries of two transactions in one tick are not batched into one', async () => {
    const { tx } = await opened();
    const written = barrierOf(2);
    const read = barrierOf(2);
    const own = (value: string) =>
      tx.run(async () => {
        await tx.db.note.create({ data: { value } });
        await written();
        const seen = await Promise.all(['a', 'b'].map((v) => tx.db.note.findUnique({ where: { value: v } })));
        await read();
        return seen.map((note) => note?.value);
      });
    expect(await Promise.all([own('a'), own('b')])).toEqual([
      ['a', undefined],
      [undefined, 'b'],
    ]);
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
    const ran = tx.run(() => tx.db.$queryRaw`select 1 / 0`);
    expect(await thrownBy(ran)).toMatchObject({
      name: 'PrismaClientKnownRequestError',
      code: 'P2010',
      cause: { code: '22012' },
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

  test('the client itself goes around the transaction', async () => {
    const { tx, prisma } = await opened();
    await tx
      .run(async () => {
        await prisma.note.create({ data: { value: 'around' } });
        await prisma.$transaction(async (own) => await own.note.create({ data: { value: 'its own' } }));
        await tx.db.note.create({ data: { value: 'within' } });
        throw new Error('rolls back');
      })
      .catch(() => 'as wanted');
    expect(await database.stored()).toEqual(['around', 'its own']);
  });

  test('the adapter begins one transaction of ours for each that is asked for, and any other as before', async () => {
    const adapter = await prismaAdapter({
      provider: 'postgres',
      connect: () => Promise.resolve({ startTransaction: () => Promise.resolve('its own') }),
    }).connect();
    const begin = (): Promise<unknown> => adapter.startTransaction();
    const connection = { query: () => Promise.resolve() };
    const begun = await opening(connection, async () => [await begin(), await begin()]);
    expect(begun).toEqual([expect.objectContaining({ options: { usePhantomQuery: true } }), 'its own']);
    expect(await begin()).toBe('its own');
  });

  test('a client whose adapter is not wrapped, and what is no adapter, is refused', async () => {
    const pool = new Pool({ connectionString: database.url });
    const prisma = prismaClient(new PrismaPg(pool));
    expect(() => prismaDriver(prisma, pgDriver(pool))).toThrow(/^config_invalid.*wrapped/);
    expect(() => prismaAdapter({ provider: 'mysql', connect: () => Promise.resolve({}) })).toThrow(
      /^config_invalid/,
    );
    await closed({ prisma, pool });
  });
});
