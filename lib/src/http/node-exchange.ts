import {
  Agent as HttpAgent,
  request as httpRequest,
  type ClientRequest,
  type IncomingMessage,
} from 'node:http';
import { Agent as HttpsAgent, request as httpsRequest } from 'node:https';
import type { Socket } from 'node:net';
import { BlockedAddressError, guardedLookup, literalAddress, type AddressGuard } from './address-guard.ts';
import { acceptedEncoding, type HttpReply, type HttpRequest, type PooledExchange } from './exchange.ts';
import { ExchangesUnderWay, type PendingExchange } from './pending-exchange.ts';

export interface NodeExchangeOptions {
  /** Connections to one origin; further requests wait, within their deadline. Default 128. */
  readonly connectionsPerOriginMax?: number;
  /** Milliseconds an idle connection is kept. Default 4,000: below the 5 seconds after which a Node server closes it. */
  readonly idleMs?: number;
  /** Which addresses may be connected to. Default: any. */
  readonly guard?: AddressGuard;
  /** Certificates (PEM) to trust instead of the system's. */
  readonly ca?: string;
}

/**
 * An exchange over Node's own http and https, with connections kept open. It holds to H1-H4 of `HttpExchange`.
 *
 * It does not pipeline, speaks HTTP/1.1 only, and never repeats a request.
 */
export function nodeExchange(options: NodeExchangeOptions = {}): PooledExchange {
  const { connectionsPerOriginMax = 128, idleMs = 4_000, guard, ca } = options;
  const pool = { keepAlive: true, maxSockets: connectionsPerOriginMax, timeout: idleMs };
  const agents = { http: new HttpAgent(pool), https: new HttpsAgent({ ...pool, ...(ca ? { ca } : {}) }) };
  const lookup = guard === undefined ? {} : { lookup: guardedLookup(guard) };
  const underWay = new ExchangesUnderWay();

  const exchange = (request: HttpRequest, signal: AbortSignal): Promise<HttpReply> =>
    underWay.run(request, signal, (pending) => send(pending, request));

  function send(pending: PendingExchange, request: HttpRequest): void {
    const { protocol, hostname, port } = new URL(request.origin);
    const literal = literalAddress(hostname);
    const blocked = literal === undefined ? undefined : guard?.whyBlocked(literal);
    if (blocked !== undefined) return pending.fail('blocked-address', blocked);
    const secure = protocol === 'https:';
    const outgoing = (secure ? httpsRequest : httpRequest)({
      ...lookup,
      agent: secure ? agents.https : agents.http,
      hostname: literal ?? hostname,
      port: port === '' ? (secure ? 443 : 80) : port,
      path: request.path,
      method: request.method,
      headers: { ...request.headers, 'accept-encoding': acceptedEncoding },
    });
    pending.teardown(() => outgoing.destroy());
    follow(pending, outgoing, guard);
    outgoing.end(request.body);
  }

  function close(): Promise<void> {
    underWay.abort();
    agents.http.destroy();
    agents.https.destroy();
    return Promise.resolve();
  }

  return Object.assign(exchange, { close });
}

function follow(pending: PendingExchange, outgoing: ClientRequest, guard: AddressGuard | undefined): void {
  outgoing.on('socket', (socket: Socket) => {
    if (!socket.connecting) return pending.started();
    socket.once('connect', () => {
      pending.started();
      const why = guard?.whyBlocked(socket.remoteAddress ?? '');
      if (why !== undefined) outgoing.destroy(new BlockedAddressError(why));
    });
  });
  outgoing.on('error', (error) => pending.error(error));
  outgoing.on('upgrade', (response: IncomingMessage, socket: Socket) => {
    pending.head(101, response.headers);
    socket.destroy();
  });
  outgoing.on('response', (response) => {
    pending.head(response.statusCode ?? 0, response.headers);
    response.on('data', (chunk: Buffer) => pending.data(chunk));
    response.on('error', (error) => pending.error(error));
    response.on('end', () => {
      if (response.complete) pending.end();
      else pending.fail('truncated', 'the connection ended in mid-answer');
    });
    response.on('close', () => pending.fail('truncated', 'the connection ended in mid-answer'));
  });
  outgoing.on('close', () => pending.closed());
}
