import { servedAt } from '../define/functions.ts';
import type { HttpExchange } from '../http/exchange.ts';
import { SettleError } from '../util/errors.ts';
import { whyNotPlainUrl } from '../util/plain-url.ts';
import { httpTransport } from './http-transport.ts';
import { ownExchange } from './own-exchange.ts';
import { patienceDefault, type Patience } from './patience.ts';
import { settleOver, type Settle } from './settle.ts';

export interface ConnectOptions {
  /** Sent as `Authorization: Bearer`. Needed by every coordinator that listens on more than loopback. */
  readonly apiKey?: string;
  /**
   * Base URL of the participant whose handler serves definitions as code: `run(placeOrder, …)` asks
   * `<base>/place-order/<step>`. The coordinator calls it, so it is the address as the coordinator sees it.
   */
  readonly servedAt?: string;
  /** How requests travel. Default: Node's own http, with connections kept open. `close()` closes only the default. */
  readonly exchange?: HttpExchange;
  /** How the stream of events is read. Default: the global fetch. */
  readonly fetch?: typeof globalThis.fetch;
  /** How long a request without an answer is repeated. */
  readonly patience?: Partial<Patience>;
}

/**
 * Connects to a coordinator by its base URL. Nothing is sent yet; connections are opened as needed and kept.
 *
 * A request without an answer, and one refused as `overloaded` or `unavailable`, is repeated with growing pauses for
 * up to 15 s (`patience`) where a repeat is harmless, which it is for everything but an operator's `act`.
 * Throws `invalid_request` when the URL is none.
 *
 * ```ts
 * const settle = connect('http://127.0.0.1:36789', { apiKey: process.env.SETTLE_API_KEY });
 * ```
 */
export function connect(url: string, options: ConnectOptions = {}): Settle {
  const fault = whyNotPlainUrl(url);
  if (fault !== undefined) {
    throw new SettleError('invalid_request', `the URL of the coordinator ${fault}`, {
      next: 'Connect to something like http://127.0.0.1:36789',
    });
  }
  const { exchange, close } = ownExchange(options.exchange);
  const transport = httpTransport({
    url: new URL(url),
    apiKey: options.apiKey,
    exchange,
    fetch: options.fetch ?? globalThis.fetch,
    patience: { ...patienceDefault, ...options.patience },
    close,
  });
  return settleOver(transport, options.servedAt === undefined ? undefined : servedAt(options.servedAt));
}
