/** The consumer behind real servers, and what the publisher sends it. */
import { once } from 'node:events';
import { createServer, type RequestListener, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import express from 'express';
import fastify from 'fastify';
import { Hono } from 'hono';
import { afterEach, beforeEach, describe, expect, it, test } from 'vitest';
import { Desk, handled } from '../../../../test/consumer/desk.ts';
import { nodeExchange } from '../../http/node-exchange.ts';
import { expressHandler } from '../../participant/glue/express.ts';
import { fastifyParticipant } from '../../participant/glue/fastify.ts';
import { fetchHandler } from '../../participant/glue/fetch.ts';
import { honoHandler } from '../../participant/glue/hono.ts';
import { nodeHandler } from '../../participant/glue/node.ts';
import type { OutgoingMessage } from '../../relay/publisher.ts';
import { httpPublisher } from '../../relay/publishers/http.ts';
import { parseSecret, sign } from '../../wire/signature.ts';
import type { HandleMessage } from '../incoming.ts';
import { webhookConsumer, type WebhookConsumer, type WebhookConsumerOptions } from './http.ts';

const secret = `whsec_${Buffer.alloc(32, 9).toString('base64')}`;
const nowMs = 1_763_000_000_000;

function consumer(options: Partial<WebhookConsumerOptions> = {}): WebhookConsumer {
  return webhookConsumer({
    secrets: [secret],
    handle: () => Promise.resolve(handled),
    now: () => nowMs,
    ...options,
  });
}

function signed(body: string, { id = 'm1', atMs = nowMs, ...more }: Record<string, unknown> = {}) {
  const timestamp = String(Math.floor(Number(atMs) / 1_000));
  return {
    method: 'POST',
    path: '/hooks',
    headers: {
      'webhook-id': String(id),
      'webhook-timestamp': timestamp,
      'webhook-signature': sign([parseSecret(secret)], { id: String(id), timestamp, body }),
      'content-type': 'application/json',
      'settle-type': 'order.placed',
      ...(more as Record<string, string>),
    },
    body,
  };
}

describe('a webhook', () => {
  it('answers 204 once the message is handled, or its dead letter kept', async () => {
    const desk = new Desk();
    const webhook = consumer({ handle: desk.handle });
    const [first, second] = [
      webhook(signed('{}', { 'settle-key': 'k' })),
      webhook(signed('{}', { id: 'm2' })),
    ];
    await desk.begun(2);
    desk.answer(0);
    desk.answer(1, { kind: 'dead', reason: 'refused' });
    expect([(await first).status, (await second).status]).toEqual([204, 204]);
    expect(desk.seen).toMatchObject([
      { id: 'm1', type: 'order.placed', key: 'k', payload: '{}', source: '/hooks', ref: 'm1' },
      { id: 'm2', key: undefined },
    ]);
  });

  it('answers 503 with Retry-After when it could not be handled, also by a handler that fails', async () => {
    const webhook = consumer({
      handle: ({ id }) =>
        id === 'm1'
          ? Promise.resolve({ kind: 'not-handled', reason: 'the database is down' })
          : Promise.reject(new Error('broken')),
      retryAfterMs: 2_500,
    });
    for (const id of ['m1', 'm2']) {
      const { status, headers, body } = await webhook(signed('{}', { id }));
      expect([status, headers['retry-after']]).toEqual([503, '3']);
      expect(body).not.toContain('database');
    }
  });

  it('handles messages of one key one after the other', async () => {
    const desk = new Desk();
    const webhook = consumer({ handle: desk.handle });
    const answers = ['a1', 'a2', 'b1'].map((id) =>
      webhook(signed('{}', { id, 'settle-key': id.slice(0, 1) })),
    );
    expect(await desk.begun(2)).toEqual(['a1', 'b1']);
    desk.answer(0);
    expect(await desk.begun(3)).toEqual(['a1', 'b1', 'a2']);
    desk.answer(1);
    desk.answer(2);
    expect((await Promise.all(answers)).map(({ status }) => status)).toEqual([204, 204, 204]);
  });

  it('turns away what is more than it has room for, and what comes when it stops', async () => {
    const desk = new Desk();
    const webhook = consumer({ handle: desk.handle, concurrency: 1, requestsMax: 2 });
    const [first, second, third] = ['m1', 'm2', 'm3'].map((id) => webhook(signed('{}', { id })));
    expect((await third)?.status).toBe(503);
    const stopped = webhook.stop();
    expect((await second)?.status).toBe(503);
    expect((await webhook(signed('{}', { id: 'm4' }))).status).toBe(503);
    desk.answer(0);
    expect((await first)?.status).toBe(204);
    await stopped;
    expect(desk.seen).toHaveLength(1);
  });

  const refused: [what: string, request: Parameters<WebhookConsumer>[0], status: number][] = [
    ['a replay after more than 5 minutes', signed('{}', { atMs: nowMs - 301_000 }), 401],
    ['another body', { ...signed('{}'), body: '{} ' }, 401],
    ['no signature', { ...signed('{}'), headers: { 'webhook-id': 'm1' } }, 401],
    ['bytes that are no UTF-8', { ...signed('{}'), body: Uint8Array.of(0xff) }, 400],
    ['another method', { ...signed('{}'), method: 'GET' }, 405],
    ['what is too large', signed(JSON.stringify('x'.repeat(100))), 413],
  ];
  it.each(refused)('refuses %s, and hands it to nobody', async (_what, request, status) => {
    const desk = new Desk();
    const answer = await consumer({ handle: desk.handle, bodyBytesMax: 100 })(request);
    expect(answer.status).toBe(status);
    expect(desk.seen).toEqual([]);
  });

  it('takes either secret while they change', async () => {
    const other = `whsec_${Buffer.alloc(32, 7).toString('base64')}`;
    expect((await consumer({ secrets: [other, secret] })(signed('{}'))).status).toBe(204);
  });

  it('refuses a message without an id where nothing is verified', async () => {
    const { status } = await consumer({ secrets: 'none' })({ ...signed('{}'), headers: {} });
    expect(status).toBe(400);
  });

  it('believes its owner about messages of others, and takes their ids as they are', async () => {
    const desk = new Desk();
    const body = '{"type":"invoice.paid","data":{}}';
    const webhook = consumer({
      handle: desk.handle,
      identify: ({ payload }) => ({ type: (JSON.parse(payload) as { type: string }).type }),
    });
    void webhook(signed(body, { id: 'evt_%41' }));
    await desk.begun(1);
    desk.answer(0);
    expect(desk.seen).toMatchObject([{ id: 'evt_%41', type: 'invoice.paid' }]);
  });

  it('keeps no credentials with the message', async () => {
    const desk = new Desk();
    const webhook = consumer({ handle: desk.handle });
    void webhook(signed('{}', { authorization: 'Bearer x', cookie: 'a=b', tenant: 'north' }));
    await desk.begun(1);
    desk.answer(0);
    expect(Object.keys(desk.seen[0]?.headers ?? {})).not.toEqual(
      expect.arrayContaining(['authorization', 'cookie', 'webhook-signature']),
    );
    expect(desk.seen[0]?.headers['tenant']).toBe('north');
  });

  it('refuses to be made without a secret that it could verify with', () => {
    expect(() => consumer({ secrets: [] })).toThrow('config_invalid');
    expect(() => consumer({ secrets: ['short'] })).toThrow('config_invalid');
  });
});

interface Running {
  readonly url: string;
  readonly close: () => Promise<unknown>;
}

async function listen(listener: RequestListener): Promise<Running> {
  const server: Server = createServer(listener).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  return { url: `http://127.0.0.1:${port}/hooks`, close: async () => once(server.close(), 'close') };
}

/** The least that turns node:http into fetch-style, as adapters do. */
function fetchListener(answer: (request: Request) => Response | Promise<Response>): RequestListener {
  return (request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      const { method = 'GET', url = '/' } = request;
      const headers = new Headers(request.headers as Record<string, string>);
      const asked = new Request(`http://127.0.0.1${url}`, { method, headers, body: Buffer.concat(chunks) });
      void Promise.resolve(answer(asked)).then(async (given) =>
        response
          .writeHead(given.status, Object.fromEntries(given.headers))
          .end(Buffer.from(await given.arrayBuffer())),
      );
    });
  };
}

