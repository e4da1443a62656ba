/**
 * The HTTP server of a demo service, which is as unreliable as the seed says: it loses answers, gets requests twice or
 * late, and says 503. What it never does is touch the business.
 */
import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { HandlerRequest, HandlerResponse } from 'settle/participant';
import { createDice } from '../dice.ts';
import { faultOf, type Fault, type FaultQuestion } from '../faults.ts';

export interface FaultyServerOptions {
  readonly answer: (request: HandlerRequest) => Promise<HandlerResponse>;
  readonly service: string;
  readonly seed: number;
  readonly faults: boolean;
  /** Milliseconds after which the coordinator gives up waiting. */
  readonly callTimeoutMs: number;
  readonly onFault: (fault: Fault) => void;
}

export interface FaultyServer {
  listen(port: number): Promise<number>;
  /** Drops what would have come late, and lets the rest end. */
  close(): Promise<void>;
}

export function faultyServer(options: FaultyServerOptions): FaultyServer {
  const late = new Set<NodeJS.Timeout>();
  const server = createServer((request, response) => {
    serve(options, late, request, response).catch((error: unknown) => {
      response.destroy(error instanceof Error ? error : undefined);
    });
  });
  return {
    listen: (port) => listening(server, port),
    close: () =>
      new Promise((resolve) => {
        for (const timer of late) clearTimeout(timer);
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

async function serve(
  options: FaultyServerOptions,
  late: Set<NodeJS.Timeout>,
  incoming: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const request: HandlerRequest = {
    method: incoming.method ?? 'GET',
    path: incoming.url ?? '/',
    headers: incoming.headers,
    body: await textOf(incoming),
  };
  const question = questionOf(options, request);
  const fault = question === undefined || !options.faults ? undefined : faultOf(question);
  if (fault !== undefined) options.onFault(fault);
  switch (fault) {
    case undefined:
      return send(response, await options.answer(request));
    case 'unavailable':
      return send(response, { status: 503, headers: {}, body: '' });
    case 'reset':
      incoming.socket.destroy();
      return;
    case 'withhold': {
      // It happens, and nobody hears of it.
      await options.answer(request);
      const timer = setTimeout(() => incoming.socket.destroy(), options.callTimeoutMs * 2);
      response.once('close', () => clearTimeout(timer));
      return;
    }
    case 'duplicate': {
      const [first] = await Promise.all([options.answer(request), options.answer(request)]);
      return send(response, first);
    }
    case 'late': {
      const { seed, service } = options;
      const afterMs = 200 + 2_000 * createDice(seed, 'late', service, String(request.body))();
      const timer = setTimeout(() => {
        late.delete(timer);
        // Its answer goes nowhere.
        options.answer(request).catch(() => {});
      }, afterMs);
      late.add(timer);
      return send(response, await options.answer(request));
    }
  }
}

/** undefined for what does not come from a coordinator. */
function questionOf(
  { seed, service }: FaultyServerOptions,
  { headers }: HandlerRequest,
): FaultQuestion | undefined {
  const { 'settle-gid': gid, 'settle-branch': branch, 'settle-op': op, 'settle-attempt': attempt } = headers;
  if (typeof gid !== 'string' || typeof branch !== 'string' || typeof op !== 'string') return undefined;
  return { seed, service, gid, branch, op, attempt: Number(attempt) };
}

function send(response: ServerResponse, { status, headers, body }: HandlerResponse): void {
  if (response.destroyed) return;
  response.writeHead(status, { ...headers, 'content-length': Buffer.byteLength(body) });
  response.end(body);
}

async function textOf(incoming: IncomingMessage): Promise<string> {
  let text = '';
  incoming.setEncoding('utf8').on('data', (chunk: string) => (text += chunk));
  await once(incoming, 'end');
  return text;
}

function listening(server: Server, port: number): Promise<number> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, '127.0.0.1', () => {
      const address = server.address();
      resolve(typeof address === 'object' && address !== null ? address.port : port);
    });
  });
}
