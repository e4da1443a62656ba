import { CamelCasePlugin, Kysely, MysqlDialect, PostgresDialect, sql, type Generated } from 'kysely';
import { PostgresJSDialect } from 'kysely-postgres-js';
import { createPool as createMariadbPool } from 'mariadb';
import { createPool } from 'mysql2';
import { Pool } from 'pg';
import postgres from 'postgres';
import { describe, expect, expectTypeOf, test } from 'vitest';
import { kyselyDriver } from '../../lib/src/local/adapters/kysely.ts';
import { mariadbDriver } from '../../lib/src/local/adapters/mariadb.ts';
import { mysql2Driver } from '../../lib/src/local/adapters/mysql2.ts';
import { pgDriver } from '../../lib/src/local/adapters/pg.ts';
import { postgresJsDriver } from '../../lib/src/local/adapters/postgres-js.ts';
import { createTransactions } from '../../lib/src/local/manager.ts';
import { localContract } from './contract.ts';
import { mariadbNotes, postgresNotes, type NoteDatabase } from './databases.ts';
import type { OpenDriver, Subject } from './subject.ts';
import { callbackPool } from './kysely-mariadb.ts';
import { outcomeOf, turn, worldOf } from './world.ts';

interface Database {
  readonly note: { readonly value: string };
  readonly counter: { readonly id: Generated<number>; readonly someName: string };
}

type Open = (connectionsMax: number, url: string) => OpenDriver<Kysely<Database>>;

function subjectOn(name: string, database: NoteDatabase, open: Open): Subject<Kysely<Database>> {
  return {
    name,
    database,
    open: (connectionsMax, url) => Promise.resolve(open(connectionsMax, url)),
    insert: (db, value) => db.insertInto('note').values({ value }).execute(),
    async values(db) {
      const rows = await db.selectFrom('note').select('value').orderBy('value').execute();
      return rows.map(({ value }) => value);
    },
    raw: (db, text) => sql.raw(text).execute(db),
  };
}

const onPg = subjectOn('Kysely over pg', postgresNotes(), (connectionsMax, url) => {
  const pool = new Pool({ connectionString: url, max: connectionsMax });
  pool.on('error', () => {});
  const db = new Kysely<Database>({
    dialect: new PostgresDialect({ pool }),
    plugins: [new CamelCasePlugin()],
  });
  return { driver: kyselyDriver(db, pgDriver(pool)), close: () => pool.end() };
});

const onMysql2 = subjectOn('Kysely over mysql2', mariadbNotes(), (connectionLimit, uri) => {
  const pool = createPool({ uri, connectionLimit });
  const db = new Kysely<Database>({ dialect: new MysqlDialect({ pool }) });
  return { driver: kyselyDriver(db, mysql2Driver(pool)), close: () => pool.promise().end() };
});

const onPostgresJs = subjectOn('Kysely over postgres.js', postgresNotes(), (max, url) => {
  const pool = postgres(url, { max, onnotice: () => {} });
  const db = new Kysely<Database>({ dialect: new PostgresJSDialect({ postgres: pool }) });
  return { driver: kyselyDriver(db, postgresJsDriver(pool)), close: () => pool.end({ timeout: 1 }) };
});

const onMariadb = subjectOn('Kysely over mariadb', mariadbNotes(), (connectionLimit, url) => {
  const pool = createMariadbPool(`${url.replace('mysql:', 'mariadb:')}?connectionLimit=${connectionLimit}`);
  const db = new Kysely<Database>({ dialect: new MysqlDialect({ pool: callbackPool(pool) }) });
  return { driver: kyselyDriver(db, mariadbDriver(pool, { connectionLimit })), close: () => pool.end() };
});

for (const subject of [onPg, onPostgresJs, onMysql2, onMariadb]) {
  localContract(subject);
  tellsWhatKyselyTells(subject);
}

function tellsWhatKyselyTells(subject: Subject<Kysely<Database>>): void {
  const { transactions } = worldOf(subject);
  const type = subject.database.kind === 'postgres' ? 'serial' : 'int auto_increment';

  test(`${subject.name}: rows, keys and counts are those that Kysely gives`, async () => {
    const tx = await transactions(1);
    const told = async (): Promise<unknown> => [
      await sql`insert into keyed (value) values ('a'), ('b')`.execute(tx.db),
      await sql`select * from keyed`.execute(tx.db),
      await tx.db.insertInto('note').values({ value: 'a' }).execute(),
      await tx.db.updateTable('note').set({ value: 'a' }).execute(),
      await tx.db.selectFrom('note').selectAll().execute(),
      await tx.db.deleteFrom('note').execute(),
    ];
    const toldAnew = async (tell: typeof told): Promise<unknown> => {
      await sql`drop table if exists keyed`.execute(tx.db);
      await sql.raw(`create table keyed (id ${type} primary key, value varchar(9))`).execute(tx.db);
      return await tell();
    };
    const byKysely = await toldAnew(told);
    expect(await toldAnew(() => tx.run(told))).toEqual(byKysely);
  });
}

