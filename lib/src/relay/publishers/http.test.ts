import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, afterEach, beforeEach, describe, expect, it } from 'vitest';
import { blockPrivateAddresses } from '../../http/address-guard.ts';
import { nodeExchange } from '../../http/node-exchange.ts';
import {
  cloudEventsAttributes as attributes,
  headerStyles,
  percentDecoded,
} from '../../outbox/broker-headers.ts';
import { parseSecret, verify } from '../../wire/signature.ts';
import { publisherContract, type ReceivedMessage } from '../publisher-contract.ts';
import type { OutgoingMessage, PublishResult } from '../publisher.ts';
import { httpPublisher, type HttpEndpoint, type HttpPublisherOptions } from './http.ts';

const secret = `whsec_${Buffer.alloc(32, 9).toString('base64')}`;
const exchange = nodeExchange();
afterAll(() => exchange.close());

interface Got {
  readonly headers: IncomingMessage['headers'];
  readonly body: string;
}

/** A receiver that keeps what it accepts, at one port also after it was killed. */
class Receiver {
  readonly got: Got[] = [];
  answer: (got: Got, response: ServerResponse) => void = (_got, response) => response.writeHead(204).end();
  #server: Server | undefined;
  #port = 0;

  get url(): string {
    return `http://127.0.0.1:${this.#port}/hooks`;
  }

  async start(): Promise<void> {
    const server = createServer((request, response) => {
      const chunks: Buffer[] = [];
      request.on('data', (chunk: Buffer) => chunks.push(chunk));
      request.on('end', () => {
        const got = { headers: request.headers, body: Buffer.concat(chunks).toString() };
        this.got.push(got);
        this.answer(got, response);
      });
    });
    this.#server = server.listen(this.#port, '127.0.0.1');
    await once(server, 'listening');
    this.#port = (server.address() as AddressInfo).port;
  }

