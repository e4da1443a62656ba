import { createPool, type Pool, type PoolConnection, type RowDataPacket } from 'mysql2/promise';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { mariadbDatabase } from '../../../../test/services/mariadb.ts';
import { parseBranchName, parseGid } from '../../core/ids.ts';
import type { Op } from '../../core/outcome.ts';
import { Refused } from '../../define/answers.ts';
import type { BarrierCall } from '../barrier.ts';
import { tellAnswer } from '../kept-answers.ts';
import { mysqlBarrier, type MysqlBarrier, type MysqlPool, type MysqlPoolConnection } from './index.ts';

const database = mariadbDatabase();
let pool: Pool;
let guard: MysqlBarrier<PoolConnection>;

beforeAll(async () => {
  pool = createPool({ uri: database.url, connectionLimit: 64 });
  guard = mysqlBarrier(pool);
  await guard.migrate();
  await pool.query('create table stock (id int primary key, quantity int not null) engine = InnoDB');
});

afterAll(() => pool.end());

beforeEach(async () => {
  for (const sql of [
    'delete from settle_barrier',
    'delete from stock',
    'insert into stock values (1, 10), (2, 10)',
  ])
    await pool.query(sql);
});

/** Uses a small pool of its own, each of whose sessions begins with this. */
async function withPool<T>(session: string, flags: string[], use: (pool: Pool) => Promise<T>): Promise<T> {
  const opened = createPool({ uri: database.url, connectionLimit: 8, flags });
  opened.on('connection', (connection) => void connection.query(session));
  try {
    return await use(opened);
  } finally {
    await opened.end();
  }
}

function call(op: Op = 'action', gid = 'g'): BarrierCall {
  return { gid: parseGid(gid), branch: parseBranchName('b'), op };
}

async function take(client: PoolConnection): Promise<{ left: number }> {
  await client.query('update stock set quantity = quantity - 1 where id = 1');
  return { left: await quantity(client) };
}

async function quantity(client: Pool | PoolConnection = pool): Promise<number> {
  const [rows] = await client.query<(RowDataPacket & { quantity: number })[]>(
    'select quantity from stock where id = 1',
  );
  return rows[0]?.quantity ?? Number.NaN;
}

async function rowCount(): Promise<number> {
  const [rows] = await pool.query<RowDataPacket[]>('select gid from settle_barrier');
  return rows.length;
}

const unavailable = expect.objectContaining({ code: 'unavailable' }) as unknown;

describe('64 calls at the same time', () => {
  const many = Array.from({ length: 64 }, (_, n) => n);
  const isolations = ['read-committed', 'repeatable-read', 'serializable'] as const;

  it.each(isolations)(
    'of one operation meet in no deadlock, also when some fail, at %s',
    async (isolation) => {
      const { counted, deadlocks } = countingDeadlocks(pool);
      const counting = mysqlBarrier(counted, { isolation, attemptsMax: 1 });
      let runs = 0;
      const work = async (client: MysqlPoolConnection): Promise<number> => {
        await client.query('update stock set quantity = quantity - 1 where id = 1');
        if (++runs <= 3) throw new Error('broken');
        return runs;
      };
      const ended = await Promise.allSettled(many.map(() => counting.run(call(), work)));
      const answers = ended.flatMap((one) => (one.status === 'fulfilled' ? [one.value] : []));
      expect(answers).toEqual(Array.from({ length: 61 }, () => 4));
      expect(await quantity()).toBe(9);
      expect(deadlocks()).toBe(0);
    },
  );

  it.each(isolations)(
    'of as many branches meet in none, from try to confirm or cancel, at %s',
    async (isolation) => {
      const { counted, deadlocks } = countingDeadlocks(pool);
      const counting = mysqlBarrier(counted, { isolation, attemptsMax: 1 });
      for (const op of ['try', undefined] as const)
        await Promise.all(
          many.map((n) => counting.run(call(op ?? (n % 2 === 0 ? 'confirm' : 'cancel'), `g${n}`), () => n)),
        );
      expect(deadlocks()).toBe(0);
    },
  );

  // The reason for the slots: 61 or 62 of the 64 fail in each run on 2 cores.
  it('would meet in deadlocks if they inserted with ignore and then locked what is there', async () => {
    const { counted, deadlocks } = countingDeadlocks(pool);
    await Promise.all(
      many.map(async () => {
        const client = await counted.getConnection();
        const key = ['g', 'b', 'action'];
        try {
          await client.query('start transaction');
          await client.execute('insert ignore into settle_barrier values (?, ?, ?, ?, null, 0, 0)', [
            ...key,
            'action',
          ]);
          await client.execute(
            'select answer from settle_barrier where gid = ? and branch = ? and op = ? for update',
            key,
          );
          await client.query('commit');
        } catch {
          await client.query('rollback');
        } finally {
          client.release();
        }
      }),
    );
    expect(deadlocks()).toBeGreaterThan(0);
  });
});

