import { beforeEach, describe, expect, test } from 'vitest';
import { ScriptedDatabase } from '../../../test/local/scripted-driver.ts';
import { thrownBy, turn } from '../../../test/local/world.ts';
import { VirtualClock } from '../testing/virtual-clock.ts';
import { mysqlDialect, postgresDialect, sqliteDialect, type Dialect } from './dialect.ts';
import type { Connection, Driver } from './driver.ts';
import { ownStatementAttemptsMax, ownStatements, ownStatementTimeoutMs } from './own-statements.ts';

const lost = Object.assign(new Error('gone'), { code: 'ECONNRESET' });
const refused = Object.assign(new Error('no'), { code: '23505' });
const deadlock = Object.assign(new Error('met another'), { code: '40P01' });

let database: ScriptedDatabase;
let clock: VirtualClock;

beforeEach(() => {
  database = new ScriptedDatabase();
  clock = new VirtualClock();
});

/** The scripted connection runs statements with values, too. */
function driverOf({ driver }: ScriptedDatabase, dialect: Dialect = driver.dialect): Driver<unknown> {
  return {
    ...driver,
    dialect,
    async acquire(need): Promise<Connection> {
      const connection = await driver.acquire(need);
      return Object.assign(connection, {
        async query(sql: string) {
          await connection.answer(sql);
          return { rows: [{ sql }], affected: 0 };
        },
      });
    },
  };
}

function own(driver: Driver<unknown> = driverOf(database)) {
  return ownStatements(driver, {
    label: 'outbox',
    migrateWith: 'migrateOutbox(driver)',
    clock: {
      now: () => clock.monotonicMs(),
      schedule: (ms, callback) => clock.schedule(ms, callback),
      turn,
    },
  });
}

describe('a statement', () => {
  test('is one message, and its connection goes back', async () => {
    expect((await own().query('select 1', [])).rows).toEqual([{ sql: 'select 1' }]);
    expect(database.log).toEqual(['1 select 1', '1 release reuse']);
  });

  test('that is refused leaves a connection that can be used again', async () => {
    database.fail('x', refused);
    expect(await thrownBy(own().query('x', []))).toMatchObject({ code: 'unavailable', cause: refused });
    expect(database.log.at(-1)).toBe('1 release reuse');
  });

  test.each([
    ['the connection is lost', lost],
    ['nobody knows what happened', new Error('?')],
  ])('is not tried again when %s, and its connection is given up', async (_, error) => {
    database.fail('x', error);
    expect(await thrownBy(own().query('x', []))).toMatchObject({ code: 'unavailable', cause: error });
    expect(database.log).toEqual(['1 x', '1 release discard']);
  });

  test('that met another one is tried again, a limited number of times', async () => {
    database.fail('x', deadlock);
    const done = own().query('x', []);
    await clock.advance(1_000);
    await done;
    expect(database.log.filter((line) => line.endsWith(' x'))).toHaveLength(2);

    database.log.length = 0;
    for (let i = 0; i < ownStatementAttemptsMax; i++) database.fail('x', deadlock);
    const given = thrownBy(own().query('x', []));
    await clock.advance(60_000);
    expect(await given).toMatchObject({ code: 'unavailable', cause: deadlock });
    expect(database.log.filter((line) => line.endsWith(' x'))).toHaveLength(ownStatementAttemptsMax);
  });

  test('that is not answered in time is given up together with its connection', async () => {
    database.stopAll('x');
    const given = thrownBy(own().query('x', []));
    await clock.advance(ownStatementTimeoutMs);
    expect(await given).toMatchObject({ code: 'unavailable' });
    expect(database.log).toEqual(['1 x', '1 release discard']);
  });

  test('does not wait for a connection for ever, and one that comes late goes back', async () => {
    const acquire = database.stop('acquire');
    const given = thrownBy(own().query('x', []));
    await clock.advance(ownStatementTimeoutMs);
    expect(await given).toMatchObject({ code: 'unavailable' });
    acquire.go();
    await turn();
    expect(database.log).toEqual(['1 release reuse']);
  });

  test('runs in the transaction that its connection comes with, and commits it', async () => {
    const driver = driverOf(database);
    const begun: Driver<unknown> = {
      ...driver,
      async acquire(need) {
        const connection = await driver.acquire(need);
        await connection.execute('begin');
        return connection;
      },
    };
    await own(begun).query('x', []);
    expect(database.log.slice(-3)).toEqual(['1 x', '1 commit', '1 release reuse']);
  });

  test('is committed where the pool has switched autocommit off', async () => {
    // It opens a transaction, as any statement does there.
    await own().query('begin', []);
    expect(database.log).toEqual(['1 begin', '1 commit', '1 release reuse']);
  });

  test.each([
    ['PostgreSQL', postgresDialect, { code: '42P01' }],
    ['MySQL', mysqlDialect, { code: 'ER_NO_SUCH_TABLE', errno: 1146 }],
    ['SQLite', sqliteDialect, { code: 'SQLITE_ERROR', message: 'no such table: settle_outbox' }],
  ])('whose table is missing says so, and how to create it: %s', async (_, dialect, error) => {
    database.fail(
      'x',
      Object.assign(new Error('wrapped'), { cause: Object.assign(new Error('none'), error) }),
    );
    expect(await thrownBy(own(driverOf(database, dialect)).query('x', []))).toMatchObject({
      code: 'tables_missing',
      next: expect.stringContaining('migrateOutbox(driver)'),
    });
  });

  test('for a user who is refused says that', async () => {
    database.fail('acquire', Object.assign(new Error('who?'), { code: '28P01' }));
    expect(await thrownBy(own().query('x', []))).toMatchObject({ code: 'database_access_denied' });
  });

  test('is refused by a driver that runs none with values', async () => {
    expect(await thrownBy(own(database.driver).query('x', []))).toMatchObject({ code: 'config_invalid' });
  });
});

