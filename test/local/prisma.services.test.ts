import { PrismaMariaDb } from '@prisma/adapter-mariadb';
import { PrismaPg } from '@prisma/adapter-pg';
import { createPool } from 'mariadb';
import { createPool as createMysql2Pool } from 'mysql2';
import { Pool } from 'pg';
import { describe, expect, test } from 'vitest';
import { mariadbDriver } from '../../lib/src/local/adapters/mariadb.ts';
import { mysql2Driver } from '../../lib/src/local/adapters/mysql2.ts';
import { pgDriver } from '../../lib/src/local/adapters/pg.ts';
import { opening } from '../../lib/src/local/adapters/prisma-adapter.ts';
import { prismaAdapter, prismaDriver } from '../../lib/src/local/adapters/prisma.ts';
import { localContract } from './contract.ts';
import { mariadbNotes, postgresNotes } from './databases.ts';
import { prismaClient } from './prisma-client.ts';
import { openedPrisma, prismaFacts, prismaSubject, type PrismaSetup } from './prisma-facts.ts';

const setups: readonly PrismaSetup[] = [
  {
    name: 'Prisma over pg',
    database: postgresNotes(),
    connect(connectionString, max) {
      const pool = new Pool({ connectionString, max });
      return {
        prisma: prismaClient(prismaAdapter(new PrismaPg(pool)), 'postgresql'),
        base: pgDriver(pool),
        run: (sql) => pool.query(sql),
        close: () => pool.end(),
      };
    },
    failing: { sql: 'select 1 / 0', code: '22012' },
  },
  {
    name: 'Prisma over mariadb',
    database: mariadbNotes(),
    connect(url, connectionLimit) {
      const pool = createPool(`${url.replace('mysql:', 'mariadb:')}?connectionLimit=${connectionLimit}`);
      return {
        prisma: prismaClient(prismaAdapter(new PrismaMariaDb(pool)), 'mysql'),
        base: mariadbDriver(pool, { connectionLimit }),
        run: (sql) => pool.query(sql),
        close: () => pool.end(),
      };
    },
    failing: { sql: 'select * from nowhere', code: 'ER_NO_SUCH_TABLE' },
  },
];

for (const setup of setups) {
  localContract(prismaSubject(setup));
  prismaFacts(setup);

  test(`${setup.name}: the client itself goes around the transaction`, async () => {
    const { tx, prisma } = await openedPrisma(setup);
    await tx
      .run(async () => {
        await prisma.note.create({ data: { value: 'around' } });
        await prisma.$transaction(async (own) => await own.note.create({ data: { value: 'its own' } }));
        await tx.db.note.create({ data: { value: 'within' } });
        throw new Error('rolls back');
      })
      .catch(() => 'as wanted');
    expect(await setup.database.stored()).toEqual(['around', 'its own']);
  });
}

describe('the way into Prisma', () => {
  test('the adapter begins one transaction of ours for each that is asked for, and any other as before', async () => {
    const adapter = await prismaAdapter({
      provider: 'postgres',
      connect: () => Promise.resolve({ startTransaction: () => Promise.resolve('its own') }),
    }).connect();
    const begin = (): Promise<unknown> => adapter.startTransaction();
    const connection = { run: () => Promise.reject(new Error('nothing is run')) };
    const begun = await opening(connection, async () => [await begin(), await begin()]);
    expect(begun).toEqual([expect.objectContaining({ options: { usePhantomQuery: true } }), 'its own']);
    expect(await begin()).toBe('its own');
  });

  test('a client whose adapter is not wrapped, what is no adapter, and a driver of another library are refused', async () => {
    const pool = new Pool();
    const prisma = prismaClient(new PrismaPg(pool), 'postgresql');
    expect(() => prismaDriver(prisma, pgDriver(pool))).toThrow(/^config_invalid.*wrapped/);
    expect(() => prismaAdapter({ provider: 'sqlserver', connect: () => Promise.resolve({}) })).toThrow(
      /^config_invalid/,
    );
    const mysql2Pool = createMysql2Pool({});
    const onMariadb = prismaClient(prismaAdapter(new PrismaMariaDb({ host: '127.0.0.1' })), 'mysql');
    expect(() => prismaDriver(onMariadb, mysql2Driver(mysql2Pool))).toThrow(
      /^config_invalid.*no use for mysql2/,
    );
    await mysql2Pool.promise().end();
    await pool.end();
  });
});
