import { request, type IncomingMessage } from 'node:http';
import { connect as connectSocket, type Socket } from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';
import type { ApiRequest, ApiResponse } from 'settle/api';
import type { SettleError } from 'settle/core';
import { ListenError } from './exit-codes.ts';
import { listen, type HttpLimits, type HttpServer } from './http.ts';

const limits: HttpLimits = {
  bodyMax: 1_000,
  connectionsMax: 100,
  headersTimeoutMs: 300,
  requestTimeoutMs: 400,
  keepAliveMs: 5_000,
};

const open: HttpServer[] = [];
const sockets: Socket[] = [];

afterEach(async () => {
  for (const socket of sockets.splice(0)) socket.destroy();
  for (const server of open.splice(0)) await server.close(0);
});

interface Served {
  readonly server: HttpServer;
  readonly seen: ApiRequest[];
  readonly failures: unknown[];
}

async function serve(
  answer: (request: ApiRequest) => Promise<ApiResponse> = echo,
  more: Partial<HttpLimits> = {},
): Promise<Served> {
  const seen: ApiRequest[] = [];
  const failures: unknown[] = [];
  const server = await listen({
    host: '127.0.0.1',
    port: 0,
    limits: { ...limits, ...more },
    answer: (request) => {
      seen.push(request);
      return answer(request);
    },
    refuse: (error: SettleError) => ({
      status: error.code === 'body_too_large' ? 413 : 500,
      headers: {},
      body: error.code,
    }),
    onFailure: (error) => failures.push(error),
  });
  open.push(server);
  return { server, seen, failures };
}

async function echo({ method, path, query, body }: ApiRequest): Promise<ApiResponse> {
  return {
    status: 200,
    headers: { 'x-method': method },
    body: `${path}?${query}#${Buffer.from(body).toString()}`,
  };
}

interface Reply {
  readonly status: number;
  readonly headers: IncomingMessage['headers'];
  readonly body: string;
}

function ask(
  server: HttpServer,
  path: string,
  body?: string | Buffer,
  headers: Record<string, string> = {},
): Promise<Reply> {
  return new Promise((resolve, reject) => {
    const asked = request(`${server.url}${path}`, {
      method: body === undefined ? 'GET' : 'POST',
      headers,
      agent: false,
    });
    asked.on('response', (response) => {
      let text = '';
      response.setEncoding('utf8').on('data', (chunk: string) => (text += chunk));
      response.on('end', () =>
        resolve({ status: response.statusCode ?? 0, headers: response.headers, body: text }),
      );
      response.on('error', reject);
    });
    asked.on('error', reject);
    asked.end(body);
  });
}

/** Sends bytes as they are and gives back everything until the server closes. */
function raw(server: HttpServer, ...parts: readonly string[]): Promise<string> {
  return new Promise((resolve) => {
    const socket = connectSocket(server.port, '127.0.0.1');
    sockets.push(socket);
    let text = '';
    socket.setEncoding('utf8').on('data', (chunk: string) => (text += chunk));
    socket.on('error', () => {});
    socket.on('close', () => resolve(text));
    for (const part of parts) socket.write(part);
  });
}

describe('a request', () => {
  it('reaches the API as plain data, whole however it came in pieces', async () => {
    const { server, seen } = await serve();
    const reply = await ask(server, '/v1/x?a=1&b=%20', 'grüße');
    expect(reply).toMatchObject({
      status: 200,
      body: '/v1/x?a=1&b=%20#grüße',
      headers: { 'x-method': 'POST' },
    });
    expect(seen[0]?.headers['host']).toBe(`127.0.0.1:${server.port}`);
    const chunked = `POST /y HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n`;
    expect(await raw(server, chunked, '3\r\nabc\r\n', '2\r\nde\r\n', '0\r\n\r\n')).toContain('/y?#abcde');
  });

  it('has a signal that aborts when its caller leaves, and not when it was answered', async () => {
    let signal: AbortSignal | undefined;
    const answered = await serve(async (request) => {
      signal = request.signal;
      return echo(request);
    });
    await ask(answered.server, '/');
    await answered.server.close(0);
    expect(signal?.aborted).toBe(false);

    const left = Promise.withResolvers<void>();
    const asked = Promise.withResolvers<Socket>();
    const { server } = await serve(({ signal }) => {
      signal?.addEventListener('abort', () => left.resolve());
      void asked.promise.then((socket) => socket.destroy());
      return new Promise(() => {});
    });
    const socket = connectSocket(server.port, '127.0.0.1');
    sockets.push(socket);
    socket.write('GET / HTTP/1.1\r\nHost: x\r\n\r\n', () => asked.resolve(socket));
    await left.promise;
  });

  it('is answered 500 by `refuse` when the API breaks its promise, and reported', async () => {
    const { server, failures } = await serve(() => Promise.reject(new Error('surprise')));
    expect(await ask(server, '/')).toMatchObject({ status: 500, body: 'internal' });
    expect(failures).toEqual([new Error('surprise')]);
  });
});

