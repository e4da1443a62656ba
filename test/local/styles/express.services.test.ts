// What is Express's own: the answer is kept back in the response, whoever writes it and however.
import { createServer, type RequestListener, type ServerResponse } from 'node:http';
import { connect } from 'node:net';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import express from 'express';
import { describe, expect, it } from 'vitest';
import { expressTransaction, type ExpressTransactionOptions } from '../../../lib/src/local/glue/express.ts';
import { pgSubject } from '../pg-subject.ts';
import { nodeSqliteSubject } from '../node-sqlite-subject.ts';
import { worldOf } from '../world.ts';
import { listen } from './servers.ts';

const { transactions, insert, expectStored } = worldOf(pgSubject());

type Tx = Awaited<ReturnType<typeof transactions>>;
type Handler = (request: express.Request, response: express.Response) => Promise<unknown>;

interface Served {
  readonly url: string;
  /** What reached the app's error handler. */
  readonly errors: unknown[];
}

/** One route behind the middleware. Each test says what lies around it. */
async function serve(
  handler: (tx: Tx) => Handler,
  options?: ExpressTransactionOptions,
  around: { readonly before?: express.RequestHandler; readonly after?: express.RequestHandler } = {},
): Promise<Served> {
  const tx = await transactions();
  const app = express();
  const errors: unknown[] = [];
  app.set('env', 'test');
  if (around.before !== undefined) app.use(around.before);
  app.use(expressTransaction(tx, options));
  if (around.after !== undefined) app.use(around.after);
  app.use(handler(tx));
  app.use((error: unknown, _request: unknown, _response: unknown, next: express.NextFunction) => {
    errors.push(error);
    next(error);
  });
  return { url: await listen(createServer(app)), errors };
}