describe('in a transaction of the caller', () => {
  it('the effect and the answer commit with it, and a repeat gets the answer', async () => {
    for (let i = 0; i < 2; i++) {
      const asked = call();
      const answer = await inTransaction((client) => guard.in(client, asked, () => take(client)));
      expect(tellAnswer(asked, answer)).toEqual({ left: 9 });
    }
    expect(await guard.run(call(), take)).toEqual({ left: 9 });
  });

  it('a refusal is an answer to commit, without its effects', async () => {
    const answer = await inTransaction((client) =>
      guard.in(client, call(), async () => {
        await take(client);
        throw new Refused('none left');
      }),
    );
    expect(answer).toEqual({ kind: 'refused', reason: 'none left' });
    expect([await quantity(), await rowCount()]).toEqual([10, 1]);
  });

  it('nothing is done when no transaction is open', async () => {
    const client = await pool.getConnection();
    await expect(guard.in(client, call(), () => take(client))).rejects.toEqual(unavailable);
    client.release();
    expect([await quantity(), await rowCount()]).toEqual([10, 0]);
  });

  it('what was committed after its snapshot is seen all the same', async () => {
    await guard.run(call('try', 'tried'), () => 1);
    const [answer, conflict, confirmed] = await inTransaction(async (client) => {
      await quantity(client);
      await guard.run(call(), take);
      await guard.run(call('try', 'late'), () => 1);
      await guard.run(call('cancel', 'tried'), () => 1);
      return [
        await guard.in(client, call(), () => take(client)),
        await guard.in(client, call('confirm', 'tried'), () => take(client)).catch((error: unknown) => error),
        await guard.in(client, call('confirm', 'late'), () => 2),
      ];
    });
    expect(answer).toEqual({ kind: 'done', result: { left: 9 } });
    expect(conflict).toMatchObject({ code: 'barrier_conflict' });
    expect(confirmed).toEqual({ kind: 'done', result: 2 });
    expect(await quantity()).toBe(9);
  });
});

describe('a transaction that fails', () => {
  it('leaves nothing when its connection is killed, and the next call is served by another one', async () => {
    const killed = guard.run(call(), async (client) => {
      await take(client);
      await pool.query(`kill ${client.threadId}`);
      return take(client);
    });
    await expect(killed).rejects.toMatchObject({ code: 'unavailable', retryAfterMs: 1_000 });
    expect([await quantity(), await rowCount()]).toEqual([10, 0]);
    expect(await guard.run(call(), take)).toEqual({ left: 9 });
  });

  it('is answered from its row when only the answer to its COMMIT was lost', async () => {
    const losing = mysqlBarrier(
      intercepted(pool, async (client, sql, query) => {
        const result = await query();
        if (sql === 'commit') client.destroy();
        return sql === 'commit' ? client.query('select 1') : result;
      }),
    );
    await expect(losing.run(call(), () => 'committed')).rejects.toEqual(unavailable);
    expect(await guard.run(call(), () => 'again')).toBe('committed');
  });

  it('is found out when work changes a table, which commits it', async () => {
    const changing = guard.run(call(), async (client) => {
      await take(client);
      await client.query('create table if not exists other (id int)');
    });
    await expect(changing).rejects.toMatchObject({
      code: 'unavailable',
      next: expect.stringContaining('change tables'),
    });
    await expect(guard.run(call(), take)).rejects.toMatchObject({ code: 'barrier_conflict' });
    expect(await quantity()).toBe(9);
  });

  it('gives out what work threw as it was, also when the database threw it', async () => {
    const twice = guard.run(call(), (client) =>
      client.query('insert into stock values (1, 1)').then(() => 1),
    );
    await expect(twice).rejects.toMatchObject({ errno: 1062 });
    const noTable = guard.run(call(), (client) => client.query('select 1 from nowhere').then(() => 1));
    await expect(noTable).rejects.toMatchObject({ errno: 1146 });
    expect(await rowCount()).toBe(0);
  });

  it('is unavailable when it waits for longer than the server allows', async () => {
    const [started, mayEnd] = [Promise.withResolvers<undefined>(), Promise.withResolvers<undefined>()];
    const first = guard.run(call(), async (client) => {
      started.resolve(undefined);
      await mayEnd.promise;
      return take(client);
    });
    await started.promise;
    await withPool('set innodb_lock_wait_timeout = 0', [], async (impatient) => {
      await expect(mysqlBarrier(impatient).run(call(), take)).rejects.toEqual(unavailable);
      mayEnd.resolve(undefined);
      expect(await first).toEqual({ left: 9 });
      expect(await mysqlBarrier(impatient).run(call(), take)).toEqual({ left: 9 });
    });
  });

  it('is unavailable when there is no server', async () => {
    const nowhere = createPool({ host: '127.0.0.1', port: 1 });
    await expect(mysqlBarrier(nowhere).run(call(), take)).rejects.toEqual(unavailable);
    await nowhere.end();
  });

  it('says what to do when the slots are missing', async () => {
    await pool.query('delete from settle_barrier_lock');
    await expect(guard.run(call(), take)).rejects.toMatchObject({
      code: 'unavailable',
      next: expect.stringContaining('migrate()'),
    });
    await guard.migrate();
    expect(await guard.run(call(), take)).toEqual({ left: 9 });
  });
});