const frameworks: Record<string, (webhook: WebhookConsumer) => Promise<Running>> = {
  'node:http': (webhook) => listen(nodeHandler(webhook)),
  Express: (webhook) => listen(express().post('/hooks', expressHandler(webhook)) as RequestListener),
  async Fastify(webhook) {
    const app = fastify();
    await app.register(fastifyParticipant({ '/hooks': webhook }));
    await app.listen({ port: 0, host: '127.0.0.1' });
    const { port } = app.server.address() as AddressInfo;
    return { url: `http://127.0.0.1:${port}/hooks`, close: () => app.close() };
  },
  fetch: (webhook) => listen(fetchListener(fetchHandler(webhook))),
  Hono: (webhook) =>
    listen(fetchListener((asked) => new Hono().post('/hooks', honoHandler(webhook)).fetch(asked))),
};

describe.each(Object.entries(frameworks))('what the publisher sends to a webhook on %s', (_name, start) => {
  const exchange = nodeExchange();
  let running: Running;
  let desk: Desk;

  beforeEach(async () => {
    desk = new Desk();
    const handle: HandleMessage = async (message, signal) => {
      const answer = desk.handle(message, signal);
      desk.answer(desk.seen.length - 1);
      return answer;
    };
    running = await start(webhookConsumer({ secrets: [secret], handle }));
  });

  afterEach(async () => {
    await exchange.close();
    await running.close();
  });

  test.each(['plain', 'cloudevents'] as const)('arrives as %s', async (format) => {
    const publisher = httpPublisher({
      exchange,
      format,
      endpoints: { partner: { url: running.url, secrets: [secret], headers: { authorization: 'Bearer x' } } },
    });
    const message: OutgoingMessage = {
      id: 'Zoë 50 %.v1',
      type: 'order.placed £',
      version: 3,
      address: 'partner',
      key: '注文',
      payload: '{"sku":"🦊"}',
      contentType: 'application/json',
      headers: { tenant: 'north' },
      createdAtMs: nowMs,
      attempt: 1,
    };
    expect(await publisher.publish([message], AbortSignal.timeout(10_000))).toEqual([{ kind: 'published' }]);
    const { id, type, version, key, payload, contentType, headers } = message;
    expect(desk.seen).toMatchObject([
      { id, type, version, key, payload, contentType, headers, source: '/hooks' },
    ]);
  });
});
