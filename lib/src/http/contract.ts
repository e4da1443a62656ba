/**
 * The facts every exchange holds to, over real sockets and against servers that misbehave:
 *
 *   import { describe, it } from 'vitest' // or node:test
 *   exchangeContract({ describe, it }, 'my exchange', (options) => myExchange(options))
 */
import { createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { assert } from '../util/assert.ts';
import { blockPrivateAddresses, type AddressGuard } from './address-guard.ts';
import type { HttpFailure, HttpReply, HttpRequest, PooledExchange } from './exchange.ts';

export interface ContractExchangeOptions {
  readonly connectionsPerOriginMax?: number;
  readonly guard?: AddressGuard;
}

/** Of a test runner, what the suite needs: vitest, jest, mocha and node:test all fit. */
export interface ExchangeContractRunner {
  describe(name: string, body: () => void): unknown;
  it(title: string, body: () => Promise<void>): unknown;
}

/** Declares one test per fact. `open` is called for each; the suite closes what it gives. */
export function exchangeContract(
  runner: ExchangeContractRunner,
  name: string,
  open: (options: ContractExchangeOptions) => PooledExchange,
): void {
  runner.describe(`exchange contract: ${name}`, () => {
    for (const [title, check] of Object.entries(facts)) {
      runner.it(title, async () => {
        const world = new World(open);
        try {
          await check(world);
        } finally {
          await world.dispose();
        }
      });
    }
  });
}

/** What a server does with a complete request; `count` is how many it has had, over all its connections. */
type Behaviour = (socket: Socket, request: string, count: number) => void;

const ok = (body: string): string =>
  `HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: ${Buffer.byteLength(body)}\r\n\r\n${body}`;

const facts: Readonly<Record<string, (world: World) => Promise<void>>> = {
  async 'gives back status, headers and body'(world) {
    const server = await world.server((socket) => socket.write(ok('{"a":"ü"}')));
    const reply = await world.post(server);
    assert(reply.kind === 'response', `a response, not ${JSON.stringify(reply)}`);
    same(reply.status, 200);
    same(reply.headers['content-type'], 'application/json');
    same(reply.body, '{"a":"ü"}');
  },

  // covers C12
  async 'sends what it was given, and accepts no encoding'(world) {
    let seen = '';
    const server = await world.server((socket, request) => {
      seen = request;
      socket.write(ok('1'));
    });
    await world.post(server, { path: '/a/b?c=%20', headers: { 'x-one': '1' }, body: '{"ü":1}' });
    assert(seen.startsWith('POST /a/b?c=%20 HTTP/1.1\r\n'), seen);
    assert(seen.endsWith('\r\n\r\n{"ü":1}'), seen);
    for (const header of ['x-one: 1', 'content-length: 8', 'accept-encoding: identity', 'host: 127.0.0.1']) {
      assert(seen.toLowerCase().includes(header), `${header} in ${seen}`);
    }
  },

  async 'reads an answer without a body'(world) {
    const server = await world.server((socket, _request, count) =>
      socket.write(count === 1 ? 'HTTP/1.1 204 No Content\r\n\r\n' : ok('')),
    );
    for (const status of [204, 200]) {
      const reply = await world.post(server);
      assert(
        reply.kind === 'response' && reply.status === status && reply.body === '',
        JSON.stringify(reply),
      );
    }
  },

  async 'joins an answer that comes in chunks'(world) {
    const server = await world.server((socket) => {
      socket.write('HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n');
      setTimeout(() => socket.write('3\r\ndef\r\n0\r\n\r\n'), 5);
    });
    const reply = await world.post(server);
    assert(reply.kind === 'response' && reply.body === 'abcdef', JSON.stringify(reply));
  },

  async 'keeps a connection open for the next request'(world) {
    const server = await world.server((socket) => socket.write(ok('1')));
    for (let i = 0; i < 3; i++) {
      await world.post(server);
      await turn();
    }
    same(server.connections, 1);
  },

  // covers B1, B7, C3
  async 'ends at its deadline when no answer comes'(world) {
    const server = await world.server(() => undefined);
    await world.fails(server, 'timeout', { timeoutMs: 60 }, true);
    await server.closed();
  },

  // covers B12, C5
  async 'ends at its deadline while headers drip'(world) {
    const server = await world.server((socket) => {
      socket.write('HTTP/1.1 200 OK\r\n');
      drip(socket, 'x-a: 1\r\n');
    });
    await world.fails(server, 'timeout', { timeoutMs: 100 }, true);
    await server.closed();
  },

  // covers B12, C5
  async 'ends at its deadline while the body drips'(world) {
    const server = await world.server((socket) => {
      socket.write('HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n');
      drip(socket, ' ');
    });
    await world.fails(server, 'timeout', { timeoutMs: 100 }, true);
    await server.closed();
  },

  // covers C5
  async 'ends at its deadline while interim answers come'(world) {
    const server = await world.server((socket) => drip(socket, 'HTTP/1.1 102 Processing\r\n\r\n'));
    await world.fails(server, 'timeout', { timeoutMs: 100 }, true);
    await server.closed();
  },

  async 'ends at its deadline while it waits for a connection, and then never sends'(world) {
    const server = await world.server(() => undefined, { connectionsPerOriginMax: 1 });
    const first = world.post(server, { timeoutMs: 120 });
    await world.fails(server, 'timeout', { timeoutMs: 40 }, false);
    await first;
    await turn(20);
    same(server.requests, 1);
  },

  // covers C11, R2
  async 'stops reading a body that is larger than allowed'(world) {
    let written = 0;
    const server = await world.server((socket) => {
      socket.write('HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n');
      const chunk = `1000\r\n${'x'.repeat(4_096)}\r\n`;
      const more = (): void => {
        while (!socket.destroyed && socket.write(chunk)) written += chunk.length;
      };
      socket.on('drain', more);
      more();
    });
    await world.fails(server, 'too-large', {}, true);
    await server.closed();
    assert(written < 50_000_000, `the server wrote ${written} bytes`);
  },

  // covers C11
  async 'does not begin to read a body that is announced as too large'(world) {
    const server = await world.server((socket) =>
      socket.write('HTTP/1.1 200 OK\r\ncontent-length: 10000000000\r\n\r\n{'),
    );
    await world.fails(server, 'too-large', {}, true);
    await server.closed();
  },

  async 'takes a body of exactly the allowed size'(world) {
    const server = await world.server((socket) => socket.write(ok('x'.repeat(1_024))));
    same((await world.post(server)).kind, 'response');
  },

  async 'fails when the connection is reset before an answer'(world) {
    const server = await world.server((socket) => socket.resetAndDestroy());
    await world.fails(server, 'reset', {}, true);
  },

  async 'fails when the connection ends before an answer'(world) {
    const server = await world.server((socket) => socket.end());
    await world.fails(server, 'reset', {}, true);
  },

  // covers B13
  async 'fails when the connection is reset in mid-answer'(world) {
    const server = await world.server((socket) => {
      socket.write('HTTP/1.1 200 OK\r\ncontent-length: 20\r\n\r\n{"a":1}');
      setTimeout(() => socket.resetAndDestroy(), 10);
    });
    await world.fails(server, 'truncated', {}, true);
  },

  // covers B13
  async 'fails when the connection ends in mid-answer'(world) {
    const server = await world.server((socket) =>
      socket.end('HTTP/1.1 200 OK\r\ncontent-length: 20\r\n\r\n{"a":1}'),
    );
    await world.fails(server, 'truncated', {}, true);
  },

  // covers B13
  async 'fails when chunks end without the last one'(world) {
    const server = await world.server((socket) =>
      socket.end('HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n7\r\n{"a":1}\r\n'),
    );
    await world.fails(server, 'truncated', {}, true);
  },

  async 'fails when only the end of the connection ends the answer'(world) {
    const server = await world.server((socket) => socket.end('HTTP/1.1 200 OK\r\n\r\n{"a":1}'));
    await world.fails(server, 'truncated', {}, true);
  },

  // covers C12
  async 'fails on an answer that is encoded'(world) {
    const server = await world.server((socket) =>
      socket.write('HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 3\r\n\r\nabc'),
    );
    await world.fails(server, 'malformed', {}, true);
    await server.closed();
  },

  async 'fails on an answer that is not HTTP'(world) {
    const server = await world.server((socket) => socket.end('SSH-2.0-OpenSSH_9.2\r\n'));
    await world.fails(server, 'malformed', {}, true);
  },

  async 'fails on an answer that is not UTF-8'(world) {
    const server = await world.server((socket) =>
      socket.write(
        Buffer.concat([
          Buffer.from('HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n'),
          Buffer.from([0xc3, 0x28]),
        ]),
      ),
    );
    await world.fails(server, 'malformed', {}, true);
  },

  async 'fails on headers without measure'(world) {
    const server = await world.server((socket) =>
      socket.write(`HTTP/1.1 200 OK\r\nx-a: ${'x'.repeat(200_000)}\r\ncontent-length: 0\r\n\r\n`),
    );
    await world.fails(server, 'malformed', {}, true);
    await server.closed();
  },

  async 'fails on an answer with two lengths'(world) {
    const server = await world.server((socket) =>
      socket.write(
        'HTTP/1.1 200 OK\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n',
      ),
    );
    const reply = await world.post(server);
    assert(reply.kind === 'failed' && reply.failure !== 'timeout', JSON.stringify(reply));
  },

  async 'fails on an answer that switches protocols'(world) {
    const server = await world.server((socket) =>
      socket.write('HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n'),
    );
    const reply = await world.post(server);
    assert(reply.kind === 'failed' && reply.failure !== 'timeout', JSON.stringify(reply));
  },

  async 'waits for the answer after interim ones'(world) {
    const server = await world.server((socket) =>
      socket.write(`HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n${ok('1')}`),
    );
    const reply = await world.post(server);
    assert(reply.kind === 'response' && reply.status === 200 && reply.body === '1', JSON.stringify(reply));
  },

  async 'never takes an answer nobody asked for as that of the next request'(world) {
    const server = await world.server((socket, _request, count) =>
      socket.write(count === 1 ? ok('1') + ok('"stray"') : ok(String(count))),
    );
    same((await world.post(server)).kind, 'response');
    const reply = await world.post(server);
    assert(reply.kind === 'failed' || reply.body === '2', JSON.stringify(reply));
  },

  // covers C10, R6
  async 'follows no redirect'(world) {
    for (const status of [301, 302, 303, 307, 308]) {
      const server = await world.server((socket, request) =>
        socket.write(
          request.startsWith('POST /start ')
            ? `HTTP/1.1 ${status} Moved\r\nlocation: /elsewhere\r\ncontent-length: 0\r\n\r\n`
            : ok('"followed"'),
        ),
      );
      const reply = await world.post(server, { path: '/start' });
      assert(reply.kind === 'response' && reply.status === status, JSON.stringify(reply));
      await turn();
      same(server.requests, 1);
    }
  },

  // covers R8
  async 'says that nothing was sent when the connection is refused'(world) {
    const server = await world.server(() => undefined);
    await server.stop();
    await world.fails(server, 'refused-connection', {}, false);
  },

  // covers B14
  async 'says that nothing was sent when the name is not known'(world) {
    const reply = await world.post({ origin: 'http://name.invalid', options: {} }, { timeoutMs: 5_000 });
    assert(reply.kind === 'failed' && reply.failure === 'dns' && !reply.sent, JSON.stringify(reply));
  },

  // covers B14
  async 'fails, and never falls back, where TLS is not spoken'(world) {
    const server = await world.server((socket) => socket.write(ok('1')), {}, 'any bytes');
    const reply = await world.post({
      options: server.options,
      origin: server.origin.replace('http:', 'https:'),
    });
    assert(
      reply.kind === 'failed' && (reply.failure === 'tls' || reply.failure === 'reset'),
      JSON.stringify(reply),
    );
  },

  // covers B7
  async 'sends once, also when a kept connection turns out to be dead'(world) {
    const server = await world.server((socket, _request, count) => {
      if (count === 1) socket.write(ok('1'));
      else socket.destroy();
    });
    same((await world.post(server)).kind, 'response');
    await turn();
    await world.fails(server, 'reset', {}, true);
    await turn(20);
    same(server.requests, 2);
  },

  async 'ends when its signal aborts'(world) {
    const server = await world.server(() => undefined);
    const controller = new AbortController();
    const asked = world.post(server, {}, controller.signal);
    await server.requested();
    controller.abort();
    const reply = await asked;
    assert(reply.kind === 'failed' && reply.failure === 'aborted' && reply.sent, JSON.stringify(reply));
    await server.closed();
  },

  async 'does not begin when its signal has aborted'(world) {
    const server = await world.server((socket) => socket.write(ok('1')));
    const reply = await world.post(server, {}, AbortSignal.abort());
    assert(reply.kind === 'failed' && reply.failure === 'aborted' && !reply.sent, JSON.stringify(reply));
    same(server.connections, 0);
  },

  async 'ends what is under way when it is closed'(world) {
    const server = await world.server(() => undefined);
    const asked = world.post(server);
    await server.requested();
    await world.exchange(server.options).close();
    const reply = await asked;
    assert(reply.kind === 'failed' && reply.failure === 'aborted', JSON.stringify(reply));
    await server.closed();
  },

  async 'opens no connection to an address its guard blocks, by number or by name'(world) {
    const server = await world.server((socket) => socket.write(ok('1')), { guard: blockPrivateAddresses() });
    for (const host of ['127.0.0.1', 'localhost', '[::1]', '[::ffff:127.0.0.1]']) {
      const origin = server.origin.replace('127.0.0.1', host);
      await world.fails({ options: server.options, origin }, 'blocked-address', {}, false);
    }
    same(server.connections, 0);
  },

  async 'connects to an address its guard allows'(world) {
    const guard = blockPrivateAddresses(['127.0.0.0/8']);
    const server = await world.server((socket) => socket.write(ok('1')), { guard });
    same((await world.post(server)).kind, 'response');
  },

  async 'asks its guard about the very address that it connects to'(world) {
    // A name whose answer changes between check and use would need a second look-up; there is none to be had.
    const asked: string[] = [];
    const guard: AddressGuard = { whyBlocked: (ip) => void asked.push(ip) };
    const server = await world.server((socket) => socket.write(ok('1')), { guard });
    same(
      (await world.post({ options: server.options, origin: server.origin.replace('127.0.0.1', 'localhost') }))
        .kind,
      'response',
    );
    assert(asked.length >= 2, 'once when it was looked up, and once when it was connected');
    assert(
      asked.slice(0, -1).includes(asked.at(-1) ?? ''),
      `connected to ${asked.at(-1)}, looked up ${asked.join()}`,
    );
  },
};

const noSignal = new AbortController().signal;

interface Target {
  readonly origin: string;
  readonly options: ContractExchangeOptions;
}

class World {
  private readonly open: (options: ContractExchangeOptions) => PooledExchange;
  private readonly exchanges = new Map<ContractExchangeOptions, PooledExchange>();
  private readonly servers: RawServer[] = [];

  constructor(open: (options: ContractExchangeOptions) => PooledExchange) {
    this.open = open;
  }

  async server(
    behaviour: Behaviour,
    options: ContractExchangeOptions = {},
    reads: 'requests' | 'any bytes' = 'requests',
  ): Promise<RawServer> {
    const server = await RawServer.start(behaviour, options, reads);
    this.servers.push(server);
    return server;
  }

  /** The exchange for these options: one for each object. */
  exchange(options: ContractExchangeOptions): PooledExchange {
    const known = this.exchanges.get(options) ?? this.open(options);
    this.exchanges.set(options, known);
    return known;
  }

  post(
    target: Target,
    request: Partial<HttpRequest> = {},
    signal: AbortSignal = noSignal,
  ): Promise<HttpReply> {
    return this.exchange(target.options)(
      {
        origin: target.origin,
        path: '/',
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: '{}',
        timeoutMs: 2_000,
        maxResponseBytes: 1_024,
        ...request,
      },
      signal,
    );
  }

  async fails(
    target: Target,
    failure: HttpFailure,
    request: Partial<HttpRequest>,
    sent: boolean,
  ): Promise<void> {
    const startedAt = performance.now();
    const reply = await this.post(target, request);
    const tookMs = performance.now() - startedAt;
    const expected = `${failure}, ${sent ? '' : 'not '}sent; got ${JSON.stringify(reply)}`;
    assert(
      reply.kind === 'failed' && reply.failure === failure && reply.sent === sent,
      `expected ${expected}`,
    );
    assert(tookMs < (request.timeoutMs ?? 2_000) + 1_000, `it took ${tookMs} ms`);
  }

  async dispose(): Promise<void> {
    for (const exchange of this.exchanges.values()) await exchange.close();
    for (const server of this.servers) await server.stop();
  }
}

/** A server that does with its sockets whatever the fact needs. */
class RawServer implements Target {
  readonly origin: string;
  readonly options: ContractExchangeOptions;
  connections = 0;
  requests = 0;
  private readonly server: Server;
  private readonly sockets = new Set<Socket>();
  private readonly changed = new Set<() => void>();

  static async start(
    behaviour: Behaviour,
    options: ContractExchangeOptions,
    reads: 'requests' | 'any bytes',
  ): Promise<RawServer> {
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    return new RawServer(server, behaviour, options, reads);
  }

  private constructor(
    server: Server,
    behaviour: Behaviour,
    options: ContractExchangeOptions,
    reads: 'requests' | 'any bytes',
  ) {
    this.server = server;
    this.options = options;
    const { port } = server.address() as AddressInfo;
    this.origin = `http://127.0.0.1:${port}`;
    server.on('connection', (socket) => {
      this.connections++;
      this.sockets.add(socket);
      let text = '';
      socket.on('data', (chunk) => {
        text += chunk.toString();
        const end = reads === 'any bytes' ? text.length : endOfRequest(text);
        if (end === undefined) return;
        const request = text.slice(0, end);
        text = text.slice(end);
        this.requests++;
        behaviour(socket, request, this.requests);
        this.notify();
      });
      socket.on('error', () => undefined);
      socket.on('close', () => {
        this.sockets.delete(socket);
        this.notify();
      });
    });
  }

  /** Waits until a request has come. */
  requested(): Promise<void> {
    return this.until(() => this.requests > 0);
  }

  /** Waits until every connection is gone: nothing of the exchange is left open. */
  closed(): Promise<void> {
    return this.until(() => this.sockets.size === 0);
  }

  async stop(): Promise<void> {
    for (const socket of this.sockets) socket.destroy();
    await new Promise<void>((resolve) => void this.server.close(() => resolve()));
  }

  private async until(isSo: () => boolean): Promise<void> {
    while (!isSo()) {
      await new Promise<void>((resolve) => {
        this.changed.add(resolve);
      });
    }
  }

  private notify(): void {
    for (const resolve of this.changed) resolve();
    this.changed.clear();
  }
}

/** Where the first complete request ends. */
function endOfRequest(text: string): number | undefined {
  const head = text.indexOf('\r\n\r\n');
  if (head < 0) return undefined;
  const length = Number(/content-length: (\d+)/i.exec(text)?.[1] ?? 0);
  const body = text.slice(head + 4);
  const bytes = Buffer.from(body);
  if (bytes.length < length) return undefined;
  return head + 4 + bytes.subarray(0, length).toString().length;
}

function drip(socket: Socket, bytes: string): void {
  const timer = setInterval(() => socket.write(bytes), 10);
  socket.on('close', () => clearInterval(timer));
}

/** Lets what is on its way arrive. */
function turn(ms = 5): Promise<void> {
  return new Promise((resolve) => {
    setTimeout(resolve, ms);
  });
}

function same(actual: unknown, expected: unknown): void {
  assert(actual === expected, `expected ${JSON.stringify(expected)}, got ${JSON.stringify(actual)}`);
}
