/** One contract over all glue, with the real frameworks on real sockets. */
import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import express from 'express';
import fastify from 'fastify';
import { Hono } from 'hono';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { httpCaller } from '../../caller/http-caller.ts';
import { parseBranchName, parseGid } from '../../core/ids.ts';
import { Ongoing, Refused } from '../../define/answers.ts';
import { allowAddresses } from '../../http/allow-addresses.ts';
import { nodeExchange } from '../../http/node-exchange.ts';
import type { Json } from '../../util/json.ts';
import { parseSecret } from '../../wire/signature.ts';
import { handler } from '../handler.ts';
import type { Handler } from '../message.ts';
import { expressHandler } from './express.ts';
import { fastifyParticipant } from './fastify.ts';
import { fetchHandler } from './fetch.ts';
import { honoHandler } from './hono.ts';
import { nodeHandler } from './node.ts';

const secret = `whsec_${Buffer.alloc(32, 9).toString('base64')}`;

const served = handler(
  ({ payload, attempt }) => {
    if (payload === 'refuse') throw new Refused('no');
    if (payload === 'wait') throw new Ongoing(2_000);
    if (payload === 'fail') throw new Error('broken');
    if (payload === undefined) return undefined;
    return { payload, attempt };
  },
  { secrets: [secret], onError: () => undefined, bodyBytesMax: 20_000 },
);

interface Running {
  readonly port: number;
  readonly close: () => Promise<unknown>;
}

async function listen(server: Server): Promise<Running> {
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  return { port, close: async () => once(server.close(), 'close') };
}

/** The least that turns node:http into fetch-style, as adapters do. */
function fetchServer(answer: (request: Request) => Response | Promise<Response>): Promise<Running> {
  const serve = async (request: Request): Promise<[number, Headers, Buffer]> => {
    const response = await answer(request);
    return [response.status, response.headers, Buffer.from(await response.arrayBuffer())];
  };
  const server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      const { method = 'GET', url = '/' } = request;
      const headers = new Headers(request.headers as Record<string, string>);
      const body = method === 'GET' ? null : Buffer.concat(chunks);
      void serve(new Request(`http://127.0.0.1${url}`, { method, headers, body })).then(
        ([status, headers, bytes]) => response.writeHead(status, Object.fromEntries(headers)).end(bytes),
      );
    });
  });
  return listen(server);
}

function expressServer(handler: Handler, ...before: express.RequestHandler[]): Promise<Running> {
  const app = express();
  for (const one of before) app.use(one);
  app.all('/branch', expressHandler(handler));
  return listen(createServer(app));
}

async function fastifyServer(handler: Handler): Promise<Running> {
  const app = fastify();
  await app.register(fastifyParticipant({ '/branch': handler }));
  app.post('/elsewhere', (request) => Promise.resolve(request.body));
  await app.listen({ port: 0, host: '127.0.0.1' });
  return { port: (app.server.address() as AddressInfo).port, close: () => app.close() };
}

const honoApp = (handler: Handler): Hono => new Hono().all('/branch', honoHandler(handler));

const frameworks: [name: string, start: (handler: Handler) => Promise<Running>][] = [
  ['node:http', (handler) => listen(createServer(nodeHandler(handler)))],
  ['fetch', (handler) => fetchServer(fetchHandler(handler))],
  ['Express', (handler) => expressServer(handler)],
  ['Express after express.json()', (handler) => expressServer(handler, express.json({ strict: false }))],
  ['Express after express.raw()', (handler) => expressServer(handler, express.raw({ type: '*/*' }))],
  ['Express after express.text()', (handler) => expressServer(handler, express.text({ type: '*/*' }))],
  ['Fastify', fastifyServer],
  ['Hono', (handler) => fetchServer((request) => honoApp(handler).fetch(request))],
];

describe.each(frameworks)('a participant on %s', (_name, start) => {
  const exchange = nodeExchange();
  const caller = httpCaller({
    exchange,
    whyNotAllowed: allowAddresses([{ kind: 'loopback' }]),
    now: Date.now,
    secretsOf: () => [parseSecret(secret)],
  });
  let running: Running;

  beforeAll(async () => {
    running = await start(served);
  });

  afterAll(async () => {
    await exchange.close();
    await running.close();
  });

  async function ask(payload: Json | undefined): Promise<unknown> {
    const address = `http://127.0.0.1:${running.port}/branch`;
    const [gid, branch] = [parseGid('g'), parseBranchName('b')];
    const call = { gid, branch, op: 'action', address, payload, attempt: 2, timeoutMs: 2_000 } as const;
    return (await caller.call(call, new AbortController().signal)).outcome;
  }

  it.each([
    { sku: 'täa', list: [1, null, -0.5], deep: { a: { b: '\u2028 "\\' } } },
    [],
    'text',
    0,
    false,
    null,
  ])('takes a signed payload to the byte: %j', async (payload) => {
    expect(await ask(payload)).toEqual({ kind: 'done', result: { payload, attempt: 2 } });
  });

  it('takes a call without payload, and answers without result', async () => {
    expect(await ask(undefined)).toEqual({ kind: 'done' });
  });

  it('answers refused, ongoing and failed as such', async () => {
    expect(await ask('refuse')).toEqual({ kind: 'refused', reason: 'no' });
    expect(await ask('wait')).toEqual({ kind: 'ongoing', retryAfterMs: 2_000 });
    expect(await ask('fail')).toEqual({ kind: 'unknown', reason: 'answered 500' });
  });

  it('refuses a payload that is too large', async () => {
    expect(await ask('x'.repeat(60_000))).toEqual({
      kind: 'unknown',
      reason: 'answered 413',
      misconfigured: true,
    });
  });

  it('refuses every other method', async () => {
    const response = await fetch(`http://127.0.0.1:${running.port}/branch`);
    expect(response.status).toBe(405);
    expect(response.headers.get('allow')).toBe('POST');
  });

  it('refuses a call that is not signed', async () => {
    const response = await fetch(`http://127.0.0.1:${running.port}/branch`, {
      method: 'POST',
      headers: {
        'content-type': 'application/json',
        'settle-gid': 'g',
        'settle-branch': 'b',
        'settle-op': 'action',
      },
      body: '1',
    });
    expect(response.status).toBe(401);
  });
});

it('leaves the bodies of the rest of a Fastify app to Fastify', async () => {
  const running = await fastifyServer(served);
  const response = await fetch(`http://127.0.0.1:${running.port}/elsewhere`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: '{"a":1}',
  });
  expect(await response.json()).toEqual({ a: 1 });
  await running.close();
});
