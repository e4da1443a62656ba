// What is Fastify's own: hooks, encapsulation, and the ways of answering.
import { Readable } from 'node:stream';
import fastify, { type FastifyInstance } from 'fastify';
import { expect, it, onTestFinished } from 'vitest';
import { fastifyTransaction } from '../../../lib/src/local/glue/fastify.ts';
import type { RequestOptions } from '../../../lib/src/local/glue/request-transaction.ts';
import { nodeSqliteSubject } from '../node-sqlite-subject.ts';
import { pgSubject } from '../pg-subject.ts';
import { worldOf } from '../world.ts';

const { transactions, insert, expectStored } = worldOf(pgSubject());
const inSqlite = worldOf(nodeSqliteSubject());

type Tx = Awaited<ReturnType<typeof transactions>>;

async function serve(
  routes: (app: FastifyInstance, tx: Tx) => void,
  options?: RequestOptions,
): Promise<{ readonly tx: Tx; readonly url: string }> {
  const tx = await transactions();
  const app = fastify({ forceCloseConnections: true });
  await app.register(fastifyTransaction(tx, options));
  routes(app, tx);
  onTestFinished(() => app.close());
  return { tx, url: await app.listen({ port: 0, host: '127.0.0.1' }) };
}

/** Inserts without being awaited by the handler. */
function insertAtTheEnd(tx: Tx, value: string): void {
  tx.required().onBeforeCommit(() => insert(tx.db, value));
}

it('commits what a handler did that answers at once, by a callback', async () => {
  const { url } = await serve((app, tx) =>
    app.get('/', (_request, reply) => {
      insertAtTheEnd(tx, 'row');
      reply.code(201).send('at once');
    }),
  );
  expect((await fetch(url)).status).toBe(201);
  await expectStored('row');
});

it('covers routes that stand before the plugin in the same app', async () => {
  const tx = await transactions();
  const app = fastify();
  app.get('/', async () => {
    await insert(tx.strictDb, 'row');
    return 'done';
  });
  void app.register(fastifyTransaction(tx));
  onTestFinished(() => app.close());
  expect((await app.inject('/')).statusCode).toBe(200);
  await expectStored('row');
});

it('ends with the plugin it is registered in', async () => {
  const tx = await transactions();
  const app = fastify();
  const role = (): string => tx.current()?.role ?? 'none';
  await app.register(async (inner) => {
    await inner.register(fastifyTransaction(tx));
    inner.get('/inner', () => Promise.resolve(role()));
  });
  app.get('/outer', () => Promise.resolve(role()));
  onTestFinished(() => app.close());
  expect([(await app.inject('/inner')).body, (await app.inject('/outer')).body]).toEqual(['owner', 'none']);
});

it('is there after a body was parsed and validated, and in the preHandler of the route', async () => {
  const { url } = await serve((app, tx) =>
    app.post(
      '/',
      {
        schema: { body: { type: 'object', required: ['value'], properties: { value: { type: 'string' } } } },
        preHandler: () => insert(tx.strictDb, 'before'),
      },
      async ({ body }) => {
        await insert(tx.strictDb, (body as { readonly value: string }).value);
        return 'done';
      },
    ),
  );
  const post = (body: string) =>
    fetch(url, { method: 'POST', headers: { 'content-type': 'application/json' }, body });
  expect((await post('{}')).status).toBe(400);
  await expectStored();
  expect((await post('{"value":"row"}')).status).toBe(200);
  await expectStored('before', 'row');
});

it('rolls back when a hook that comes later throws', async () => {
  const { url } = await serve((app, tx) => {
    app.addHook('preHandler', async () => {
      await insert(tx.db, 'row');
      throw new Error('not allowed');
    });
    app.get('/', () => 'never');
  });
  expect((await fetch(url)).status).toBe(500);
  await expectStored();
});

it('rolls back when the answer cannot be serialized', async () => {
  const { url } = await serve((app, tx) =>
    app.get('/', async () => {
      await insert(tx.db, 'row');
      return { no: 1n };
    }),
  );
  expect((await fetch(url)).status).toBe(500);
  await expectStored();
});

it('reads a stream after the COMMIT, outside of the transaction', async () => {
  const { url } = await serve((app, tx) =>
    app.get('/', async (_request, reply) => {
      await insert(tx.db, 'row');
      const seen = async function* (): AsyncGenerator<string> {
        yield await Promise.resolve(tx.current()?.role ?? 'none');
        await expectStored('row');
        yield ' stored';
      };
      return reply.type('text/plain').send(Readable.from(seen()));
    }),
  );
  expect(await (await fetch(url)).text()).toBe('none stored');
});

it('goes by the status of a Response that was sent', async () => {
  const { url } = await serve((app, tx) =>
    app.get('/:status', async ({ params }) => {
      const { status } = params as { readonly status: string };
      await insert(tx.db, status);
      return new Response(status, { status: Number(status) });
    }),
  );
  expect((await fetch(`${url}/422`)).status).toBe(422);
  expect((await fetch(`${url}/201`)).status).toBe(201);
  await expectStored('201');
});

it('runs hooks of onResponse outside of the transaction', async () => {
  const seen = Promise.withResolvers<unknown>();
  const { url } = await serve((app, tx) => {
    app.addHook('onResponse', async () => {
      seen.resolve(tx.current());
      await Promise.resolve();
    });
    app.get('/', async () => {
      await insert(tx.db, 'row');
      return 'done';
    });
  });
  await fetch(url);
  expect(await seen.promise).toBe(undefined);
});

it('rolls back where a reply was hijacked', async () => {
  const ended = Promise.withResolvers<string>();
  const { url } = await serve((app, tx) =>
    app.get('/', async (_request, reply) => {
      await insert(tx.db, 'row');
      tx.required().onCompletion(ended.resolve);
      reply.hijack();
      reply.raw.end('mine');
    }),
  );
  expect(await (await fetch(url)).text()).toBe('mine');
  expect(await ended.promise).toBe('rolled-back');
  await expectStored();
});

it('answers 404 for what is not there, with no transaction', async () => {
  const { url } = await serve((app) => app.get('/', () => 'here'));
  expect((await fetch(`${url}/elsewhere`)).status).toBe(404);
});

it('keeps the headers of hooks before, and none of a handler whose COMMIT failed', async () => {
  const tx = await transactions();
  const app = fastify();
  app.addHook('onRequest', (_request, reply, done) => {
    reply.header('x-before', 'kept').header('set-cookie', 'a=1');
    done();
  });
  await app.register(fastifyTransaction(tx));
  app.get('/', (_request, reply) => {
    tx.required().onBeforeCommit(() => Promise.reject(new Error('veto')));
    return reply
      .header('x-before', 'changed')
      .header('set-cookie', 'b=2')
      .header('location', '/row')
      .send('saved');
  });
  onTestFinished(() => app.close());
  const { statusCode, headers } = await app.inject('/');
  expect(statusCode).toBe(500);
  expect([headers['x-before'], headers['set-cookie'], headers.location]).toEqual(['kept', 'a=1', undefined]);
});

it('answers with the error when no transaction can begin, without calling the handler', async () => {
  const tx = await inSqlite.transactions();
  const app = fastify();
  const calls: string[] = [];
  await app.register(fastifyTransaction(tx, { acquireTimeoutMs: 5 }));
  app.get('/', () => Promise.resolve(String(calls.push('called'))));
  onTestFinished(() => app.close());
  const { statusCode, body } = await tx.run(() => tx.exit(async () => await app.inject('/')));
  expect([statusCode, calls]).toEqual([500, []]);
  expect(body).toContain('pool_exhausted');
});
