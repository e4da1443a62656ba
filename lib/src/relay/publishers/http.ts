/** `settle/relay/http`: publishes by HTTP, as Standard Webhooks (https://www.standardwebhooks.com). */
import type { HttpExchange, HttpReply } from '../../http/exchange.ts';
import { headerStyles, percentEncoded } from '../../outbox/broker-headers.ts';
import { messageOf, SettleError } from '../../util/errors.ts';
import { parsePlainUrl, whyNotPlainUrl } from '../../util/plain-url.ts';
import { webhookIdHeader, webhookSignatureHeader, webhookTimestampHeader } from '../../wire/headers.ts';
import { readRetryAfter } from '../../wire/retry-after.ts';
import { parseSecret, sign } from '../../wire/signature.ts';
import type { OutgoingMessage, Publisher, PublishResult } from '../publisher.ts';
import { envelope, type EnvelopeOptions } from './envelope.ts';
import { manyAtOnce } from './many-at-once.ts';

export interface HttpPublisherOptions extends EnvelopeOptions {
  /** What destinations begin with. Default: `http`. */
  readonly name?: string;
  /**
   * How requests travel: `nodeExchange()` of `settle/http`. Where customers choose the URLs, give it the guard
   * `blockPrivateAddresses()`, or they choose what your network answers.
   */
  readonly exchange: HttpExchange;
  /** Where an address leads: `partner` of the destination `http:partner`. An address that leads nowhere is `retriable`. */
  readonly endpoints:
    | Readonly<Record<string, HttpEndpoint>>
    | ((address: string) => HttpEndpoint | undefined | PromiseLike<HttpEndpoint | undefined>);
  /** For one request with its answer. Default 15,000. */
  readonly timeoutMs?: number;
  /** Requests under way at a time. Default 64. */
  readonly concurrency?: number;
  /** Bytes of an answer, which nobody reads; with more, the outcome is unknown. Default 65,536. */
  readonly responseBytesMax?: number;
  /** Milliseconds since 1970, for signatures. Default: the system's clock. */
  readonly now?: () => number;
}

export interface HttpEndpoint {
  readonly url: string;
  /** `whsec_…`, each of which signs: give both while changing from one to the next. Default: none, and nothing is signed. */
  readonly secrets?: readonly string[];
  /** Sent with each message, such as `authorization`; names in lower case. Default: none. */
  readonly headers?: Readonly<Record<string, string>>;
}

/** A receiver may ask to be left alone for so long at most. */
const retryAfterMsMax = 3_600_000;

/**
 * Publishes each message as one POST of its payload, with `webhook-id` (the message's, equal on every attempt),
 * `webhook-timestamp` and `webhook-signature`. Messages of a batch travel side by side.
 *
 * Only an answer 2xx is `published`: what the receiver does with it before and after is its own matter, and `settle/consumer/http`
 * answers so only once its transaction has committed. `429`, `503` and `401` make the destination `unavailable`, as does a receiver
 * that cannot be reached; `410` (nobody wants this any more) is poison; every other 3xx and 4xx is `retriable`, since the receiver can
 * be mended, and becomes a dead letter when attempts are used up; the other 5xx, a timeout and a broken answer are `unknown`. No
 * redirect is followed.
 *
 * Throws `config_invalid` for URLs, secrets or limits that are none.
 */
