import postgres, { type Sql } from 'postgres';
import { afterEach, describe, expect, test, vi } from 'vitest';
import { postgresJsDriver } from '../../lib/src/local/adapters/postgres-js.ts';
import { createTransactions } from '../../lib/src/local/manager.ts';
import type { Transactions } from '../../lib/src/local/transactions.ts';
import { localContract } from './contract.ts';
import { postgresNotes } from './databases.ts';
import type { Subject } from './subject.ts';
import { outcomeOf, thrownBy, turn, worldOf } from './world.ts';

const database = postgresNotes();

const subject: Subject<Sql> = {
  name: 'postgres.js',
  database,
  async open(max, url) {
    const sql = postgres(url, { max, onnotice: () => {} });
    return { driver: postgresJsDriver(sql), close: () => sql.end({ timeout: 1 }) };
  },
  insert: (sql, value) => sql`insert into note values (${value})`,
  async values(sql) {
    const rows = await sql<{ value: string }[]>`select value from note order by value`;
    return rows.map(({ value }) => value);
  },
  raw: (sql, text) => sql.unsafe(text),
};

localContract(subject);

describe('what is special to postgres.js', () => {
  const { transactions, add, insert, expectStored } = worldOf(subject);
  const open: Sql[] = [];
  afterEach(async () => {
    for (const sql of open.splice(0)) await sql.end({ timeout: 1 });
  });

  /** With the pool itself at hand. */
  function withPool(options: postgres.Options<{}> = {}): { tx: Transactions<Sql>; pool: Sql } {
    const pool = postgres(database.url, { max: 2, onnotice: () => {}, ...options });
    open.push(pool);
    return { tx: createTransactions(postgresJsDriver(pool)), pool };
  }

  test('the handle is a sql of the same type, custom types included', async () => {
    const pool = postgres(database.url, {
      max: 1,
      types: {
        shout: { to: 25, from: [], serialize: (value: string) => value.toUpperCase(), parse: String },
      },
    });
    open.push(pool);
    const tx = createTransactions(postgresJsDriver(pool));
    const rows = await tx.run(({ client: sql }) => sql`select ${sql.typed.shout('hello')} as said`);
    expect(rows).toEqual([{ said: 'HELLO' }]);
  });

  test('helpers, fragments and lists of them work, also those made with the pool', async () => {
    const { tx, pool } = withPool();
    await tx.run(async ({ client: sql }) => {
      await sql`insert into note ${sql([{ value: 'a' }, { value: 'b' }, { value: 'c' }])}`;
      const among = sql`value in ${sql(['a', 'b'])}`;
      const notA = pool`value <> ${'a'}`;
      expect(await sql`select ${sql('value')} from note where ${among} and ${notA}`).toEqual([
        { value: 'b' },
      ]);
      const conditions = [sql`where true`, sql`and ${notA}`];
      expect(await sql`select value from note ${conditions} order by 1`.values()).toEqual([['b'], ['c']]);
      await sql`update note set ${sql({ value: 'z' })} where value = any(${sql.array(['b', 'c'])}) and value = 'b'`;
      expect(await sql`select ${sql.json({ n: 1 })}::jsonb as v`).toEqual([{ v: { n: 1 } }]);
      expect(await sql.unsafe('select $1::int + 1 as n', [1])).toEqual([{ n: 2 }]);
    });
    await expectStored('a', 'c', 'z');
  });

  test('values(), raw(), simple(), describe(), forEach() and execute() are part of the transaction', async () => {
    const tx = await transactions(1);
    await tx.run(async ({ client: sql }) => {
      await add(tx, 'a');
      expect(await sql`select value from note`.values()).toEqual([['a']]);
      expect(await sql`select value from note`.raw()).toEqual([[Buffer.from('a')]]);
      expect(await sql`select value from note`.simple()).toEqual([{ value: 'a' }]);
      expect((await sql`select value from note where value = ${'a'}`.describe()).columns).toMatchObject([
        { name: 'value' },
      ]);
      const seen: unknown[] = [];
      await sql`select value from note`.forEach((row) => seen.push(row));
      expect(seen).toEqual([{ value: 'a' }]);
      const asked = sql`select 1 as n`.execute();
      expect(await asked).toEqual([{ n: 1 }]);
    });
  });

  test('a query is lazy: made and not awaited it does not happen, made inside and awaited outside it is refused', async () => {
    const tx = await transactions(1);
    const made = await tx.run(({ client: sql }) => {
      void sql`insert into note values ('never awaited')`;
      return [sql`insert into note values ('late')`];
    });
    expect(await outcomeOf(Promise.resolve(made[0]))).toBe('scope_ended');
    await expectStored();
  });

  test('begin() of the handle is a nested scope, also with a list of queries', async () => {
    const tx = await transactions(1);
    await tx.run(async ({ client: sql }) => {
      await add(tx, 'outer');
      await outcomeOf(
        sql.begin(async (inner) => {
          await inner`insert into note values ('undone')`;
          throw new Error('inner');
        }),
      );
      await sql.begin((inner) => [
        inner`insert into note values ('x')`,
        inner`insert into note values ('y')`,
      ]);
    });
    await expectStored('outer', 'x', 'y');
  });

  test('notify() is told with the commit', async () => {
    const { tx, pool } = withPool();
    const heard: string[] = [];
    await pool.listen('channel', (payload) => heard.push(payload));
    await outcomeOf(
      tx.run(async ({ client: sql }) => {
        await sql.notify('channel', 'rolled back');
        throw new Error('rolls back');
      }),
    );
    await tx.run(({ client: sql }) => sql.notify('channel', 'committed'));
    await vi.waitFor(() => expect(heard).toEqual(['committed']));
  });

  test('what needs the connection for itself, or another one, is refused', async () => {
    const tx = await transactions(1);
    await tx.run(async ({ client: sql }) => {
      const refused = [
        () => sql.end(),
        () => sql.reserve(),
        () => sql.listen('channel', () => {}),
        () => sql.file('rows.sql'),
        () => sql.begin('read only', () => 1),
        () => sql`copy note from stdin`.writable(),
        () => sql`copy note to stdout`.readable(),
        () => sql`begin`,
        () => sql`${sql.unsafe('commit')}`,
        () => sql.unsafe('rollback'),
      ];
      for (const call of refused) expect(await outcomeOf(Promise.resolve(call()))).toBe('statement_refused');
      expect(() => sql`select 1`.cursor()).toThrow('statement_refused');
      await add(tx, 'goes on');
    });
    await expectStored('goes on');
  });

  test('a COMMIT hidden among several statements is found out, whatever follows it', async () => {
    const tx = await transactions(1);
    const hidden = (text: string) => outcomeOf(tx.run(({ client: sql }) => sql.unsafe(text)));
    expect(await hidden("insert into note values ('a'); commit")).toBe('implicit_commit');
    expect(await hidden("insert into note values ('b'); commit; begin; select 1")).toBe('implicit_commit');
    expect(await hidden("insert into note values ('c'); commit; select 1/0")).toBe('implicit_commit');
    await expectStored('a', 'b', 'c');
  });

  test('a text that only looks like it is taken', async () => {
    const tx = await transactions(1);
    await tx.run(({ client: sql }) =>
      sql.unsafe(`
        create function pg_temp.f() returns int language plpgsql as $$ begin return 1; end $$;
        insert into note values ('; commit')`),
    );
    await expectStored('; commit');
  });

  test('a query that is cancelled fails, before it is sent or while it runs', async () => {
    const tx = await transactions(1);
    const codes: (string | undefined)[] = [];
    const ran = tx.run(async ({ client: sql }) => {
      const early = sql`select pg_sleep(10)`;
      early.cancel();
      codes.push((await thrownBy(early)).code);
      const slow = sql`select pg_sleep(10)`.execute();
      await vi.waitFor(async () => {
        if ((await database.busyConnections()) === 0) throw new Error('not yet');
      });
      slow.cancel();
      codes.push((await thrownBy(slow)).code);
    });
    expect(await outcomeOf(ran)).toBe('unexpected_rollback');
    expect(codes).toEqual(['57014', '57014']);
    await tx.run(() => add(tx, 'next'));
    await expectStored('next');
  });

  test('a transaction aborted in the moment its statement is made leaves the pool whole', async () => {
    const tx = await transactions(1);
    const abort = new AbortController();
    const ran = tx.run(
      async ({ client: sql }) => {
        await add(tx, 'gone');
        const slow = outcomeOf(sql`select pg_sleep(10)`);
        abort.abort();
        return await slow;
      },
      { signal: abort.signal },
    );
    expect(await outcomeOf(ran)).toBe('transaction_cancelled');
    await tx.run(() => add(tx, 'next'));
    await expectStored('next');
  });

  test('a connection lost while idle is told with the next statement, and harms nobody (J1)', async () => {
    const closed = Promise.withResolvers<number>();
    const { tx } = withPool({ max: 1, onclose: closed.resolve });
    const uncaught: unknown[] = [];
    const listen = (error: unknown): void => void uncaught.push(error);
    process.on('uncaughtException', listen);
    try {
      const outcomes: string[] = [];
      const ran = tx.run(async ({ client: sql }) => {
        await insert(sql, 'gone');
        await database.killConnections();
        await closed.promise;
        outcomes.push(await outcomeOf(insert(sql, 'late')), await outcomeOf(insert(sql, 'later')));
      });
      expect(await outcomeOf(ran)).toBe('unexpected_rollback');
      expect(outcomes).toEqual(['connection_lost', 'transaction_aborted']);
      // What was sent by mistake would come up now.
      await turn();
      expect(uncaught).toEqual([]);
      await tx.run(({ client: sql }) => insert(sql, 'next'));
      await expectStored('next');
    } finally {
      process.off('uncaughtException', listen);
    }
  });

  test('after a failed statement that was caught, a nested scope is told of it without asking the server (J2)', async () => {
    const tx = await transactions(1);
    const inner = vi.fn<() => void>();
    const ran = tx.run(async ({ client: sql }) => {
      await outcomeOf(sql`select 1 / 0`);
      return await outcomeOf(tx.run(inner, { propagation: 'nested' }));
    });
    expect(await outcomeOf(ran)).toBe('unexpected_rollback');
    expect(inner).not.toHaveBeenCalled();
  });

  test('a connection that comes too late is given back whole', async () => {
    const tx = await transactions(1);
    const pid = () => tx.run(({ client: sql }) => sql`select pg_backend_pid() as pid`.values());
    const before = await pid();
    const hold = Promise.withResolvers<undefined>();
    const holder = tx.run(async () => {
      await add(tx, 'held');
      await hold.promise;
    });
    expect(await outcomeOf(tx.run(() => add(tx, 'late'), { acquireTimeoutMs: 20 }))).toBe('pool_exhausted');
    hold.resolve(undefined);
    await holder;
    expect(await pid()).toEqual(before);
    await expectStored('held');
  });

  test('a connection lost in flight costs the pool nothing, and its error reaches nobody else (J3)', async () => {
    const { tx } = withPool({ max: 1 });
    const ran = tx.run(({ client: sql }) => sql`select pg_sleep(10)`);
    const lost = outcomeOf(ran);
    await vi.waitFor(async () => expect(await database.busyConnections()).toBe(1));
    await database.killConnections();
    expect(await lost).toBe('connection_lost');
    for (const value of ['a', 'b']) await tx.run(({ client: sql }) => insert(sql, value));
    await expectStored('a', 'b');
  });

  test('works without fetch_types, and with options of BEGIN', async () => {
    const { tx } = withPool({ fetch_types: false });
    const settings = await tx.run(
      async ({ client: sql }) => [
        ...(await sql`show transaction_isolation`.values()),
        ...(await sql`show transaction_read_only`.values()),
        ...(await sql`show statement_timeout`.values()),
      ],
      { isolation: 'serializable', readOnly: true, timeoutMs: 4_000 },
    );
    expect(settings).toEqual([['serializable'], ['on'], [expect.stringMatching(/^\d+s$/)]]);
  });

  test('the pool can be ended while a transaction is open: it ends with it', async () => {
    const { tx, pool } = withPool({ max: 1 });
    let ended: Promise<void> | undefined;
    await tx.run(async ({ client: sql }) => {
      await insert(sql, 'a');
      ended = pool.end();
      await insert(sql, 'b');
    });
    await ended;
    await expectStored('a', 'b');
  });

  test('a COMMIT that is refused has rolled back: nothing is sent after it, and nobody is warned', async () => {
    const notices: unknown[] = [];
    const { tx, pool } = withPool({ onnotice: (notice) => notices.push(notice) });
    await pool`create table slot (n int unique deferrable initially deferred)`;
    const ran = tx.run(({ client: sql }) => sql`insert into slot values (1), (1)`);
    expect(await outcomeOf(ran)).toMatch(/duplicate key/);
    await tx.run(({ client: sql }) => sql`insert into slot values (1)`);
    expect(await pool`select n from slot`).toEqual([{ n: 1 }]);
    expect(notices).toEqual([]);
  });

  test('those who wait for a connection get one, although another one closes meanwhile (J3)', async () => {
    const tx = await transactions(1);
    const hold = Promise.withResolvers<undefined>();
    const holder = tx.run(async (t) => {
      await insert(t.client, 'held');
      // Session state: nobody else is given this connection.
      await t.client.unsafe("set application_name = 'mine'");
      await hold.promise;
    });
    const waiting = [1, 2, 3].map((n) => tx.run(() => add(tx, `waited ${n}`)));
    await turn();
    hold.resolve(undefined);
    await Promise.all([holder, ...waiting]);
    await expectStored('held', 'waited 1', 'waited 2', 'waited 3');
  });

  test.each([
    ['nothing', () => undefined],
    ['a URL', () => 'postgres://127.0.0.1'],
  ])('refuses %s', (_, given) => {
    // @ts-expect-error -- it is no pool
    expect(() => postgresJsDriver(given())).toThrow(/^config_invalid/);
  });
});