describe('H1 a body beyond the limit', () => {
  // covers F9
  it('is refused by its declared length, unread', async () => {
    const { server, seen } = await serve();
    const head = 'POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1001\r\n\r\n';
    expect(await raw(server, head)).toMatch(/^HTTP\/1\.1 413 /);
    expect(seen).toEqual([]);
  });

  it('is refused before it is sent, when the caller asks first', async () => {
    const { server } = await serve();
    expect(await raw(server, askingFirst(1_001))).toMatch(/^HTTP\/1\.1 413 /);
    expect(await raw(server, askingFirst(3), 'abc')).toMatch(
      /^HTTP\/1\.1 100 Continue\r\n\r\nHTTP\/1\.1 200 /,
    );
  });

  it('is refused while it is read, when it does not say its length', async () => {
    const { server, seen } = await serve();
    const head = 'POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n';
    const chunk = `190\r\n${'x'.repeat(400)}\r\n`;
    expect(await raw(server, head, chunk, chunk, chunk)).toMatch(/^HTTP\/1\.1 413 /);
    expect(seen).toEqual([]);
  });

  it('is taken at exactly the limit', async () => {
    const { server } = await serve();
    expect((await ask(server, '/', 'x'.repeat(1_000))).status).toBe(200);
  });
});

describe('H2 slow callers', () => {
  // covers B12
  it('who never end their headers are cut off', async () => {
    const { server } = await serve();
    expect(await raw(server, 'GET / HTTP/1.1\r\nHost: x\r\nX-Slow:')).toMatch(/^HTTP\/1\.1 408 /);
  });

  // covers B12
  it('who never end their body are cut off', async () => {
    const { server, seen } = await serve();
    expect(await raw(server, 'POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nab')).toMatch(
      /^HTTP\/1\.1 408 /,
    );
    expect(seen).toEqual([]);
  });

  it('wait for a slow answer as long as it takes', async () => {
    const { server } = await serve(async (request) => {
      await new Promise((resolve) => setTimeout(resolve, 600));
      return echo(request);
    });
    expect((await ask(server, '/')).status).toBe(200);
  });
});

describe('H3 a request that could be read in two ways', () => {
  it.each([
    ['both lengths', 'Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n'],
    ['two lengths', 'Content-Length: 3\r\nContent-Length: 4\r\n\r\nabc'],
    ['a length that is no number', 'Content-Length: 3x\r\n\r\nabc'],
    ['an unknown coding', 'Transfer-Encoding: gzip\r\n\r\nabc'],
    ['a bare newline in a header', 'X-A: 1\nX-B: 2\rX-C: 3\r\n\r\n'],
  ])('%s', async (_, rest) => {
    const { server, seen } = await serve();
    expect(await raw(server, `POST / HTTP/1.1\r\nHost: x\r\n${rest}`)).toMatch(/^HTTP\/1\.1 400 /);
    expect(seen).toEqual([]);
  });

  it('headers beyond 16 KiB are 431', async () => {
    const { server } = await serve();
    expect(await raw(server, `GET / HTTP/1.1\r\nHost: x\r\nX-Big: ${'x'.repeat(20_000)}\r\n\r\n`)).toMatch(
      /^HTTP\/1\.1 431 /,
    );
  });

  it('connections beyond the limit are closed', async () => {
    const { server } = await serve(echo, { connectionsMax: 1 });
    const first = connectSocket(server.port, '127.0.0.1');
    sockets.push(first);
    await new Promise((resolve) => first.once('connect', resolve));
    expect(await raw(server, 'GET / HTTP/1.1\r\nHost: x\r\n\r\n')).toBe('');
  });
});