export function httpPublisher(options: HttpPublisherOptions): Publisher {
  const { name = 'http', endpoints, exchange, now = Date.now } = options;
  const { timeoutMs = 15_000, concurrency = 64, responseBytesMax = 65_536 } = options;
  for (const [option, value] of Object.entries({ timeoutMs, concurrency, responseBytesMax })) {
    if (Number.isSafeInteger(value) && value >= 1) continue;
    throw new SettleError('config_invalid', `${option} is ${value}, not a whole number from 1 on`);
  }
  if (typeof endpoints !== 'function') {
    for (const [address, { url, secrets = [] }] of Object.entries(endpoints)) {
      const reason = whyNotPlainUrl(url);
      if (reason !== undefined) {
        throw new SettleError('config_invalid', `the URL of ${JSON.stringify(address)} ${reason}`);
      }
      secrets.forEach(parseSecret);
    }
  }
  const headersOf = envelope(headerStyles.http, options);

  async function endpointOf(address: string): Promise<HttpEndpoint | undefined> {
    if (typeof endpoints === 'function') return endpoints(address);
    return Object.hasOwn(endpoints, address) ? endpoints[address] : undefined;
  }

  function print(message: OutgoingMessage, endpoint: HttpEndpoint): Record<string, string> {
    const { id, payload, contentType } = message;
    const headers: Record<string, string> = { ...endpoint.headers };
    for (const [header, value] of Object.entries(headersOf(message))) {
      if (!notForSenders.test(header)) headers[header] = printable(value);
    }
    const webhookId = webhookIdOf(id);
    headers['content-type'] = contentType;
    headers[webhookIdHeader] = webhookId;
    const { secrets = [] } = endpoint;
    if (secrets.length > 0) {
      const timestamp = String(Math.floor(now() / 1_000));
      const signed = { id: webhookId, timestamp, body: payload };
      headers[webhookTimestampHeader] = timestamp;
      headers[webhookSignatureHeader] = sign(secrets.map(parseSecret), signed);
    }
    return headers;
  }

  async function post(message: OutgoingMessage, signal: AbortSignal): Promise<PublishResult> {
    try {
      const { address, payload } = message;
      const endpoint = await endpointOf(address);
      if (endpoint === undefined) return retriable(`no endpoint is named ${JSON.stringify(address)}`);
      const url = parsePlainUrl(endpoint.url);
      if (url.kind === 'rejected') return retriable(`the URL of ${JSON.stringify(address)} ${url.reason}`);
      const { origin, path } = url;
      const headers = print(message, endpoint);
      const limits = { timeoutMs, maxResponseBytes: responseBytesMax };
      const reply = await exchange(
        { origin, path, method: 'POST', headers, body: payload, ...limits },
        signal,
      );
      return resultOf(reply, now());
    } catch (error) {
      // An exchange never rejects (H1): what comes here is a bad secret, or of the function that was given.
      return retriable(`where ${JSON.stringify(message.address)} is could not be told: ${messageOf(error)}`);
    }
  }

  return {
    name,
    order: 'each-alone',
    publish(batch, signal) {
      /** What was said of an address in this batch: it is not asked again. */
      const unavailable = new Map<string, PublishResult>();
      return manyAtOnce(batch, concurrency, async (message) => {
        const known = signal.aborted ? stopped : unavailable.get(message.address);
        if (known !== undefined) return known;
        const result = await post(message, signal);
        if (result.kind === 'unavailable') unavailable.set(message.address, result);
        return result;
      });
    },
  };
}

/**
 * The `webhook-id` of a message: its id, save what a header cannot carry, and dots, which stand between the parts of what is
 * signed.
 */
function webhookIdOf(id: string): string {
  return percentEncoded(id).replaceAll('.', '%2E');
}

/** What senders may not set: it belongs to the connection, to the signature, or tells how the body is read. */
const notForSenders =
  /^(?:host|connection|keep-alive|content-(?:length|type|encoding)|transfer-encoding|te|trailer|upgrade|expect|proxy-.*|webhook-.*)$/;

/** Header values are ASCII; what is not is written as CloudEvents does. */
function printable(value: string): string {
  return /^[\x20-\x7e]*$/.test(value) ? value : percentEncoded(value);
}

const stopped: PublishResult = { kind: 'unavailable', reason: 'publishing was stopped before it was sent' };

function resultOf(reply: HttpReply, nowMs: number): PublishResult {
  if (reply.kind === 'failed') return resultOfFailure(reply);
  const { status, headers } = reply;
  const reason = `answered ${status}`;
  if (status >= 200 && status <= 299) return { kind: 'published' };
  switch (status) {
    case 401:
      return { kind: 'unavailable', reason: `${reason}: it does not take our signature or credentials` };
    case 429:
    case 503: {
      const retryAfterMs = readRetryAfter(headers, nowMs);
      if (retryAfterMs === undefined) return { kind: 'unavailable', reason };
      return {
        kind: 'unavailable',
        reason,
        retryAfterMs: Math.min(Math.max(retryAfterMs, 0), retryAfterMsMax),
      };
    }
    case 410:
      return { kind: 'poison', reason: `${reason}: it wants no more messages` };
    case 408:
      return { kind: 'unknown', reason };
    default:
      if (status >= 300 && status <= 399) return retriable(`${reason}: redirects are not followed`);
      return status >= 500 ? { kind: 'unknown', reason } : retriable(reason);
  }
}

function resultOfFailure({ failure, sent, detail }: Extract<HttpReply, { kind: 'failed' }>): PublishResult {
  const reason = `${failure}: ${detail}`;
  if (failure === 'blocked-address') return retriable(reason);
  // A handshake comes before the request.
  return { kind: sent && failure !== 'tls' ? 'unknown' : 'unavailable', reason };
}

function retriable(reason: string): PublishResult {
  return { kind: 'retriable', reason };
}
