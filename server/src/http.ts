/**
 * node:http under the API: bytes to a plain request, a plain answer to bytes. Why no framework: decisions/0002.
 *
 * Owns: limits on what a connection may cost before the API sees it (size, time, number), streaming, a close that
 * lets requests under way end.
 * Does not own: routes, authentication, what an answer says.
 *
 * - H1 A body larger than the limit is refused without being read further.
 * - H2 Whoever sends slowly is cut off by time: headers, then the whole request.
 * - H3 A request whose end two parsers could see differently (Transfer-Encoding with Content-Length) is refused.
 * - H4 A stream waits for its reader, and ends when the reader leaves or the server closes.
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import type { ApiRequest, ApiResponse } from 'settle/api';
import { SettleError } from 'settle/core';
import { ListenError } from './exit-codes.ts';

export interface HttpOptions {
  readonly host: string;
  /** 0: a free one. */
  readonly port: number;
  readonly answer: (request: ApiRequest) => Promise<ApiResponse>;
  /** What a request is told that never reaches the API. */
  readonly refuse: (error: SettleError) => ApiResponse;
  /** An exception nobody expected; the caller gets the answer of `refuse` for `internal`. */
  readonly onFailure: (error: unknown) => void;
  readonly limits: HttpLimits;
}

export interface HttpLimits {
  /** Bytes of a body. */
  readonly bodyMax: number;
  readonly connectionsMax: number;
  readonly headersTimeoutMs: number;
  readonly requestTimeoutMs: number;
  readonly keepAliveMs: number;
}

export interface HttpServer {
  /** Where it listens, for example `http://127.0.0.1:36789`. */
  readonly url: string;
  readonly port: number;
  /** Takes no more connections and ends streams. Requests on open connections are answered, as their last. */
  stopAccepting(): void;
  /** Also waits this many milliseconds for requests under way, then cuts them off. */
  close(graceMs: number): Promise<void>;
}

/** Bytes of all headers of a request. */
const headersMax = 16 * 1024;

/** Listens. Throws a {@link ListenError} that says what to do. */
export async function listen(options: HttpOptions): Promise<HttpServer> {
  const { limits } = options;
  const glue = new Glue(options);
  const server = createServer(
    {
      insecureHTTPParser: false,
      maxHeaderSize: headersMax,
      headersTimeout: limits.headersTimeoutMs,
      requestTimeout: Math.max(limits.requestTimeoutMs, limits.headersTimeoutMs),
      keepAliveTimeout: limits.keepAliveMs,
      // H2: how often Node looks for those that exceed their time.
      connectionsCheckingInterval: Math.min(1_000, limits.headersTimeoutMs),
      noDelay: true,
    },
    (request, response) => glue.handle(request, response),
  );
  server.maxConnections = limits.connectionsMax;
  // A body that is too large is refused before it is sent.
  server.on('checkContinue', (request: IncomingMessage, response: ServerResponse) => {
    if (declaredLength(request) <= limits.bodyMax) response.writeContinue();
    glue.handle(request, response);
  });
  server.on('clientError', refuseBytes);
  await bound(server, options);
  const address = server.address();
  const port = typeof address === 'object' && address !== null ? address.port : options.port;
  const host = options.host.includes(':') ? `[${options.host}]` : options.host;
  return {
    url: `http://${host}:${port}`,
    port,
    stopAccepting: () => glue.stopAccepting(server),
    close: (graceMs) => glue.close(server, graceMs),
  };
}

class Glue {
  readonly #options: HttpOptions;
  /** One for each stream, to end it. */
  readonly #streams = new Set<() => void>();
  /** Since when no more connections are taken; resolves when the last one is gone. */
  #closed: Promise<void> | undefined;

  constructor(options: HttpOptions) {
    this.#options = options;
  }

