/**
 * A coordinator with its HTTP API, put together from a configuration: what `settle serve` runs, and `settle dev` too.
 *
 * - V1 It listens only once the store is open and the lease held: whoever can connect can submit.
 * - V2 A stop takes no more connections, lets the engine drain and hand over, answers what is under way, and closes the
 *      store last.
 */
import { readFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { apiLimits, createApi, createEventHub, loopbackHosts, problemResponse } from 'settle/api';
import type { EventHub } from 'settle/api';
import { openCoordinator, type EmbeddedCoordinator, type EngineEvent } from 'settle/engine';
import { blockPrivateAddresses, type PooledExchange } from 'settle/http';
import { toProblem } from 'settle/wire';
import type { Config } from './config.ts';
import { listen, type HttpServer } from './http.ts';
import type { Log } from './log.ts';
import { messageOf } from './message-of.ts';
import { openStore } from './stores.ts';
import { undiciExchange } from './undici-exchange.ts';

export interface SettleServer {
  readonly url: string;
  readonly port: number;
  /** The same verbs, without the network. */
  readonly coordinator: EmbeddedCoordinator;
  stop(): Promise<void>;
}

/** Milliseconds that answers to what was asked before the stop have to reach their callers. */
const lastAnswersMs = 1_000;

/** Starts. Rejects with a store's error or a `ListenError`, having closed what it had opened. */
export async function startServer(config: Config, log: Log): Promise<SettleServer> {
  const store = await openStore(config.store);
  const exchange = exchangeOf(config);
  const hub = createEventHub();
  const coordinator = await opened(exchange, openOptions(config, log, hub, store, exchange));
  try {
    const http = await listen({ ...httpOptions(config, log), answer: apiOf(config, log, hub, coordinator) });
    const stop = (): Promise<void> => stopAll(http, hub, coordinator, exchange);
    return { url: http.url, port: http.port, coordinator, stop };
  } catch (error) {
    await coordinator.close();
    await exchange.close();
    throw error;
  }
}

/** V2 */
async function stopAll(
  http: HttpServer,
  hub: EventHub,
  coordinator: EmbeddedCoordinator,
  exchange: PooledExchange,
): Promise<void> {
  http.stopAccepting();
  hub.close();
  await coordinator.close();
  // Nothing can change any more, so nobody needs to wait for a change.
  await http.close(lastAnswersMs);
  await exchange.close();
}

type OpenOptions = Parameters<typeof openCoordinator>[0];

async function opened(exchange: PooledExchange, options: OpenOptions): Promise<EmbeddedCoordinator> {
  try {
    return await openCoordinator(options);
  } catch (error) {
    await exchange.close();
    throw error;
  }
}

function openOptions(
  config: Config,
  log: Log,
  hub: EventHub,
  store: OpenOptions['store'],
  exchange: PooledExchange,
): OpenOptions {
  const { allow, secrets } = config;
  return {
    store,
    exchange,
    allow,
    secrets,
    coordinator: `${hostname()}:${process.pid}`,
    cluster: config.cluster,
    limits: {
      callTimeoutMs: config.callTimeoutMs,
      callsPerDestinationMax: config.callsPerDestinationMax,
      transactionsMax: config.transactionsMax,
      writesWaitingMax: config.writesWaitingMax,
      leaseMs: config.leaseMs,
      drainMs: config.drainMs,
      retentionMs: config.retentionMs,
      retentionMax: config.retentionMax,
    },
    observe(event) {
      hub.observe(event);
      logEvent(log, event);
    },
  };
}

function exchangeOf({ privateAddresses, allow, callsPerDestinationMax }: Config): PooledExchange {
  const connectionsPerOriginMax = Math.min(callsPerDestinationMax, connectionsPerOriginDefault);
  if (privateAddresses === 'allow') return undiciExchange({ connectionsPerOriginMax });
  const open = allow.includes('loopback') ? loopbackRanges : [];
  return undiciExchange({ connectionsPerOriginMax, guard: blockPrivateAddresses(open) });
}

const connectionsPerOriginDefault = 256;
const loopbackRanges = ['127.0.0.0/8', '::1/128'];

function apiOf(
  config: Config,
  log: Log,
  hub: EventHub,
  { engine }: EmbeddedCoordinator,
): ReturnType<typeof createApi> {
  return createApi({
    coordinator: engine,
    keys: config.apiKeys,
    hosts: hostsOf(config),
    origins: config.allowedOrigins,
    events: hub,
    readiness: () => engine.readiness(),
    version: releaseVersion(),
    onError: (error, id) => log.error('internal', { id, error: describe(error) }),
  });
}

/** On every address there is no list of names; then an API key is needed, which no page can send unasked. */
function hostsOf({ host, allowedHosts }: Config): readonly string[] | 'any' {
  if (allowedHosts.length === 0 && (host === '0.0.0.0' || host === '::')) return 'any';
  return [...loopbackHosts, host.includes(':') ? `[${host}]` : host, ...allowedHosts];
}

function httpOptions(config: Config, log: Log): Omit<Parameters<typeof listen>[0], 'answer'> {
  const { host, port, connectionsMax, headersTimeoutMs, requestTimeoutMs, keepAliveMs } = config;
  return {
    host,
    port,
    limits: {
      bodyMax: apiLimits.bodyBytesMax,
      connectionsMax,
      headersTimeoutMs,
      requestTimeoutMs,
      keepAliveMs,
    },
    refuse: (error) => problemResponse(toProblem(error)),
    onFailure: (error) => log.error('internal', { error: describe(error) }),
  };
}

function logEvent(log: Log, event: EngineEvent): void {
  switch (event.kind) {
    case 'alarm':
      return log.error('alarm', { code: event.code, gid: event.gid, message: event.message });
    case 'circuit':
      return log.info('circuit', { destination: event.destination, state: event.state });
    case 'call': {
      const { gid, branch, op, attempt, outcome, detail, durationMs } = event;
      return log.debug('call', { gid, branch, op, attempt, outcome, detail, ms: Math.round(durationMs) });
    }
    case 'transaction':
      return log.debug('transaction', { gid: event.gid, status: event.status, stuck: event.stuck });
    case 'commit':
      return;
  }
}

function describe(error: unknown): string {
  return error instanceof Error && error.stack !== undefined ? error.stack : messageOf(error);
}

/** The version of this package. */
export function releaseVersion(): string {
  const manifest: unknown = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8'));
  return typeof manifest === 'object' && manifest !== null && 'version' in manifest
    ? String(manifest.version)
    : '0.0.0';
}