describe('an answer of Express', () => {
  it('leaves as it was written, piece by piece, with the head that was written first', async () => {
    const { url } = await serve((tx) => async (_request, response) => {
      await insert(tx.db, 'row');
      response.setHeader('x-first', '1');
      response.writeHead(202, { 'x-second': '2' });
      expect(response.headersSent).toBe(true);
      response.write('a');
      await new Promise((resolve) => response.write('b', resolve));
      response.end('c');
      expect(response.headersSent).toBe(true);
    });
    const response = await fetch(url);
    expect([response.status, response.headers.get('x-first'), response.headers.get('x-second')]).toEqual([
      202,
      '1',
      '2',
    ]);
    expect(await response.text()).toBe('abc');
    await expectStored('row');
  });

  it('may be piped, up to the limit', async () => {
    const { url } = await serve((tx) => async (_request, response) => {
      await insert(tx.db, 'row');
      await pipeline(Readable.from(['a', 'b', 'c']), response);
    });
    expect(await (await fetch(url)).text()).toBe('abc');
    await expectStored('row');
  });

  it('over the limit ends the connection, and rolls back', async () => {
    const { url, errors } = await serve(
      (tx) => async (_request, response) => {
        await insert(tx.db, 'row');
        await pipeline(Readable.from(['12345', '67890', 'x']), response);
      },
      { heldBytesMax: 10 },
    );
    await expect(fetch(url)).rejects.toThrow('fetch failed');
    expect(errors[0]).toMatchObject({ code: 'limit_exceeded' });
    await expectStored();
  });

  it('may be there before the middleware returns', async () => {
    const { url } = await serve(() => (_request, response) => Promise.resolve(response.send('at once')));
    expect(await (await fetch(url)).text()).toBe('at once');
  });

  it('that is no body is refused while its handler runs, and rolls back', async () => {
    const { url } = await serve((tx) => async (_request, response) => {
      await insert(tx.db, 'row');
      response.end(Object(1));
    });
    expect((await fetch(url)).status).toBe(500);
    await expectStored();
  });

  it('may be of any size when it is sent at once', async () => {
    const { url } = await serve(() => async (_request, response) => response.send('x'.repeat(100)), {
      heldBytesMax: 10,
    });
    expect(await (await fetch(url)).text()).toHaveLength(100);
  });

  it('over the limit is none, whatever an error handler says instead', async () => {
    const tx = await transactions();
    const app = express();
    app.use(expressTransaction(tx, { heldBytesMax: 1 }));
    app.use(async (_request, response) => {
      await pipeline(Readable.from(['1', '2']), response);
    });
    app.use((_error: unknown, _request: unknown, response: express.Response, _next: unknown) => {
      response.status(200).send('fine');
    });
    await expect(fetch(await listen(createServer(app)))).rejects.toThrow('fetch failed');
  });

  it('is 500 when the COMMIT failed and an error handler says no status', async () => {
    const tx = await transactions();
    const app = express();
    app.use(expressTransaction(tx));
    app.use((_request, response) => {
      tx.required().onBeforeCommit(() => Promise.reject(new Error('veto')));
      response.status(201).end('saved');
    });
    app.use((error: Error, _request: unknown, response: express.Response, _next: unknown) => {
      response.send(error.message);
    });
    const response = await fetch(await listen(createServer(app)));
    expect([response.status, await response.text()]).toEqual([500, 'veto']);
  });

  it('cannot be flushed before the COMMIT', async () => {
    const { url, errors } = await serve((tx) => async (_request, response) => {
      await insert(tx.db, 'row');
      response.type('text/event-stream').flushHeaders();
    });
    expect((await fetch(url)).status).toBe(500);
    expect(errors).toMatchObject([{ code: 'config_invalid' }]);
    await expectStored();
  });

  it('that was begun when its handler throws never looks whole, and rolls back', async () => {
    const { url } = await serve((tx) => async (_request, response) => {
      await insert(tx.db, 'row');
      response.write('half');
      throw new Error('no');
    });
    await expect(fetch(url)).rejects.toThrow('fetch failed');
    await expectStored();
  });

  it('keeps the headers of middlewares before, and none of a handler whose COMMIT failed', async () => {
    const { url } = await serve(
      (tx) => async (_request, response) => {
        tx.required().onBeforeCommit(() => Promise.reject(new Error('veto')));
        await Promise.resolve();
        response
          .cookie('session', 'new')
          .location('/row')
          .set('x-before', 'changed')
          .status(201)
          .json({ id: 1 });
      },
      {},
      {
        before(_request, response, next) {
          response.setHeader('x-before', 'kept');
          next();
        },
      },
    );
    const response = await fetch(url);
    expect(response.status).toBe(500);
    expect(['set-cookie', 'location', 'x-before'].map((name) => response.headers.get(name))).toEqual([
      null,
      null,
      'kept',
    ]);
  });

  it('passes through what other middlewares put before its methods, on either side', async () => {
    const { url } = await serve(
      (tx) => async (_request, response) => {
        await insert(tx.db, 'row');
        response.end('hey');
      },
      {},
      { before: shout, after: shout },
    );
    const response = await fetch(url);
    expect([response.headers.get('x-shouted'), await response.text()]).toEqual(['2', 'hey!!']);
    await expectStored('row');
  });

  it('is the first one when a handler ends it twice', async () => {
    const { url } = await serve((tx) => async (_request, response) => {
      await insert(tx.db, 'row');
      response.status(201).end('first');
      response.statusCode = 500;
      response.end('second');
      expect(response.write('third')).toBe(false);
      expect(() => response.writeHead(500)).toThrow(
        expect.objectContaining({ code: 'ERR_HTTP_HEADERS_SENT' }),
      );
    });
    const response = await fetch(url);
    expect([response.status, await response.text()]).toEqual([201, 'first']);
    await expectStored('row');
  });

  it('runs listeners of its end outside of the transaction', async () => {
    const seen = Promise.withResolvers<unknown>();
    const { url } = await serve((tx) => async (_request, response) => {
      await insert(tx.db, 'row');
      response.on('finish', () => seen.resolve(tx.current()));
      response.end();
    });
    await fetch(url);
    expect(await seen.promise).toBe(undefined);
  });

  it('to HEAD has a head alone, after the COMMIT', async () => {
    const { url } = await serve((tx) => async (_request, response) => {
      await insert(tx.db, 'row');
      response.send('body');
    });
    const response = await fetch(url, { method: 'HEAD' });
    expect([response.status, response.headers.get('content-length')]).toEqual([200, '4']);
    await expectStored('row');
  });

  it('of 404, because no route is there, rolls back', async () => {
    const tx = await transactions();
    const app = express();
    app.set('env', 'test');
    app.use(expressTransaction(tx));
    app.use(async (_request, _response, next) => {
      await insert(tx.db, 'row');
      next();
    });
    const response = await fetch(await listen(createServer(app)));
    expect(response.status).toBe(404);
    await expectStored();
  });
});