describe('a transaction', () => {
  const begin = '1 begin isolation level read committed';

  test('commits what its work did', async () => {
    expect(await own().transaction(async (run) => (await run('x', [])).rows.length)).toBe(1);
    expect(database.log).toEqual([begin, '1 x', '1 commit', '1 release reuse']);
  });

  test('rolls back what failed', async () => {
    database.fail('x', refused);
    await thrownBy(own().transaction((run) => run('x', [])));
    expect(database.log).toEqual([begin, '1 x', '1 rollback', '1 release reuse']);
  });

  test('that cannot be rolled back leaves its connection to nobody', async () => {
    database.fail('x', refused);
    database.fail('rollback', lost);
    await thrownBy(own().transaction((run) => run('x', [])));
    expect(database.log.at(-1)).toBe('1 release discard');
  });

  test('that did not begin leaves its connection to nobody: half of a BEGIN may hold for the next', async () => {
    database.fail('begin isolation level read committed', refused);
    await thrownBy(own().transaction((run) => run('x', [])));
    expect(database.log).toEqual([begin, '1 release discard']);
  });

  test('sends nothing more on a connection that is lost', async () => {
    database.fail('x', lost);
    await thrownBy(own().transaction((run) => run('x', [])));
    expect(database.log).toEqual([begin, '1 x', '1 release discard']);
  });

  test('is tried again from its beginning when it met another one', async () => {
    database.fail('y', deadlock);
    const done = own().transaction(async (run) => {
      await run('x', []);
      await run('y', []);
    });
    await clock.advance(1_000);
    await done;
    expect(database.log.filter((line) => line.endsWith(' x'))).toHaveLength(2);
    expect(database.log.at(-2)).toBe('2 commit');
  });

  test('whose COMMIT is not answered is not tried again: it may be committed', async () => {
    database.fail('commit', lost);
    expect(await thrownBy(own().transaction((run) => run('x', [])))).toMatchObject({ code: 'unavailable' });
    expect(database.log).toEqual([begin, '1 x', '1 commit', '1 release discard']);
  });

  test('whose COMMIT is answered with ROLLBACK has failed', async () => {
    const driver = driverOf(database);
    const rollingBack: Driver<unknown> = {
      ...driver,
      async acquire(need) {
        const connection = await driver.acquire(need);
        const execute = connection.execute.bind(connection);
        return Object.assign(connection, {
          execute: async (sql: string) => {
            const tag = await execute(sql);
            return sql === 'commit' ? 'ROLLBACK' : tag;
          },
        });
      },
    };
    expect(await thrownBy(own(rollingBack).transaction((run) => run('x', [])))).toMatchObject({
      code: 'unavailable',
    });
  });
});
