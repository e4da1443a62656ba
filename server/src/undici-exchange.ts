import {
  BlockedAddressError,
  ExchangesUnderWay,
  acceptedEncoding,
  guardedLookup,
  literalAddress,
  type AddressGuard,
  type HttpReply,
  type HttpRequest,
  type PendingExchange,
  type PooledExchange,
} from 'settle/http';
import { Pool, buildConnector, type Dispatcher } from 'undici';

export interface UndiciExchangeOptions {
  /** Connections to one origin; further requests wait, within their deadline. Default 128. */
  readonly connectionsPerOriginMax?: number;
  /** Milliseconds an idle connection is kept. Default 4,000: below the 5 seconds after which a Node server closes it. */
  readonly idleMs?: number;
  /** Origins with open connections; beyond it an idle one is closed. Default 1,000. */
  readonly originsMax?: number;
  /** Which addresses may be connected to. Default: any. */
  readonly guard?: AddressGuard;
  /** Certificates (PEM) to trust instead of the system's. */
  readonly ca?: string;
}

/**
 * An exchange over undici's pools, one per origin. It holds to H1-H4 of `HttpExchange`.
 *
 * It does not pipeline: the answer to one call must not wait for, or be lost with, that of another.
 */
export function undiciExchange(options: UndiciExchangeOptions = {}): PooledExchange {
  const pools = new Pools(options);
  const underWay = new ExchangesUnderWay();

  const exchange = (request: HttpRequest, signal: AbortSignal): Promise<HttpReply> =>
    underWay.run(request, signal, (pending) => {
      const { origin, path, method, headers, body } = request;
      pools
        .of(origin)
        .dispatch(
          { path, method, headers: withEncoding(headers), body: body ?? null, blocking: false },
          new Handler(pending),
        );
    });

  return Object.assign(exchange, {
    async close(): Promise<void> {
      underWay.abort();
      await pools.close();
    },
  });
}

/** Undici reads a flat list of names and values faster than an object. */
function withEncoding(headers: Readonly<Record<string, string>>): string[] {
  const flat = ['accept-encoding', acceptedEncoding];
  for (const name in headers) flat.push(name, headers[name] ?? '');
  return flat;
}

/** Feeds an exchange from undici, without streams. */
class Handler implements Dispatcher.DispatchHandler {
  private readonly pending: PendingExchange;

  constructor(pending: PendingExchange) {
    this.pending = pending;
  }

  onRequestStart(controller: Dispatcher.DispatchController): void {
    this.pending.started();
    // It may have ended while it waited for a connection; then the request never leaves.
    this.pending.teardown(() => controller.abort(new Error('the exchange has ended')));
  }

  onResponseStart(
    _controller: Dispatcher.DispatchController,
    status: number,
    headers: Record<string, string | string[] | undefined>,
  ): void {
    this.pending.head(status, headers);
  }

  onResponseData(_controller: Dispatcher.DispatchController, chunk: Buffer): void {
    this.pending.data(chunk);
  }

  onResponseEnd(): void {
    this.pending.end();
  }

  onResponseError(_controller: Dispatcher.DispatchController, error: Error): void {
    this.pending.error(error);
  }
}

/** One pool per origin, held to a number of origins. */
class Pools {
  private readonly byOrigin = new Map<string, Pool>();
  private readonly settings: Pool.Options;
  private readonly originsMax: number;

  constructor(options: UndiciExchangeOptions) {
    const { connectionsPerOriginMax = 128, idleMs = 4_000, originsMax = 1_000, guard, ca } = options;
    this.originsMax = originsMax;
    this.settings = {
      connections: connectionsPerOriginMax,
      pipelining: 1,
      allowH2: false,
      keepAliveTimeout: idleMs,
      keepAliveMaxTimeout: idleMs,
      // The deadline of the exchange covers all of it.
      headersTimeout: 0,
      bodyTimeout: 0,
      connect: connectorOf(guard, ca),
    };
  }

  of(origin: string): Pool {
    const known = this.byOrigin.get(origin);
    if (known !== undefined) return known;
    this.makeRoom();
    const pool = new Pool(origin, this.settings);
    this.byOrigin.set(origin, pool);
    return pool;
  }

  async close(): Promise<void> {
    const pools = [...this.byOrigin.values()];
    this.byOrigin.clear();
    await Promise.all(pools.map((pool) => pool.destroy()));
  }

  private makeRoom(): void {
    if (this.byOrigin.size < this.originsMax) return;
    for (const [origin, pool] of this.byOrigin) {
      if (pool.stats.running + pool.stats.pending > 0) continue;
      this.byOrigin.delete(origin);
      void pool.close();
      return;
    }
  }
}

const connectTimeoutMs = 10_000;

/** Checks the address a socket goes to, before and after it is connected (S3). */
function connectorOf(guard: AddressGuard | undefined, ca: string | undefined): buildConnector.connector {
  const connect = buildConnector({
    allowH2: false,
    timeout: connectTimeoutMs,
    ...(ca === undefined ? {} : { ca }),
    ...(guard === undefined ? {} : { lookup: guardedLookup(guard) }),
  });
  if (guard === undefined) return connect;
  return (options, callback) => {
    const literal = literalAddress(options.hostname);
    const why = literal === undefined ? undefined : guard.whyBlocked(literal);
    if (why !== undefined) return callback(new BlockedAddressError(why), null);
    connect(options, (...result) => {
      const [error, socket] = result;
      if (error !== null) return callback(error, null);
      const why = guard.whyBlocked(socket.remoteAddress ?? '');
      if (why === undefined) return callback(null, socket);
      socket.destroy();
      callback(new BlockedAddressError(why), null);
    });
  };
}