describe('transactions that meet', () => {
  it('in a deadlock are tried again, unseen', async () => {
    const { runs, reasons } = await deadlock(guard, false);
    expect(reasons).toEqual([]);
    // Whoever is tried again may meet the other once more.
    expect(runs).toBeGreaterThan(2);
    expect(await quantity()).toBe(8);
  });

  it('are unavailable once they have been tried often enough', async () => {
    const once = mysqlBarrier(pool, { attemptsMax: 1 });
    expect(await deadlock(once, false)).toEqual({ runs: 2, reasons: [unavailable] });
    expect(await quantity()).toBe(9);
  });

  it('by changing what the other has read are tried again, where the server looks for that', () =>
    withPool('set innodb_snapshot_isolation = on', [], async (sessions) => {
      let runs = 0;
      const work = async (client: PoolConnection): Promise<{ left: number }> => {
        await quantity(client);
        if (++runs === 1) await guard.run(call('action', 'other'), take);
        return take(client);
      };
      expect(await mysqlBarrier(sessions).run(call(), work)).toEqual({ left: 8 });
      expect(runs).toBe(2);
    }));

  it('are not taken for done when work passes over the deadlock that took its transaction', async () => {
    expect(await deadlock(guard, true)).toEqual({ runs: 2, reasons: [unavailable] });
    expect([await quantity(), await rowCount()]).toEqual([9, 1]);
  });
});

describe('whatever the session', () => {
  it.each([
    ['that counts changed rows instead of found ones', 'set @any = 1', ['-FOUND_ROWS']],
    ['that reads strings another way', "set sql_mode = 'NO_BACKSLASH_ESCAPES,ANSI_QUOTES'", []],
    ['that is not strict', "set sql_mode = ''", []],
    ['with another character set', 'set names latin1', []],
    ['that refuses to change what changed since its snapshot', 'set innodb_snapshot_isolation = on', []],
  ])('answers and keeps the same: one %s', (_, session, flags) =>
    withPool(session, flags, async (sessions) => {
      const one = mysqlBarrier(sessions, { attemptsMax: 64 });
      const result = `'"\\ ü 😀`;
      const answers = await Promise.all(Array.from({ length: 32 }, () => one.run(call('try'), () => result)));
      expect(new Set(answers)).toEqual(new Set([result]));
      expect(await one.run(call('confirm'), () => result)).toBe(result);
      await expect(one.run(call('cancel'), () => result)).rejects.toMatchObject({ code: 'barrier_conflict' });
      expect(await rowCount()).toBe(2);
    }),
  );
});

/** Begins and ends a transaction as a caller should. */
async function inTransaction<T>(use: (client: PoolConnection) => Promise<T>): Promise<T> {
  const client = await pool.getConnection();
  try {
    await client.beginTransaction();
    const value = await use(client);
    await client.commit();
    return value;
  } catch (error) {
    await client.rollback();
    throw error;
  } finally {
    client.release();
  }
}

/** Two that each change both rows, in opposite order, once each has its first. */
async function deadlock(one: MysqlBarrier<PoolConnection>, passOver: boolean) {
  const hasFirst = [Promise.withResolvers<undefined>(), Promise.withResolvers<undefined>()];
  let runs = 0;
  const ended = await Promise.allSettled(
    [0, 1].map((n) =>
      one.run(call('action', `g${n}`), async (client) => {
        runs += 1;
        await client.query(`update stock set quantity = quantity - 1 where id = ${1 + n}`);
        hasFirst[n]?.resolve(undefined);
        await hasFirst[1 - n]?.promise;
        await client
          .query(`update stock set quantity = quantity - 1 where id = ${2 - n}`)
          .catch((error: unknown) => {
            if (!passOver) throw error;
          });
      }),
    ),
  );
  const reasons = ended.flatMap((one): unknown[] => (one.status === 'rejected' ? [one.reason] : []));
  return { runs, reasons };
}

/** The pool, counting what its connections are told of deadlocks. */
function countingDeadlocks(over: Pool) {
  let count = 0;
  const counted = intercepted(over, (_client, _sql, query) =>
    query().catch((error: unknown) => {
      if (error instanceof Error && 'errno' in error && error.errno === 1213) count += 1;
      throw error;
    }),
  );
  return { counted, deadlocks: () => count };
}

/** The pool, with something between the barrier and its statements. */
function intercepted(
  over: Pool,
  intercept: (client: PoolConnection, sql: string, query: () => Promise<unknown>) => Promise<unknown>,
): MysqlPool {
  return {
    async getConnection() {
      const client = await over.getConnection();
      return {
        query: (sql) => intercept(client, sql, () => client.query(sql)),
        execute: (sql, values) => intercept(client, sql, () => client.execute(sql, values)),
        release: () => client.release(),
        destroy: () => client.destroy(),
      };
    },
  };
}
