import { Pool, type PoolClient } from 'pg';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { postgresDatabase } from '../../../../test/services/postgres.ts';
import { parseBranchName, parseGid } from '../../core/ids.ts';
import type { Op } from '../../core/outcome.ts';
import { Refused } from '../../define/answers.ts';
import { createTransactions } from '../../local/index.ts';
import { pgDriver } from '../../local/adapters/pg.ts';
import { barrier, type BarrierCall } from '../barrier.ts';
import { isKept, tellAnswer } from '../kept-answers.ts';
import {
  postgresBarrier,
  postgresTransaction,
  type PostgresBarrier,
  type PostgresPool,
  type PostgresPoolClient,
} from './index.ts';

const database = postgresDatabase();
let pool: Pool;
let guard: PostgresBarrier<PoolClient>;

beforeAll(async () => {
  // Deadlocks are found at once, not after the second that PostgreSQL takes by default.
  pool = new Pool({ connectionString: database.url, max: 10, options: '-c deadlock_timeout=10ms' });
  guard = postgresBarrier(pool);
  await guard.migrate();
  await pool.query('create table stock (id int primary key, quantity int not null check (quantity >= 0))');
});

afterAll(() => pool.end());

beforeEach(async () => {
  await pool.query('truncate settle_barrier, stock; insert into stock values (1, 10), (2, 10)');
});

function call(op: Op = 'action', gid = 'g'): BarrierCall {
  return { gid: parseGid(gid), branch: parseBranchName('b'), op };
}

interface Querying {
  query(text: string): Promise<{ readonly rows: readonly unknown[] }>;
}

async function take(client: Querying): Promise<{ left: number }> {
  const { rows } = await client.query(
    'update stock set quantity = quantity - 1 where id = 1 returning quantity as left',
  );
  return rows[0] as { left: number };
}

async function quantity(): Promise<number> {
  const { rows } = await pool.query<{ quantity: number }>('select quantity from stock where id = 1');
  return rows[0]?.quantity ?? Number.NaN;
}

async function rowCount(): Promise<number> {
  return (await pool.query('select from settle_barrier')).rowCount ?? Number.NaN;
}

async function idOf(client: PoolClient): Promise<number> {
  const { rows } = await client.query<{ pid: number }>('select pg_backend_pid() as pid');
  return rows[0]?.pid ?? Number.NaN;
}

function kill(pid: number): Promise<unknown> {
  return pool.query('select pg_terminate_backend($1, 5000)', [pid]);
}

const unavailable = expect.objectContaining({ code: 'unavailable' }) as unknown;

/** Begins and ends it as a caller should. */
async function inTransaction<T>(use: (client: PoolClient) => Promise<T>, begin = 'begin'): Promise<T> {
  const client = await pool.connect();
  try {
    await client.query(begin);
    const value = await use(client);
    await client.query('commit');
    return value;
  } catch (error) {
    await client.query('rollback');
    throw error;
  } finally {
    client.release();
  }
}

/** Two that each change both rows, in opposite order, once each has its first. */
async function deadlock(guards: readonly PostgresBarrier<PoolClient>[]) {
  const hasFirst = [Promise.withResolvers<undefined>(), Promise.withResolvers<undefined>()];
  let runs = 0;
  const ended = await Promise.allSettled(
    guards.map((one, n) =>
      one.run(call('action', `g${n}`), async (client) => {
        runs += 1;
        await change(client, 1 + n);
        hasFirst[n]?.resolve(undefined);
        await hasFirst[1 - n]?.promise;
        await change(client, 2 - n);
      }),
    ),
  );
  return { runs, ended: ended.map(({ status }) => status).toSorted(), reasons: ended };
}

function change(client: PoolClient, id: number): Promise<unknown> {
  return client.query('update stock set quantity = quantity - 1 where id = $1', [id]);
}

