// The three frameworks, each serving the same handlers on a real socket.
import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import express from 'express';
import fastify from 'fastify';
import { Hono } from 'hono';
import { onTestFinished } from 'vitest';
import { expressRollback, expressTransaction } from '../../../lib/src/local/glue/express.ts';
import { fastifyTransaction } from '../../../lib/src/local/glue/fastify.ts';
import { honoTransaction } from '../../../lib/src/local/glue/hono.ts';
import type { RequestOptions } from '../../../lib/src/local/glue/request-transaction.ts';
import type { Transactions } from '../../../lib/src/local/transactions.ts';

/** What a handler answers; one that throws does it otherwise. */
export interface Answer {
  readonly status: number;
  readonly body: string;
  readonly headers?: Readonly<Record<string, string>>;
}

export interface App {
  /** Of the request `POST /`, given the text of its body. */
  readonly handler: (body: string) => Promise<Answer>;
  /** Runs after the transaction has begun, and before the handler. */
  readonly middleware?: () => Promise<void>;
  readonly options?: RequestOptions;
  /** What the app makes of an error. Default: what the framework does. */
  readonly onError?: (error: Error) => Answer;
}

export interface Framework {
  readonly name: string;
  /** Gives back the address; the server ends with the test. */
  readonly serve: (tx: Transactions<unknown>, app: App) => Promise<string>;
}

export const frameworks: readonly Framework[] = [
  {
    name: 'Express',
    serve(tx, { handler, middleware, options, onError }) {
      const app = express();
      app.set('env', 'test');
      app.use(express.text({ type: '*/*' }));
      app.use(expressTransaction(tx, options));
      app.use(async (_request, _response, next) => {
        await middleware?.();
        next();
      });
      // eslint-disable-next-line oxc/no-async-endpoint-handlers -- Express 5 takes promises
      app.post('/', async (request, response) => {
        const { status, headers = {}, body } = await handler(String(request.body));
        response.status(status).set(headers).send(body);
      });
      if (onError !== undefined) {
        app.use(expressRollback);
        app.use((error: Error, _request: unknown, response: express.Response, _next: unknown) => {
          const { status, body } = onError(error);
          response.status(status).send(body);
        });
      }
      return listen(createServer(app));
    },
  },
  {
    name: 'Fastify',
    async serve(tx, { handler, middleware, options, onError }) {
      const app = fastify({ forceCloseConnections: true });
      app.addContentTypeParser('*', { parseAs: 'string' }, (_request, body, done) => done(null, body));
      await app.register(fastifyTransaction(tx, options));
      app.addHook('preHandler', async () => {
        await middleware?.();
      });
      app.post('/', async (request, reply) => {
        const { status, headers = {}, body } = await handler(String(request.body));
        return reply.code(status).headers(headers).send(body);
      });
      if (onError !== undefined) {
        app.setErrorHandler<Error>((error, _request, reply) => {
          const { status, body } = onError(error);
          return reply.code(status).send(body);
        });
      }
      onTestFinished(() => app.close());
      return await app.listen({ port: 0, host: '127.0.0.1' });
    },
  },
  {
    name: 'Hono',
    serve(tx, { handler, middleware, options, onError }) {
      const app = new Hono();
      app.use(honoTransaction(tx, options));
      app.use(async (_context, next) => {
        await middleware?.();
        await next();
      });
      app.post('/', async (context) => {
        const { status, headers = {}, body } = await handler(await context.req.text());
        return new Response(body, { status, headers });
      });
      app.onError((error) => {
        const { status, body } = onError?.(error) ?? { status: 500, body: error.message };
        return new Response(body, { status });
      });
      return listen(createServer((request, response) => void answerBy(app, request, response)));
    },
  },
];

/** The least that turns node:http into fetch-style, as adapters do. */
export async function answerBy(app: Hono, request: IncomingMessage, response: ServerResponse): Promise<void> {
  const gone = new AbortController();
  response.on('close', () => {
    if (!response.writableFinished) gone.abort();
  });
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  const { method = 'GET', url = '/' } = request;
  const answer = await app.fetch(
    new Request(`http://127.0.0.1${url}`, {
      method,
      body: method === 'GET' ? null : Buffer.concat(chunks),
      signal: gone.signal,
    }),
  );
  response.writeHead(answer.status, Object.fromEntries(answer.headers));
  for await (const chunk of answer.body ?? []) response.write(chunk);
  response.end();
}

/** Until the test ends. */
export async function listen(server: Server): Promise<string> {
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  onTestFinished(async () => {
    server.closeAllConnections();
    await once(server.close(), 'close');
  });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}