describe('H4 a stream', () => {
  it('arrives piece by piece, and its source ends when the reader leaves', async () => {
    const returned = Promise.withResolvers<void>();
    const { server } = await serve(async () => ({
      status: 200,
      headers: { 'content-type': 'text/event-stream' },
      body: ticks(returned.resolve),
    }));
    const socket = connectSocket(server.port, '127.0.0.1');
    sockets.push(socket);
    socket.write('GET / HTTP/1.1\r\nHost: x\r\n\r\n');
    await new Promise<void>((resolve) => {
      let text = '';
      socket.setEncoding('utf8').on('data', (chunk: string) => {
        text += chunk;
        if (text.includes('tick 2')) resolve();
      });
    });
    socket.destroy();
    await returned.promise;
  });

  it('ends when the server closes, although its source waits for ever', async () => {
    const { server } = await serve(async () => ({ status: 200, headers: {}, body: silent() }));
    const reply = ask(server, '/');
    await new Promise((resolve) => setTimeout(resolve, 50));
    await server.close(5_000);
    expect(await reply).toMatchObject({ status: 200, body: '' });
  });

  it('that fails breaks the connection instead of looking complete', async () => {
    const { server, failures } = await serve(async () => ({ status: 200, headers: {}, body: failing() }));
    await expect(ask(server, '/')).rejects.toThrow(/hang up|ECONNRE|aborted/);
    expect(failures).toHaveLength(1);
  });
});

describe('a close', () => {
  it('lets requests under way end, and says that the connection does', async () => {
    const go = Promise.withResolvers<void>();
    const asked = Promise.withResolvers<void>();
    const { server } = await serve(async (request) => {
      asked.resolve();
      await go.promise;
      return echo(request);
    });
    const reply = raw(server, 'GET / HTTP/1.1\r\nHost: x\r\n\r\n');
    await asked.promise;
    const closed = server.close(5_000);
    go.resolve();
    expect(await reply).toMatch(/^HTTP\/1\.1 200 [^]*Connection: close/);
    await closed;
    await expect(ask(server, '/')).rejects.toThrow(/hang up|ECONNRE|aborted/);
  });

  it('cuts off what takes longer than its time', async () => {
    const { server } = await serve(() => new Promise(() => {}));
    const reply = ask(server, '/');
    reply.catch(() => {});
    await new Promise((resolve) => setTimeout(resolve, 50));
    await server.close(20);
    await expect(reply).rejects.toThrow(/hang up|ECONNRE|aborted/);
  });
});

describe('an address that cannot be had', () => {
  it('is a ListenError that says what to do', async () => {
    const { server } = await serve();
    const again = listen({
      host: '127.0.0.1',
      port: server.port,
      limits,
      answer: echo,
      refuse: () => ({ status: 500, headers: {}, body: '' }),
      onFailure: () => {},
    });
    await expect(again).rejects.toThrow(ListenError);
    await expect(again).rejects.toMatchObject({
      message: `port_taken: another process listens on 127.0.0.1:${server.port}`,
    });
  });
});

function askingFirst(length: number): string {
  return `POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nExpect: 100-continue\r\nContent-Length: ${length}\r\n\r\n`;
}

async function* ticks(returned: () => void): AsyncGenerator<string> {
  try {
    for (let n = 1; ; n++) {
      yield `tick ${n}\n`;
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
  } finally {
    returned();
  }
}

async function* silent(): AsyncGenerator<string> {
  await new Promise(() => {});
  yield 'never';
}

async function* failing(): AsyncGenerator<string> {
  yield 'a';
  throw new Error('the source broke');
}
