// One request, one transaction: the same facts for every framework, on real sockets and PostgreSQL.
import { request, type ClientRequest } from 'node:http';
import { describe, expect, it } from 'vitest';
import type { TransactionsOptions } from '../../../lib/src/local/transactions.ts';
import type { CompletionStatus } from '../../../lib/src/local/hooks.ts';
import { pgSubject } from '../pg-subject.ts';
import { barrierOf, outcomeOf, worldOf } from '../world.ts';
import { frameworks, type App } from './servers.ts';

const subject = pgSubject();
const { transactions, insert, expectStored } = worldOf(subject);

const saved = { status: 201, body: 'saved' };

async function post(url: string, body = 'row'): Promise<{ readonly status: number; readonly body: string }> {
  const response = await fetch(url, { method: 'POST', body });
  return { status: response.status, body: await response.text() };
}

/** A request that can be broken off. */
function posted(url: string, body: string): ClientRequest {
  const client = request(url, { method: 'POST', headers: { 'content-type': 'text/plain' } });
  client.on('error', () => {});
  return client.end(body);
}

describe.each(frameworks)('a transaction for each request, on $name', ({ name, serve }) => {
  type Tx = Awaited<ReturnType<typeof transactions>>;

  async function world(
    app: (tx: Tx) => App,
    options?: TransactionsOptions,
  ): Promise<{ readonly tx: Tx; readonly url: string }> {
    const tx = await transactions(5, options);
    return { tx, url: await serve(tx, app(tx)) };
  }

  it('commits when the handler answers below 400', async () => {
    const { url } = await world((tx) => ({
      async handler(body) {
        await insert(tx.db, body);
        return saved;
      },
    }));
    expect(await post(url)).toEqual(saved);
    await expectStored('row');
  });

  it('rolls back when the handler throws', async () => {
    const { url } = await world((tx) => ({
      async handler(body) {
        await insert(tx.db, body);
        throw new Error('no');
      },
    }));
    expect((await post(url)).status).toBe(500);
    await expectStored();
  });

  it('rolls back when the handler answers 422, and answers what it said', async () => {
    const { url } = await world((tx) => ({
      async handler(body) {
        await insert(tx.db, body);
        return { status: 422, body: 'not like that' };
      },
    }));
    expect(await post(url)).toEqual({ status: 422, body: 'not like that' });
    await expectStored();
  });

  it('commits on the statuses that it is told to', async () => {
    const { url } = await world((tx) => ({
      async handler(body) {
        await insert(tx.db, body);
        return { status: Number(body), body: 'said' };
      },
      options: { commitOn: (status) => status === 422 },
    }));
    expect((await post(url, '422')).status).toBe(422);
    expect((await post(url, '201')).status).toBe(201);
    await expectStored('422');
  });

  it('rolls back what was thrown, also where an error handler answers with a status that commits', async () => {
    const { url } = await world((tx) => ({
      async handler(body) {
        await insert(tx.db, body);
        throw new Error('back to the form');
      },
      onError: (error) => ({ status: 203, body: error.message }),
    }));
    expect(await post(url)).toEqual({ status: 203, body: 'back to the form' });
    await expectStored();
  });

  it('answers 500 when the COMMIT fails, with nothing of the answer that was meant', async () => {
    const { url } = await world((tx) => ({
      async handler(body) {
        await tx.db.query('create table twice (value text unique deferrable initially deferred)');
        await insert(tx.db, body);
        await tx.db.query(`insert into twice values ('a'), ('a')`);
        return { ...saved, headers: { location: '/row', 'set-cookie': 'a=b', 'content-length': '5' } };
      },
    }));
    const response = await fetch(url, { method: 'POST', body: 'row' });
    expect(response.status).toBe(500);
    expect([response.headers.get('location'), response.headers.getSetCookie()]).toEqual([null, []]);
    expect(await response.text()).not.toContain('saved');
    await expectStored();
  });

  it('answers 500 when a failed statement was caught, and the handler answered as if nothing had been', async () => {
    const { url } = await world((tx) => ({
      async handler(body) {
        await insert(tx.db, body);
        await insert(tx.db, body).catch(() => 'caught');
        return saved;
      },
    }));
    expect((await post(url)).status).toBe(500);
    await expectStored();
  });

  it('lets nothing of the answer leave before the COMMIT', async () => {
    const [reached, gate] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
    const { url } = await world((tx) => ({
      async handler(body) {
        if (body === 'ping') return { status: 200, body };
        await insert(tx.db, body);
        tx.required().onBeforeCommit(async () => {
          reached.resolve();
          await gate.promise;
        });
        return saved;
      },
    }));
    const seen: string[] = [];
    const answered = fetch(url, { method: 'POST', body: 'row' }).then(({ status }) =>
      seen.push(String(status)),
    );
    await reached.promise;
    // A whole exchange with the same server takes place meanwhile.
    seen.push((await post(url, 'ping')).body);
    gate.resolve();
    await answered;
    expect(seen).toEqual(['ping', '201']);
    await expectStored('row');
  });

  it('rolls back when the client goes away, and ends its statement', async () => {
    const [waits, ended] = [Promise.withResolvers<void>(), Promise.withResolvers<CompletionStatus>()];
    const failed = Promise.withResolvers<unknown>();
    const { url } = await world((tx) => ({
      async handler(body) {
        await insert(tx.db, body);
        tx.required().onCompletion(ended.resolve);
        waits.resolve();
        await tx.db.query('select pg_sleep(30)').catch((error: unknown) => {
          failed.resolve(error);
          throw error;
        });
        return saved;
      },
    }));
    const client = posted(url, 'row');
    await waits.promise;
    client.destroy();
    expect(await ended.promise).toBe('rolled-back');
    expect(await failed.promise).toBeInstanceOf(Error);
    await expectStored();
  });

  it('commits nothing that a client which has gone was to be told of', async () => {
    const [waits, done] = [Promise.withResolvers<void>(), Promise.withResolvers<CompletionStatus>()];
    const errors: Error[] = [];
    const { url } = await world((tx) => ({
      async handler(body) {
        await insert(tx.db, body);
        tx.required().onCompletion(done.resolve);
        waits.resolve();
        if (body === 'gone') await tx.db.query('select pg_sleep(30)').catch(() => 'does not matter');
        return saved;
      },
      onError(error) {
        errors.push(error);
        return saved;
      },
    }));
    const client = posted(url, 'gone');
    await waits.promise;
    client.destroy();
    expect(await done.promise).toBe('rolled-back');
    expect(await post(url, 'row')).toEqual(saved);
    await expectStored('row');
    // Hono gets it, and gives it to a response that nobody hears.
    const cancelled = expect.objectContaining({ code: 'transaction_cancelled' });
    expect(errors).toEqual(name === 'Hono' ? [cancelled] : []);
  });

  it('rolls back, and answers 500, when it cannot be said whether a status commits', async () => {
    const { tx, url } = await world((tx) => ({
      async handler(body) {
        await insert(tx.db, body);
        return saved;
      },
      options: {
        commitOn() {
          throw new Error('a defect');
        },
      },
    }));
    expect((await post(url)).status).toBe(500);
    expect(tx.describe()).toBe('');
    await expectStored();
  });

  it('gives requests at the same time a transaction each', async () => {
    const meet = barrierOf(2);
    const backends = new Set<number>();
    const { url } = await world((tx) => ({
      async handler(body) {
        const { rows } = await tx.db.query<{ pid: number }>('select pg_backend_pid() as pid');
        backends.add(rows[0]?.pid ?? 0);
        await insert(tx.db, body);
        await meet();
        expect(await subject.values(tx.db)).toEqual([body]);
        await meetAgain();
        if (body === 'B') throw new Error('no');
        return saved;
      },
    }));
    const meetAgain = barrierOf(2);
    const answers = await Promise.all([post(url, 'A'), post(url, 'B')]);
    expect(answers.map(({ status }) => status)).toEqual([201, 500]);
    expect(backends.size).toBe(2);
    await expectStored('A');
  });

  it('gives requests one after the other on the same socket a transaction each', async () => {
    const { tx, url } = await world((tx) => ({
      async handler(body) {
        await insert(tx.db, body);
        return { status: body === 'B' ? 409 : 200, body: tx.required().role };
      },
    }));
    for (const body of ['A', 'B', 'C']) expect((await post(url, body)).body).toBe('owner');
    await expectStored('A', 'C');
    expect(tx.describe()).toBe('');
  });

  it('reaches middlewares that come later, and what they call', async () => {
    const { url } = await world((tx) => ({
      async middleware() {
        await insert(tx.strictDb, 'middleware');
      },
      async handler(body) {
        await tx.run(() => insert(tx.strictDb, body), { propagation: 'mandatory' });
        return { status: body === 'fails' ? 400 : 200, body: '' };
      },
    }));
    await post(url, 'fails');
    await expectStored();
    await post(url, 'row');
    await expectStored('middleware', 'row');
  });

  it('leaves what a handler did in a transaction of its own', async () => {
    const { url } = await world((tx) => ({
      async handler(body) {
        await insert(tx.db, body);
        await tx.run(() => insert(tx.db, 'audit'), { propagation: 'requiresNew' });
        return { status: 409, body: '' };
      },
    }));
    await post(url);
    await expectStored('audit');
  });

  it('names the request', async () => {
    const { url } = await world((tx) => ({
      handler: () => Promise.resolve({ status: 200, body: tx.required().label }),
    }));
    expect((await post(`${url}/?secret=1`)).body).toBe('POST /');
  });

  it('does not hold a connection for a request that needs none', async () => {
    const { url } = await world((tx) => ({
      handler: () => Promise.resolve({ status: 200, body: tx.describe() }),
    }));
    expect((await post(url)).body).toContain('has no connection');
  });

  it('never hands a request to the handler twice, whatever the defaults say', async () => {
    let times = 0;
    const { url } = await world(
      (tx) => ({
        async handler() {
          times++;
          await tx.db.query(`do $$ begin raise exception 'again' using errcode = '40001'; end $$`);
          return saved;
        },
      }),
      { defaults: { retry: { attemptsMax: 3 } } },
    );
    expect((await post(url)).status).toBe(500);
    expect(times).toBe(1);
  });

  it('ends a request that takes too long, with its statement', async () => {
    const { url } = await world((tx) => ({
      async handler(body) {
        await insert(tx.db, body);
        await tx.db.query('select pg_sleep(30)');
        return saved;
      },
      options: { timeoutMs: 50 },
    }));
    expect((await post(url)).status).toBe(500);
    await expectStored();
  });

  it('refuses what a handler goes on to do after the COMMIT', async () => {
    const late = Promise.withResolvers<string>();
    const { url } = await world((tx) => ({
      async handler(body) {
        await insert(tx.db, body);
        const t = tx.required();
        t.onAfterCommit(() => late.resolve(outcomeOf(t.run(() => insert(tx.db, 'late')))));
        return saved;
      },
    }));
    expect(await post(url)).toEqual(saved);
    expect(await late.promise).toBe('scope_ended');
    await expectStored('row');
  });

  it('tells of an after-commit hook that failed: the row is stored, the answer says 500', async () => {
    const seen: unknown[] = [];
    const { url } = await world((tx) => ({
      async handler(body) {
        await insert(tx.db, body);
        tx.required().onAfterCommit(() => Promise.reject(new Error('mail')));
        return saved;
      },
      onError(error) {
        seen.push(error);
        return { status: 500, body: '' };
      },
    }));
    expect((await post(url)).status).toBe(500);
    expect(seen).toMatchObject([{ code: 'post_commit_failed', committed: true }]);
    await expectStored('row');
  });

  it('leaves it to the error handler what is said of a COMMIT that failed, outside of the transaction', async () => {
    const seen: unknown[] = [];
    const { url } = await world((tx) => ({
      handler() {
        tx.required().onBeforeCommit(() => Promise.reject(new Error('veto')));
        return Promise.resolve(saved);
      },
      onError(error) {
        seen.push(tx.current());
        return { status: 203, body: error.message };
      },
    }));
    expect(await post(url)).toEqual({ status: 203, body: 'veto' });
    expect(seen).toEqual([undefined]);
  });
});
