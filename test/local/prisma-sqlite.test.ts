import { PrismaBetterSqlite3 } from '@prisma/adapter-better-sqlite3';
import Database from 'better-sqlite3';
import { describe, expect, test } from 'vitest';
import { betterSqliteDriver } from '../../lib/src/local/adapters/better-sqlite3.ts';
import { prismaAdapter } from '../../lib/src/local/adapters/prisma.ts';
import { localContract } from './contract.ts';
import { sqliteNotes } from './databases.ts';
import { prismaClient } from './prisma-client.ts';
import { openedPrisma, prismaFacts, prismaSubject, type PrismaSetup } from './prisma-facts.ts';
import { outcomeOf, thrownBy } from './world.ts';

const setup: PrismaSetup = {
  name: 'Prisma over better-sqlite3',
  database: sqliteNotes((path) => new Database(path)),
  connect(url) {
    const db = new Database(url, { timeout: 0 });
    return {
      prisma: prismaClient(prismaAdapter(new PrismaBetterSqlite3({ url })), 'sqlite'),
      base: betterSqliteDriver(db),
      run: (sql) => Promise.resolve(db.exec(sql)),
      close: () => Promise.resolve(db.close()),
    };
  },
  failing: { sql: 'select * from nowhere', code: 'SQLITE_ERROR' },
};

localContract(prismaSubject(setup));
prismaFacts(setup);

describe('Prisma over better-sqlite3, where all have one connection', () => {
  const { database } = setup;

  test('a statement outside of an open transaction is refused, and does not become part of it', async () => {
    const { tx, prisma } = await openedPrisma(setup);
    const ran = tx.run(async () => {
      await tx.db.note.create({ data: { value: 'inside' } });
      const outside = tx.exit(async () => await tx.db.note.create({ data: { value: 'outside' } }));
      expect(await outcomeOf(outside)).toBe('scope_busy');
      const around = Promise.resolve(prisma.note.create({ data: { value: 'around' } }));
      expect(await thrownBy(around)).toMatchObject({ code: 'scope_busy' });
    });
    await ran;
    expect(await database.stored()).toEqual(['inside']);
  });

  test('outside of transactions a statement runs alone, and what Prisma makes a transaction of is refused', async () => {
    const { tx, prisma } = await openedPrisma(setup);
    await tx.db.note.create({ data: { value: 'alone' } });
    await prisma.note.create({ data: { value: 'around' } });
    const refused = { code: 'statement_refused' };
    const nested = { where: { value: 'alone' }, data: { replies: { create: { id: 'r' } } } };
    expect(await thrownBy(tx.db.$transaction([]))).toMatchObject(refused);
    expect(await thrownBy(Promise.resolve(tx.db.note.update(nested)))).toMatchObject(refused);
    expect(await thrownBy(Promise.resolve(prisma.note.update(nested)))).toMatchObject(refused);
    expect(await thrownBy(prisma.$transaction(async () => {}))).toMatchObject(refused);
    await tx.run(async () => void (await tx.db.note.update(nested)));
    expect(await database.stored()).toEqual(['alone', 'around']);
  });

  test('big integers keep all their digits', async () => {
    const { tx } = await openedPrisma(setup);
    const big = () => tx.db.$queryRawUnsafe('select 9007199254740993 as big');
    expect(await tx.run(async () => await big())).toEqual([{ big: 9007199254740993n }]);
    expect(await big()).toEqual([{ big: 9007199254740993n }]);
  });
});
