import { MikroORM } from '@mikro-orm/sqlite';
import { NodeSqliteDialect, SqliteDriver } from '@mikro-orm/sql';
import BetterSqlite from 'better-sqlite3';
import { describe, expect, onTestFinished, test } from 'vitest';
import { betterSqliteDriver } from '../../lib/src/local/adapters/better-sqlite3.ts';
import { localContract } from './contract.ts';
import { sqliteNotes } from './databases.ts';
import {
  connected,
  driverOn,
  mikroOrmFacts,
  mikroOrmSubject,
  Note,
  openedMikroOrm,
  type MikroOrmSetup,
} from './mikro-orm-facts.ts';
import { outcomeOf, thrownBy } from './world.ts';

const setup: MikroOrmSetup = {
  name: 'MikroORM over better-sqlite3',
  database: sqliteNotes((path) => new BetterSqlite(path)),
  beneath: betterSqliteDriver,
  connect: (dbName, options) => MikroORM.init({ dbName, driverOptions: { timeout: 0 }, ...options }),
};

localContract(mikroOrmSubject(setup));
mikroOrmFacts(setup);

describe('MikroORM over better-sqlite3, where all have one connection', () => {
  const { database } = setup;

  test('a statement outside of an open transaction is refused, and does not become part of it', async () => {
    const { tx } = await openedMikroOrm(setup);
    await tx.run(async () => {
      await tx.db.insert(Note, { value: 'inside' });
      const outside: readonly (() => Promise<unknown>)[] = [
        () => tx.db.insert(Note, { value: 'outside' }),
        () => tx.db.fork().insert(Note, { value: 'of a fork' }),
        () => tx.db.createQueryBuilder(Note).insert({ value: 'of a builder' }).execute(),
        () => tx.db.execute("insert into note values ('raw')"),
      ];
      for (const call of outside) expect(await outcomeOf(tx.exit(call))).toBe('scope_busy');
    });
    expect(await database.stored()).toEqual(['inside']);
  });

  test('outside of transactions statements run alone, and what would begin a transaction is refused', async () => {
    const { tx } = await openedMikroOrm(setup);
    await tx.db.insert(Note, { value: 'alone' });
    expect(await tx.db.findOne(Note, 'alone')).toEqual({ value: 'alone' });
    tx.db.create(Note, { value: 'held' });
    for (const call of [
      () => tx.db.flush(),
      () => tx.db.begin(),
      () => tx.db.transactional(() => Promise.resolve()),
    ]) {
      expect(await thrownBy(call())).toMatchObject({ code: 'statement_refused' });
    }
    expect(await database.stored()).toEqual(['alone']);
  });

  test('a MikroORM whose dialect keeps its database to itself is refused', async () => {
    const orm = await connected(setup, database.url, 1, {
      driver: SqliteDriver,
      driverOptions: new NodeSqliteDialect(':memory:'),
    });
    onTestFinished(() => orm.close());
    expect(await thrownBy(driverOn(setup, orm))).toMatchObject({ code: 'config_invalid' });
  });
});