  async kill(): Promise<void> {
    const closed = once(this.#server ?? process, 'close');
    this.#server?.close().closeAllConnections();
    await closed;
  }
}

publisherContract(
  { describe, it },
  'HTTP',
  async ({ format }) => {
    const receiver = new Receiver();
    await receiver.start();
    const endpoints = { partner: { url: receiver.url, secrets: [secret] } };
    return {
      publisher: httpPublisher({ exchange, endpoints, format }),
      address: 'partner',
      unknownAddress: 'nobody',
      received: () => Promise.resolve(receiver.got.map(receivedOf)),
      kill: () => receiver.kill(),
      restart: () => receiver.start(),
      dispose: () => receiver.kill().catch(() => undefined),
    };
  },
  {
    'calls a message that is too large poison, and publishes its neighbours':
      'each receiver has a limit of its own',
    'publishes on after a message that was too large': 'each receiver has a limit of its own',
  },
);

function receivedOf({ headers, body }: Got): ReceivedMessage {
  const prefix = headerStyles.http.cloudEventsPrefix;
  const text = (name: string): string | undefined => {
    const value = headers[name];
    return typeof value === 'string' ? percentDecoded(value) : undefined;
  };
  return {
    id: text('webhook-id'),
    type: text('settle-type') ?? text(prefix + attributes.type),
    version: text('settle-version') ?? text(prefix + attributes.version),
    key: text('settle-key') ?? text(prefix + attributes.key),
    contentType: text('content-type'),
    payload: body,
    headers: headers as Record<string, string>,
  };
}

describe('publishing by HTTP', () => {
  let receiver: Receiver;
  let made = 0;

  beforeEach(async () => {
    receiver = new Receiver();
    await receiver.start();
  });

  afterEach(() => receiver.kill());

  function publish(
    messages: readonly Partial<OutgoingMessage>[],
    { endpoint = {}, ...options }: Partial<HttpPublisherOptions> & { endpoint?: Partial<HttpEndpoint> } = {},
  ): Promise<readonly PublishResult[]> {
    const endpoints = { partner: { url: receiver.url, ...endpoint } };
    const publisher = httpPublisher({ exchange, endpoints, ...options });
    return publisher.publish(messages.map(message), AbortSignal.timeout(10_000));
  }

  function message(fields: Partial<OutgoingMessage>): OutgoingMessage {
    return {
      id: `m${made++}`,
      type: 'order.placed',
      version: 1,
      address: 'partner',
      key: undefined,
      payload: '{"a":1}',
      contentType: 'application/json',
      headers: {},
      createdAtMs: 1_763_000_000_000,
      attempt: 1,
      ...fields,
    };
  }

  const answers: [status: number, headers: Record<string, string>, result: PublishResult][] = [
    [200, {}, { kind: 'published' }],
    [202, {}, { kind: 'published' }],
    [204, {}, { kind: 'published' }],
    [301, { location: '/' }, { kind: 'retriable', reason: 'answered 301: redirects are not followed' }],
    [400, {}, { kind: 'retriable', reason: 'answered 400' }],
    [401, {}, { kind: 'unavailable', reason: 'answered 401: it does not take our signature or credentials' }],
    [403, {}, { kind: 'retriable', reason: 'answered 403' }],
    [404, {}, { kind: 'retriable', reason: 'answered 404' }],
    [408, {}, { kind: 'unknown', reason: 'answered 408' }],
    [409, {}, { kind: 'retriable', reason: 'answered 409' }],
    [410, {}, { kind: 'poison', reason: 'answered 410: it wants no more messages' }],
    [413, {}, { kind: 'retriable', reason: 'answered 413' }],
    [422, {}, { kind: 'retriable', reason: 'answered 422' }],
    [429, {}, { kind: 'unavailable', reason: 'answered 429' }],
    [429, { 'retry-after': '7' }, { kind: 'unavailable', reason: 'answered 429', retryAfterMs: 7_000 }],
    [500, {}, { kind: 'unknown', reason: 'answered 500' }],
    [502, {}, { kind: 'unknown', reason: 'answered 502' }],
    [
      503,
      { 'retry-after': '99999' },
      { kind: 'unavailable', reason: 'answered 503', retryAfterMs: 3_600_000 },
    ],
    [503, { 'retry-after': 'soon' }, { kind: 'unavailable', reason: 'answered 503' }],
  ];
  it.each(answers)('takes the answer %i %j as %j', async (status, headers, result) => {
    receiver.answer = (_got, response) => response.writeHead(status, headers).end();
    expect(await publish([{}])).toEqual([result]);
  });

  it('signs with every secret, over the id that it sends, which is equal on every attempt', async () => {
    const other = `whsec_${Buffer.alloc(32, 7).toString('base64')}`;
    const nowMs = 1_763_000_000_000;
    const options = { endpoint: { secrets: [secret, other] }, now: () => nowMs };
    await publish([{ id: 'a.b', attempt: 1 }], options);
    await publish([{ id: 'a.b', attempt: 2 }], options);
    const [first, second] = receiver.got;
    for (const one of [secret, other]) {
      const header = (name: string): string => String(first?.headers[`webhook-${name}`]);
      const received = {
        id: header('id'),
        timestamp: header('timestamp'),
        signature: header('signature'),
        body: first?.body ?? '',
      };
      expect(verify([parseSecret(one)], received, { nowMs })).toEqual({ kind: 'valid' });
    }
    expect(first?.headers['webhook-id']).toBe('a%2Eb');
    expect(second?.headers['webhook-id']).toBe('a%2Eb');
  });

  it('lets a sender set no header of the connection or the signature', async () => {
    const headers = { host: 'elsewhere', 'content-length': '1', 'webhook-id': 'mine', tenant: 'nör\ndlich' };
    expect(
      await publish([{ id: 'm', headers }], { endpoint: { headers: { authorization: 'Bearer x' } } }),
    ).toEqual([{ kind: 'published' }]);
    const [got] = receiver.got;
    expect(got?.body).toBe('{"a":1}');
    expect(got?.headers).toMatchObject({
      'webhook-id': 'm',
      authorization: 'Bearer x',
      tenant: 'n%C3%B6r%0Adlich',
    });
  });

  it('does not ask an address again in a batch that wants to be left alone, and asks the others', async () => {
    const other = new Receiver();
    await other.start();
    receiver.answer = (_got, response) => response.writeHead(503).end();
    const endpoints = { partner: { url: receiver.url }, other: { url: other.url } };
    const batch = [{}, {}, { address: 'other' }, {}];
    const results = await publish(batch, { endpoints, concurrency: 1 });
    expect(results.map(({ kind }) => kind)).toEqual([
      'unavailable',
      'unavailable',
      'published',
      'unavailable',
    ]);
    expect(receiver.got).toHaveLength(1);
    await other.kill();
  });

  it('has so many requests under way at a time, and no more', async () => {
    const open: ServerResponse[] = [];
    let most = 0;
    let quiet: NodeJS.Timeout | undefined;
    receiver.answer = (_got, response) => {
      open.push(response);
      most = Math.max(most, open.length);
      // Answered once nothing more comes by itself.
      clearTimeout(quiet);
      quiet = setTimeout(() => open.splice(0).forEach((one) => one.writeHead(204).end()), 20);
    };
    const messages = Array.from({ length: 32 }, () => ({}));
    const results = await publish(messages, { concurrency: 4 });
    expect(new Set(results.map(({ kind }) => kind))).toEqual(new Set(['published']));
    expect(most).toBe(4);
  });

  it('knows nothing of a message whose answer is late, cut or endless', async () => {
    receiver.answer = () => undefined;
    expect(await publish([{}], { timeoutMs: 50 })).toMatchObject([{ kind: 'unknown' }]);
    receiver.answer = (_got, response) => response.destroy();
    expect(await publish([{}])).toMatchObject([{ kind: 'unknown' }]);
    receiver.answer = (_got, response) => response.writeHead(200).end('x'.repeat(2_000));
    expect(await publish([{}], { responseBytesMax: 1_000 })).toMatchObject([{ kind: 'unknown' }]);
  });

  it('asks no private address where the exchange is guarded', async () => {
    const guarded = nodeExchange({ guard: blockPrivateAddresses() });
    expect(await publish([{}], { exchange: guarded })).toMatchObject([
      { kind: 'retriable', reason: expect.stringContaining('blocked-address') },
    ]);
    expect(receiver.got).toEqual([]);
    await guarded.close();
  });

  it('calls retriable what it is not told the place of, or cannot read', async () => {
    const results = await publish([{ address: 'a' }, { address: 'b' }, { address: 'c' }, { address: 'd' }], {
      endpoints: (address) => {
        if (address === 'a') return { url: 'ftp://example.com' };
        if (address === 'b') return { url: receiver.url, secrets: ['short'] };
        if (address === 'c') throw new Error('the table is locked');
        return undefined;
      },
    });
    expect(results.map(({ kind }) => kind)).toEqual(Array(4).fill('retriable'));
    expect(results[3]).toMatchObject({ reason: 'no endpoint is named "d"' });
  });

  it('refuses URLs, secrets and limits that are none', () => {
    const nowhere = { partner: { url: 'partner.example.com/hooks' } };
    expect(() => httpPublisher({ exchange, endpoints: nowhere })).toThrow(
      'the URL of "partner" does not start',
    );
    const endpoints = { partner: { url: receiver.url, secrets: ['short'] } };
    expect(() => httpPublisher({ exchange, endpoints })).toThrow('config_invalid');
    expect(() => httpPublisher({ exchange, endpoints: {}, concurrency: 0 })).toThrow('config_invalid');
  });
});