describe('what is special to Kysely over pg', () => {
  const { transactions, add, expectStored } = worldOf(onPg);

  test('the handle has the type, the plugins and the introspection of the instance', async () => {
    const tx = await transactions(1);
    expectTypeOf(tx.db).toEqualTypeOf<Kysely<Database>>();
    await tx.run(async (t) => {
      expectTypeOf(t.client).toEqualTypeOf<Kysely<Database>>();
      expect(t.client).toBeInstanceOf(Kysely);
      expect(t.client.isTransaction).toBe(true);
      await tx.db.schema.createTable('counter').addColumn('someName', 'text').execute();
      const made = await tx.db
        .insertInto('counter')
        .values({ someName: 'a' })
        .returning('someName')
        .execute();
      expect(made).toEqual([{ someName: 'a' }]);
      const tables = await t.client.introspection.getTables();
      expect(tables.map(({ name }) => name)).toContain('counter');
      t.setRollbackOnly();
    });
    expect(tx.db.isTransaction).toBe(false);
  });

  test('counts what was changed, as Kysely does', async () => {
    const tx = await transactions(1);
    await tx.run(async () => {
      await add(tx, 'a');
      await add(tx, 'b');
      expect(await tx.db.updateTable('note').set({ value: 'c' }).where('value', '=', 'b').execute()).toEqual([
        { numUpdatedRows: 1n },
      ]);
      expect(await tx.db.deleteFrom('note').execute()).toEqual([{ numDeletedRows: 2n }]);
    });
  });

  test('its own transaction() is a nested scope: what fails in it is undone alone', async () => {
    const tx = await transactions(1);
    await tx.run(async () => {
      await add(tx, 'outer');
      const inner = tx.db.transaction().execute(async (own) => {
        expect(tx.current()?.role).toBe('nested');
        expect(own.isTransaction).toBe(true);
        await own.insertInto('note').values({ value: 'inner' }).execute();
        throw new Error('inner');
      });
      expect(await outcomeOf(inner)).toBe('inner');
    });
    await expectStored('outer');
  });

  test('a copy of a handle belongs to its scope, and its own transaction() keeps what it was given', async () => {
    const tx = await transactions(1);
    await tx.run(async () => {
      const copy = tx.db.withoutPlugins().withSchema('public');
      await copy.insertInto('note').values({ value: 'outer' }).execute();
      const inner = copy.transaction().execute(async (own) => {
        const query = own.insertInto('note').values({ value: 'inner' });
        expect(query.compile().sql).toContain('"public"."note"');
        await query.execute();
        throw new Error('inner');
      });
      expect(await outcomeOf(inner)).toBe('inner');
    });
    await expectStored('outer');
  });

  test.each<[string, (db: Kysely<Database>) => unknown, string]>([
    ['an isolation', (db) => db.transaction().setIsolationLevel('serializable'), 'option_conflict'],
    ['an access mode', (db) => db.transaction().setAccessMode('read only'), 'option_conflict'],
    ['startTransaction()', (db) => db.startTransaction().execute(), 'statement_refused'],
    ['destroy()', (db) => db.destroy(), 'statement_refused'],
    ['a COMMIT', (db) => sql`commit`.execute(db), 'statement_refused'],
    ['a stream', (db) => db.selectFrom('note').selectAll().stream().next(), 'statement_refused'],
  ])('refuses %s in a transaction', async (_, call, code) => {
    const tx = await transactions(1);
    expect(await outcomeOf(tx.run(async (t) => void (await call(t.client))))).toBe(code);
    await tx.run(() => add(tx, 'the connection is whole'));
  });

  test('connection() is the one of the scope', async () => {
    const tx = await transactions(1);
    await tx.run(async (t) => {
      await t.client.connection().execute((own) => add(tx, 'a').then(() => onPg.insert(own, 'b')));
      t.setRollbackOnly();
    });
    await expectStored();
  });

  test('a query whose signal aborts while it waits for its turn is not run', async () => {
    const tx = await transactions(1);
    const abort = new AbortController();
    await tx.run(async () => {
      const first = sql`select pg_sleep(0.05)`.execute(tx.db);
      const second = tx.db.insertInto('note').values({ value: 'aborted' }).execute({ signal: abort.signal });
      await turn();
      abort.abort(new Error('no longer wanted'));
      expect(await outcomeOf(second)).toBe('no longer wanted');
      await first;
      await add(tx, 'after');
    });
    await expectStored('after');
  });

  test.each([
    ['nothing', undefined],
    ['a pool', new Pool()],
  ])('refuses %s', (_, given) => {
    // @ts-expect-error -- it is no Kysely
    expect(() => kyselyDriver(given, pgDriver(new Pool()))).toThrow(/config_invalid: kyselyDriver needs/);
  });

  test('refuses a class that does not hand on what it is made with', () => {
    const pool = new Pool();
    class Own extends Kysely<Database> {
      constructor() {
        super({ dialect: new PostgresDialect({ pool }) });
      }
    }
    expect(() => kyselyDriver(new Own(), pgDriver(pool))).toThrow(/config_invalid: .*hand on/);
  });
});

describe('what is special to Kysely over mysql2', () => {
  const { transactions } = worldOf(onMysql2);

  test('gives generated keys and counts as Kysely does', async () => {
    const tx = await transactions(1);
    await sql`create or replace table counter (id int auto_increment primary key, someName varchar(9))`.execute(
      tx.db,
    );
    await tx.run(async () => {
      const [inserted] = await tx.db.insertInto('counter').values({ someName: 'a' }).execute();
      expect(inserted).toMatchObject({ insertId: 1n, numInsertedOrUpdatedRows: 1n });
      const [updated] = await tx.db.updateTable('counter').set({ someName: 'a' }).execute();
      expect(updated).toMatchObject({ numUpdatedRows: 1n, numChangedRows: 0n });
    });
  });
});

describe('kyselyDriver', () => {
  test('refuses a driver of another kind beneath it', () => {
    const db = new Kysely<Database>({ dialect: new PostgresDialect({ pool: new Pool() }) });
    const beneath = { ...pgDriver(new Pool()), outside: {} };
    expect(() => createTransactions(kyselyDriver(db, beneath))).toThrow(/config_invalid: .* over pg/);
  });
});