  handle(request: IncomingMessage, response: ServerResponse): void {
    const { bodyMax } = this.#options.limits;
    // H1
    if (declaredLength(request) > bodyMax) return this.#refuse(response, tooLarge(bodyMax));
    const chunks: Buffer[] = [];
    let length = 0;
    request.on('data', (chunk: Buffer) => {
      length += chunk.length;
      if (length <= bodyMax) {
        chunks.push(chunk);
        return;
      }
      if (!response.headersSent) this.#refuse(response, tooLarge(bodyMax));
      request.pause();
    });
    request.on('end', () => {
      if (length > bodyMax) return;
      const [only] = chunks;
      const body = chunks.length === 1 && only !== undefined ? only : Buffer.concat(chunks, length);
      this.#options.answer(new PlainRequest(request, response, body)).then(
        (answer) => this.#send(response, answer),
        (error: unknown) => this.#fail(response, error),
      );
    });
    // A caller that leaves in the middle of its request is told nothing.
    request.on('error', ignore);
    response.on('error', ignore);
  }

  stopAccepting(server: Server): void {
    if (this.#closed !== undefined) return;
    this.#closed = new Promise<void>((resolve) => {
      server.close(() => resolve());
    });
    for (const end of this.#streams) end();
    server.closeIdleConnections();
  }

  async close(server: Server, graceMs: number): Promise<void> {
    this.stopAccepting(server);
    server.closeIdleConnections();
    const timer = setTimeout(() => server.closeAllConnections(), graceMs);
    await this.#closed;
    clearTimeout(timer);
  }

  #send(response: ServerResponse, answer: ApiResponse): void {
    if (response.headersSent || response.destroyed) return;
    if (this.#closed !== undefined) response.shouldKeepAlive = false;
    const { status, headers, body } = answer;
    if (typeof body === 'string') {
      response.writeHead(status, { ...headers, 'content-length': Buffer.byteLength(body) });
      response.end(body);
      return;
    }
    response.writeHead(status, headers);
    this.#stream(response, body).catch((error: unknown) => {
      this.#options.onFailure(error);
      response.destroy();
    });
  }

  /** H4 */
  async #stream(response: ServerResponse, body: AsyncIterable<string>): Promise<void> {
    const iterator = body[Symbol.asyncIterator]();
    const { promise: gone, resolve: end } = Promise.withResolvers<void>();
    response.once('close', () => {
      this.#streams.delete(end);
      end();
    });
    this.#streams.add(end);
    if (this.#closed !== undefined) end();
    response.flushHeaders();
    const wasGone = gone.then(() => ({ done: true, value: undefined }) as const);
    for (;;) {
      const next = await Promise.race([wasGone, iterator.next()]);
      if (next.done === true) break;
      if (!response.write(next.value)) await Promise.race([drained(response), gone]);
    }
    // Not awaited: a generator that waits for its next event cannot return before it came.
    iterator.return?.().catch(ignore);
    response.end();
  }

  #fail(response: ServerResponse, error: unknown): void {
    this.#options.onFailure(error);
    this.#refuse(response, new SettleError('internal', 'the request failed for a reason nobody expected'));
  }

  #refuse(response: ServerResponse, error: SettleError): void {
    // What is left of the request stays unread, so the connection is of no further use.
    response.shouldKeepAlive = false;
    const { req } = response;
    response.once('finish', () => {
      if (!req.complete) setTimeout(() => req.destroy(), lingerMs).unref();
    });
    this.#send(response, this.#options.refuse(error));
  }
}

/** Milliseconds a refused caller has to read its answer before its connection goes. */
const lingerMs = 500;

/** What the API sees of a request. The signal costs something, so it exists only for those who ask for it. */
class PlainRequest implements ApiRequest {
  readonly method: string;
  readonly path: string;
  readonly query: string;
  readonly headers: IncomingMessage['headers'];
  readonly body: Uint8Array;
  readonly #response: ServerResponse;
  #controller: AbortController | undefined;

  constructor(request: IncomingMessage, response: ServerResponse, body: Uint8Array) {
    const url = request.url ?? '/';
    const mark = url.indexOf('?');
    this.method = request.method ?? 'GET';
    this.path = mark < 0 ? url : url.slice(0, mark);
    this.query = mark < 0 ? '' : url.slice(mark + 1);
    this.headers = request.headers;
    this.body = body;
    this.#response = response;
  }

  /** Aborts when the caller leaves before its answer. */
  get signal(): AbortSignal {
    if (this.#controller !== undefined) return this.#controller.signal;
    const controller = new AbortController();
    this.#controller = controller;
    if (this.#response.destroyed && !this.#response.writableFinished) controller.abort();
    else
      this.#response.once('close', () => {
        if (!this.#response.writableFinished) controller.abort();
      });
    return controller.signal;
  }
}

function bound(server: Server, { host, port }: HttpOptions): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', (cause: NodeJS.ErrnoException) => reject(listenError(host, port, cause)));
    server.listen(port, host, () => resolve());
  });
}

function listenError(host: string, port: number, cause: NodeJS.ErrnoException): ListenError {
  const where = `${host}:${port}`;
  switch (cause.code) {
    case 'EADDRINUSE':
      return new ListenError(
        `port_taken: another process listens on ${where}`,
        'Stop it, or choose another port with --port',
        { cause },
      );
    case 'EACCES':
      return new ListenError(
        `port_forbidden: this user may not listen on ${where}`,
        'Choose a port above 1023 with --port',
        { cause },
      );
    default:
      return new ListenError(`cannot_listen: ${where}: ${cause.message}`, 'Check --host and --port', {
        cause,
      });
  }
}

/** H3 and everything else the parser refuses: no request came out of it, so there is nobody to route to. */
function refuseBytes(error: NodeJS.ErrnoException, socket: Socket): void {
  if (error.code === 'ECONNRESET' || !socket.writable) {
    socket.destroy();
    return;
  }
  socket.end(`HTTP/1.1 ${statusOfBytes(error.code)}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n`);
}

function statusOfBytes(code: string | undefined): string {
  if (code === 'ERR_HTTP_REQUEST_TIMEOUT') return '408 Request Timeout';
  return code === 'HPE_HEADER_OVERFLOW' ? '431 Request Header Fields Too Large' : '400 Bad Request';
}

function declaredLength(request: IncomingMessage): number {
  const length = request.headers['content-length'];
  return length === undefined ? 0 : Number(length);
}

function tooLarge(bodyMax: number): SettleError {
  return new SettleError('body_too_large', `the body is larger than ${bodyMax} bytes`, {
    next: 'Send less: payloads carry references, not documents',
  });
}

function drained(response: ServerResponse): Promise<void> {
  return new Promise((resolve) => {
    response.once('drain', () => resolve());
  });
}

function ignore(): void {}