describe('a middleware of Express', () => {
  it('in another one takes part in its transaction, and both roll back with an error status', async () => {
    const tx = await transactions();
    const app = express();
    app.use(expressTransaction(tx), expressTransaction(tx));
    // eslint-disable-next-line oxc/no-async-endpoint-handlers -- Express 5 takes promises
    app.post('/:status', async (request, response) => {
      await insert(tx.db, request.params.status);
      response.sendStatus(Number(request.params.status));
    });
    const url = await listen(createServer(app));
    const statuses = [];
    for (const status of [200, 422])
      statuses.push((await fetch(`${url}/${status}`, { method: 'POST' })).status);
    expect(statuses).toEqual([200, 422]);
    await expectStored('200');
  });

  it('serves plain node:http as well', async () => {
    const tx = await transactions();
    const middleware = expressTransaction(tx);
    const work = async (response: ServerResponse): Promise<void> => {
      await insert(tx.db, 'row');
      response.end('done');
    };
    const listener: RequestListener = (request, response) =>
      middleware(request, response, () => void work(response));
    expect(await (await fetch(await listen(createServer(listener)))).text()).toBe('done');
    await expectStored('row');
  });

  it('before express.json() is still there after it', async () => {
    const { url } = await serve(
      (tx) => async (request, response) => {
        await insert(tx.strictDb, (request.body as { readonly value: string }).value);
        response.end();
      },
      {},
      { after: express.json() },
    );
    const headers = { 'content-type': 'application/json' };
    const response = await fetch(url, { method: 'POST', headers, body: '{"value":"row"}' });
    expect(response.status).toBe(200);
    await expectStored('row');
  });

  it('is lost in a middleware that goes on from an event: strictDb refuses, and nothing is stored alone', async () => {
    const parked = Promise.withResolvers<() => void>();
    const { url } = await serve(
      (tx) => async (_request, response) => {
        await insert(tx.strictDb, 'row');
        response.end();
      },
      {},
      { after: (_request, _response, next) => parked.resolve(() => next()) },
    );
    const response = fetch(url);
    (await parked.promise)();
    expect((await response).status).toBe(500);
    await expectStored();
  });

  it('answers with the error when no transaction can begin, without calling the handler', async () => {
    const calls: string[] = [];
    const sqlite = await inSqlite.transactions();
    const app = express();
    app.set('env', 'test');
    app.use(expressTransaction(sqlite, { acquireTimeoutMs: 5 }));
    app.use((_request, response) => void response.end(String(calls.push('called'))));
    const url = await listen(createServer(app));
    const status = await sqlite.run(() => sqlite.exit(async () => (await fetch(url)).status));
    expect([status, calls]).toEqual([500, []]);
    expect((await fetch(url)).status).toBe(200);
  });

  it('begins nothing for a client that has gone already', async () => {
    const [waits, gone] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
    const called = Promise.withResolvers<string>();
    const tx = await transactions();
    const app = express();
    app.set('env', 'test');
    app.use((_request, response, next) => {
      response.on('close', () => {
        next();
        gone.resolve();
      });
      waits.resolve();
    });
    app.use(expressTransaction(tx));
    app.use((_request, _response, next) => {
      called.resolve('the handler');
      next();
    });
    app.use((error: { readonly code: string }, _request: unknown, _response: unknown, _next: unknown) => {
      called.resolve(error.code);
    });
    const socket = connect(Number(new URL(await listen(createServer(app))).port), '127.0.0.1');
    socket.write('GET / HTTP/1.1\r\nhost: a\r\n\r\n');
    await waits.promise;
    socket.destroy();
    await gone.promise;
    expect(await called.promise).toBe('transaction_cancelled');
  });

  it('rolls back when a client goes away that has sent half of the next request', async () => {
    const waits = Promise.withResolvers<void>();
    const ended = Promise.withResolvers<string>();
    const { url } = await serve((tx) => async () => {
      await insert(tx.db, 'row');
      tx.required().onCompletion(ended.resolve);
      waits.resolve();
      await new Promise(() => {});
    });
    const socket = connect(Number(new URL(url).port), '127.0.0.1');
    socket.write('POST / HTTP/1.1\r\nhost: a\r\n\r\nPOST / HTTP/1.1\r\n');
    await waits.promise;
    socket.destroy();
    expect(await ended.promise).toBe('rolled-back');
    await expectStored();
  });
});

const inSqlite = worldOf(nodeSqliteSubject());

/** As middlewares do that compress, or measure. */
const shout: express.RequestHandler = (_request, response, next) => {
  const end = response.end.bind(response);
  response.end = (chunk: unknown) => {
    response.setHeader('x-shouted', String(Number(response.getHeader('x-shouted') ?? 0) + 1));
    return end(`${String(chunk)}!`);
  };
  next();
};