describe('in a transaction of the caller', () => {
  it('the effect and the answer commit with it, and a repeat gets the answer', async () => {
    for (let i = 0; i < 2; i++) {
      const asked = call();
      const answer = await inTransaction((client) => guard.in(client, asked, () => take(client)));
      const result = tellAnswer(asked, answer);
      expect(result).toEqual({ left: 9 });
      expect(isKept(asked, { kind: 'returned', result })).toBe(true);
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
    expect(() => tellAnswer(call(), answer)).toThrow('none left');
    expect([await quantity(), await rowCount()]).toEqual([10, 1]);
  });

  it('a rollback leaves neither', async () => {
    const fails = inTransaction(async (client) => {
      await guard.in(client, call(), () => take(client));
      throw new Error('later');
    });
    await expect(fails).rejects.toThrow('later');
    expect([await quantity(), await rowCount()]).toEqual([10, 0]);
  });

  it('a second call of the same operation is a repeat, and one within its own work a conflict', async () => {
    const inner: unknown[] = [];
    await inTransaction(async (client) => {
      const again = () => guard.in(client, call(), () => take(client));
      await guard.in(client, call(), async () => {
        inner.push(await again().catch((error: unknown) => error));
        return take(client);
      });
      expect(await again()).toEqual({ kind: 'done', result: { left: 9 } });
    });
    expect(inner).toEqual([expect.objectContaining({ code: 'barrier_conflict' })]);
    expect(await quantity()).toBe(9);
  });

  it('nothing is done when no transaction is open', async () => {
    const client = await pool.connect();
    await expect(guard.in(client, call(), () => take(client))).rejects.toEqual(unavailable);
    client.release();
    expect([await quantity(), await rowCount()]).toEqual([10, 0]);
  });

  it.each(['repeatable read', 'serializable'])(
    'at %s, what was committed after its snapshot is not done again, and its opposite not beside it',
    async (level) => {
      await guard.run(call('try', 'tried'), take);
      const late = inTransaction(async (client) => {
        await client.query('select from stock');
        await guard.run(call(), take);
        return guard.in(client, call(), () => take(client));
      }, `begin isolation level ${level}`);
      await expect(late).rejects.toEqual(unavailable);
      const confirm = inTransaction(async (client) => {
        await client.query('select from stock');
        await guard.run(call('cancel', 'tried'), take);
        return guard.in(client, call('confirm', 'tried'), () => take(client));
      }, `begin isolation level ${level}`);
      await expect(confirm).rejects.toEqual(unavailable);
      expect(await quantity()).toBe(7);
    },
  );

  it('takes part in one of settle/local', async () => {
    const transactions = createTransactions(pgDriver(pool));
    const run = (work: (client: Querying) => Promise<{ left: number }>) =>
      transactions.run((t) => {
        const query = async (sql: string, values: readonly unknown[]) => {
          const { rows, rowCount } = await t.client.query(sql, [...values]);
          return { rows, affected: rowCount ?? 0 };
        };
        const nested = async <T>(part: () => T | PromiseLike<T>): Promise<T> =>
          t.run(async () => part(), { propagation: 'nested' });
        return barrier(postgresTransaction(query, nested), call(), () => work(t.client));
      });
    const refuse = async (client: Querying): Promise<never> => {
      await take(client);
      throw new Refused('none left');
    };
    expect(await run(refuse)).toEqual({ kind: 'refused', reason: 'none left' });
    expect(await run(take)).toEqual({ kind: 'refused', reason: 'none left' });
    expect([await quantity(), await rowCount()]).toEqual([10, 1]);
  });
});

describe('a transaction that fails', () => {
  it('leaves nothing when its connection is killed, and the next call is served by another one', async () => {
    const killed = guard.run(call(), async (client) => {
      await take(client);
      await kill(await idOf(client));
    });
    await expect(killed).rejects.toMatchObject({ code: 'unavailable', retryAfterMs: 1_000 });
    expect([await quantity(), await rowCount()]).toEqual([10, 0]);
    expect(await guard.run(call(), take)).toEqual({ left: 9 });
  });

  it('is answered from its row when only the answer to its COMMIT was lost', async () => {
    const losing = postgresBarrier(
      intercepted(pool, async (client, text, query) => {
        const result = await query();
        if (text !== 'commit') return result;
        await kill(await idOf(client));
        return client.query('select 1');
      }),
    );
    await expect(losing.run(call(), take)).rejects.toEqual(unavailable);
    expect(await quantity()).toBe(9);
    expect(await guard.run(call(), take)).toEqual({ left: 9 });
    expect(await quantity()).toBe(9);
  });

  it('is not taken for committed when the server answers COMMIT with ROLLBACK', async () => {
    const aborted = postgresBarrier(
      intercepted(pool, async (client, text, query) => {
        if (text === 'commit') await client.query('select 1 / 0').catch(() => {});
        return query();
      }),
    );
    await expect(aborted.run(call(), take)).rejects.toThrow('answered COMMIT with ROLLBACK');
    expect([await quantity(), await rowCount()]).toEqual([10, 0]);
  });

  it('says both when rolling back fails too, and never uses that connection again', async () => {
    let pid = Number.NaN;
    const broken = postgresBarrier(
      intercepted(pool, async (client, text, query) => {
        if (text === 'rollback') {
          pid = await idOf(client);
          throw new Error('no rollback');
        }
        return query();
      }),
    );
    const error: unknown = await broken
      .run(call(), () => Promise.reject(new Error('out of stock')))
      .catch((reason: unknown) => reason);
    expect(error).toMatchObject({ code: 'unavailable', message: expect.stringContaining('out of stock') });
    expect(error).toMatchObject({
      cause: { errors: [{ message: 'out of stock' }, { message: 'no rollback' }] },
    });
    await expect
      .poll(async () => (await pool.query('select from pg_stat_activity where pid = $1', [pid])).rowCount)
      .toBe(0);
  });

  it('gives out what work threw as it was, also when the database threw it', async () => {
    const tooMuch = guard.run(call(), (client) =>
      client.query('update stock set quantity = -1').then(() => 1),
    );
    await expect(tooMuch).rejects.toMatchObject({ code: '23514' });
    const noTable = guard.run(call(), (client) => client.query('select from nowhere').then(() => 1));
    await expect(noTable).rejects.toMatchObject({ code: '42P01' });
    expect(await rowCount()).toBe(0);
  });

  it('does not commit what is left when work passes over an error of the database', async () => {
    const careless = guard.run(call(), async (client) => {
      await take(client);
      await client.query('update stock set quantity = -1').catch(() => {});
    });
    await expect(careless).rejects.toMatchObject({
      code: 'unavailable',
      next: expect.stringContaining('savepoint of its own'),
    });
    expect([await quantity(), await rowCount()]).toEqual([10, 0]);
  });

  it('is not committed when work has taken the row of the barrier away', async () => {
    const taking = guard.run(call(), async (client) => {
      await client.query('delete from settle_barrier');
      return take(client);
    });
    await expect(taking).rejects.toEqual(unavailable);
    expect(await quantity()).toBe(10);
  });

  it('is unavailable when there is no server', async () => {
    const nowhere = new Pool({ host: '127.0.0.1', port: 1 });
    await expect(postgresBarrier(nowhere).run(call(), take)).rejects.toEqual(unavailable);
    await nowhere.end();
  });
});

describe('transactions that meet', () => {
  it('in a deadlock are tried again, unseen', async () => {
    const { runs, ended } = await deadlock([guard, guard]);
    expect(ended).toEqual(['fulfilled', 'fulfilled']);
    // Whoever is tried again may meet the other once more.
    expect(runs).toBeGreaterThan(2);
    expect(await quantity()).toBe(8);
  });

  it('are unavailable once they have been tried often enough', async () => {
    const once = postgresBarrier(pool, { attemptsMax: 1 });
    const { runs, ended, reasons } = await deadlock([once, once]);
    expect([runs, ended]).toEqual([2, ['fulfilled', 'rejected']]);
    expect(reasons).toContainEqual({ status: 'rejected', reason: unavailable });
    expect(await quantity()).toBe(9);
  });

  it('wait for each other no longer than lockTimeoutMs', async () => {
    const impatient = postgresBarrier(pool, { lockTimeoutMs: 20 });
    const [started, mayEnd] = [Promise.withResolvers<undefined>(), Promise.withResolvers<undefined>()];
    const first = guard.run(call(), async (client) => {
      started.resolve(undefined);
      await mayEnd.promise;
      return take(client);
    });
    await started.promise;
    await expect(impatient.run(call(), take)).rejects.toEqual(unavailable);
    mayEnd.resolve(undefined);
    expect(await first).toEqual({ left: 9 });
    expect(await impatient.run(call(), take)).toEqual({ left: 9 });
  });
});

it.each([
  { olderThanMs: -1 },
  { olderThanMs: Number.NaN },
  { olderThanMs: 1, limit: 0 },
  { olderThanMs: 1, limit: 1e6 },
])('does not prune by %o', async (options) => {
  await expect(guard.prune(options)).rejects.toMatchObject({ code: 'config_invalid' });
});

it('prunes around rows that are in use', async () => {
  for (const gid of ['a', 'b']) await guard.run(call('action', gid), () => 1);
  await pool.query('update settle_barrier set created_at = 0');
  const using = await pool.connect();
  await using.query(`begin; select from settle_barrier where gid = 'a' for update`);
  expect(await guard.prune({ olderThanMs: 1_000 })).toBe(1);
  await using.query('rollback');
  using.release();
  expect(await guard.prune({ olderThanMs: 1_000 })).toBe(1);
});

it.each([0, 1.5, Number.NaN])('takes neither lockTimeoutMs nor attemptsMax of %s', (number) => {
  expect(() => postgresBarrier(pool, { lockTimeoutMs: number })).toThrow('lockTimeoutMs');
  expect(() => postgresBarrier(pool, { attemptsMax: number })).toThrow('attemptsMax');
});

type Intercept = (
  client: PoolClient,
  text: string,
  query: () => ReturnType<PostgresPoolClient['query']>,
) => ReturnType<PostgresPoolClient['query']>;

/** The pool, with something between the barrier and its statements. */
function intercepted(over: Pool, intercept: Intercept): PostgresPool {
  return {
    async connect() {
      const client = await over.connect();
      return {
        query: (text, values) => intercept(client, text, () => client.query(text, values)),
        release: (close) => client.release(close),
        on: (event, listener) => client.on(event, listener),
        removeListener: (event, listener) => client.removeListener(event, listener),
      };
    },
  };
}
