// What is Hono's own: errors are kept in the context, and answers inherit each other's headers.
import { Hono } from 'hono';
import { streamText } from 'hono/streaming';
import { expect, it } from 'vitest';
import { honoTransaction } from '../../../lib/src/local/glue/hono.ts';
import { pgSubject } from '../pg-subject.ts';
import { outcomeOf, worldOf } from '../world.ts';

const { transactions, insert, expectStored } = worldOf(pgSubject());

type Tx = Awaited<ReturnType<typeof transactions>>;

async function serve(routes: (app: Hono, tx: Tx) => void): Promise<Hono> {
  const tx = await transactions();
  const app = new Hono();
  // What the test does not expect is no output of it.
  app.onError((error, context) => context.text(error.message, 500));
  app.use(honoTransaction(tx));
  routes(app, tx);
  return app;
}

it('rolls back what was thrown in a part of the app that has an error handler of its own', async () => {
  const app = await serve((app, tx) => {
    const part = new Hono();
    part.onError((error, context) => context.redirect(`/form?${error.message}`));
    part.get('/', async () => {
      await insert(tx.db, 'row');
      throw new Error('no');
    });
    app.route('/part', part);
  });
  expect((await app.request('/part')).status).toBe(302);
  await expectStored();
});

it('keeps the headers of middlewares before, and none of a handler whose COMMIT failed', async () => {
  const tx = await transactions();
  const app = new Hono();
  app.onError((error, context) => context.text(error.message, 500));
  app.use(async (context, next) => {
    context.header('x-before', 'kept');
    await next();
    context.header('x-after', 'kept');
  });
  app.use(honoTransaction(tx));
  app.get('/', (context) => {
    tx.required().onBeforeCommit(() => Promise.reject(new Error('veto')));
    return context.text('saved', 201, { location: '/row', 'content-length': '5', 'set-cookie': 'a=b' });
  });
  const response = await app.request('/');
  expect([response.status, await response.text()]).toEqual([500, 'veto']);
  expect(
    ['x-before', 'x-after', 'location', 'content-length', 'set-cookie'].map((name) =>
      response.headers.get(name),
    ),
  ).toEqual(['kept', 'kept', null, null, null]);
});

it('reads a stream after the COMMIT; its callback is refused the transaction by then', async () => {
  const refused = Promise.withResolvers<string>();
  const app = await serve((app, tx) =>
    app.get('/', async (context) => {
      await insert(tx.db, 'row');
      const committed = new Promise((resolve) => tx.required().onAfterCommit(() => resolve('committed')));
      return streamText(context, async (stream) => {
        await stream.write(String(await committed));
        refused.resolve(await outcomeOf(insert(tx.db, 'late')));
      });
    }),
  );
  const response = await app.request('/');
  await expectStored('row');
  expect(await response.text()).toBe('committed');
  expect(await refused.promise).toBe('scope_ended');
});

it('answers 404 for what is not there', async () => {
  const app = await serve(() => {});
  expect((await app.request('/elsewhere')).status).toBe(404);
});

it('runs what middlewares do after it outside of the transaction', async () => {
  const tx = await transactions();
  const app = new Hono();
  const seen: unknown[] = [];
  app.use(async (_context, next) => {
    await next();
    seen.push(tx.current());
  });
  app.use(honoTransaction(tx));
  app.get('/', async (context) => {
    await insert(tx.db, 'row');
    return context.text('saved');
  });
  await app.request('/');
  expect(seen).toEqual([undefined]);
});

it('in another one takes part in its transaction, and both roll back with an error status', async () => {
  const app = await serve((app, tx) =>
    app.get('/:status', honoTransaction(tx), async (context) => {
      const { status } = context.req.param();
      await insert(tx.db, status);
      return new Response(status, { status: Number(status) });
    }),
  );
  expect([(await app.request('/422')).status, (await app.request('/200')).status]).toEqual([422, 200]);
  await expectStored('200');
});
