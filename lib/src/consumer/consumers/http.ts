/** `settle/consumer/http`: takes messages by HTTP, as Standard Webhooks (https://www.standardwebhooks.com). */
import { headerStyles, percentDecoded, versionHeader } from '../../outbox/broker-headers.ts';
import { SettleError } from '../../util/errors.ts';
import {
  headerValue,
  type IncomingHeaders,
  webhookIdHeader,
  webhookSignatureHeader,
  webhookTimestampHeader,
} from '../../wire/headers.ts';
import { problemMediaType, toProblem } from '../../wire/problem.ts';
import { parseSecret, signatureToleranceMsDefault, verify } from '../../wire/signature.ts';
import type { Handled, HandleMessage, IncomingMessage } from '../incoming.ts';
import { handleSafely } from '../keep-consuming.ts';
import { concurrencyDefault, drainTimeoutMsDefault, KeyedQueue } from '../keyed-queue.ts';
import { type Identity, readIncoming, toldBy } from '../read-incoming.ts';

export interface WebhookConsumerOptions {
  /**
   * `whsec_…`, any of which a message may be signed with; give both while changing from one to the next. `none`: nothing is
   * verified, and only those who may send should reach this address.
   */
  readonly secrets: readonly string[] | 'none';
  /** What `createConsumer` of `settle/consumer` gives. */
  readonly handle: HandleMessage;
  /** Messages handled at a time. Default 16. */
  readonly concurrency?: number;
  /** Messages handled and waiting for their turn; more are turned away with 503. Default: 16 for each that is handled. */
  readonly requestsMax?: number;
  /** Bytes of a payload. Default 262,144. */
  readonly bodyBytesMax?: number;
  /** How far a signature's time may be from now, in milliseconds: so long can a message be replayed. Default 300,000. */
  readonly toleranceMs?: number;
  /** After how many milliseconds what was not handled may come again. Default 5,000. */
  readonly retryAfterMs?: number;
  /** Who a message of somebody else is: what this gives goes before what the request says itself. Default: nothing. */
  readonly identify?: (request: WebhookRequest & { readonly payload: string }) => Partial<Identity>;
  /** Milliseconds since 1970, for the age of signatures. Default: the system's clock. */
  readonly now?: () => number;
}

/** The same as handlers of participants take, so that their glue fits: `settle/participant/node`, `/express` and so on. */
export interface WebhookRequest {
  readonly method: string;
  readonly path: string;
  /** Names in lower case. */
  readonly headers: IncomingHeaders;
  /** As it came, byte for byte: the signature covers it. */
  readonly body: string | Uint8Array;
}

export interface WebhookResponse {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
}

/** Answers a request. Never rejects. */
export interface WebhookConsumer {
  (request: WebhookRequest): Promise<WebhookResponse>;
  readonly bodyBytesMax: number;
  /** Turns away what comes from now on, with 503, and waits up to `timeoutMs` (default 10,000) for what is at work. */
  stop(timeoutMs?: number): Promise<void>;
}

export const webhookBodyBytesMaxDefault = 262_144;

/**
 * A handler of requests, each with one message: answers 204 once its transaction has committed or its dead letter is kept, now or
 * at an earlier request, and 503 with `Retry-After` when neither could be. Who sends may then send it again.
 *
 * Messages of one key are handled one after the other. They come in order only if who sends waits for the answer to each, as
 * `settle/relay/http` does.
 *
 * Throws `config_invalid` for secrets or limits that are none.
 *
 * ```ts
 * const webhook = webhookConsumer({ secrets: [secret], handle: stock.handle });
 * createServer(nodeHandler(webhook)).listen(8080);
 * ```
 */
export function webhookConsumer(options: WebhookConsumerOptions): WebhookConsumer {
  const { handle, concurrency = concurrencyDefault, retryAfterMs = 5_000, identify } = options;
  const { bodyBytesMax = webhookBodyBytesMaxDefault, requestsMax } = options;
  const checkSignature = verifier(options);
  const queue = new KeyedQueue<Item>({
    keyOf: ({ message }) => message.key,
    run: async ({ message, answer }, signal) => answer(await handleSafely(handle, message, signal)),
    concurrency,
    ...(requestsMax === undefined ? {} : { itemsMax: requestsMax }),
  });

  function read(request: WebhookRequest): IncomingMessage {
    if (request.method !== 'POST') {
      throw new SettleError('method_not_allowed', `a message is sent with POST, not ${request.method}`);
    }
    const payload = textOf(request.body, bodyBytesMax);
    checkSignature(request.headers, payload);
    const message = messageOf(request, payload, toldBy(identify, { ...request, payload }));
    if (message.id !== '') return message;
    throw new SettleError('invalid_request', 'the header webhook-id is missing', {
      next: 'Send an id that is the same whenever the message is sent',
    });
  }

  async function answer(request: WebhookRequest): Promise<WebhookResponse> {
    let message: IncomingMessage;
    try {
      message = read(request);
    } catch (error) {
      return refusal(error);
    }
    if (queue.free < 1) return tryLater(retryAfterMs);
    const { promise, resolve } = Promise.withResolvers<Handled>();
    queue.push({ message, answer: resolve });
    const { kind } = await promise;
    return kind === 'not-handled' ? tryLater(retryAfterMs) : { status: 204, headers: {}, body: '' };
  }

  async function stop(timeoutMs: number = drainTimeoutMsDefault): Promise<void> {
    turnAway(queue.withdraw(() => true));
    const { running } = await queue.drain(timeoutMs);
    turnAway(running);
  }

  return Object.assign(answer, { bodyBytesMax, stop });
}

interface Item {
  readonly message: IncomingMessage;
  readonly answer: (handled: Handled) => void;
}

function turnAway(items: readonly Item[]): void {
  for (const { answer } of items) answer({ kind: 'not-handled', reason: 'the consumer is stopping' });
}

function verifier({
  secrets,
  now = Date.now,
  toleranceMs = signatureToleranceMsDefault,
}: WebhookConsumerOptions): (headers: IncomingHeaders, body: string) => void {
  if (secrets === 'none') return () => undefined;
  const parsed = secrets.map(parseSecret);
  if (parsed.length === 0) {
    throw new SettleError('config_invalid', 'there are no secrets to verify messages with', {
      next: "Give one, or 'none' where nobody else can reach this address",
    });
  }
  return (headers, body) => {
    const id = headerValue(headers, webhookIdHeader);
    const timestamp = headerValue(headers, webhookTimestampHeader);
    const signature = headerValue(headers, webhookSignatureHeader);
    const received = { id, timestamp, signature, body };
    if (verify(parsed, received, { nowMs: now(), toleranceMs }).kind === 'valid') return;
    throw new SettleError('signature_invalid', 'the message is not signed with a secret of this receiver');
  };
}

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

function textOf(body: string | Uint8Array, bytesMax: number): string {
  const bytes = typeof body === 'string' ? Buffer.byteLength(body) : body.byteLength;
  if (bytes > bytesMax) {
    throw new SettleError('body_too_large', `the payload is larger than ${bytesMax} bytes`);
  }
  if (typeof body === 'string') return body;
  try {
    return utf8.decode(body);
  } catch (cause) {
    throw new SettleError('invalid_request', 'the payload is not UTF-8', { cause });
  }
}

function messageOf(
  { headers: came, path }: WebhookRequest,
  payload: string,
  told: Partial<Identity>,
): IncomingMessage {
  const headers = textHeaders(came);
  const webhookId = headers[webhookIdHeader];
  // What we sent is encoded where a header could not carry it; others mean what they write.
  const { cloudEventsPrefix } = headerStyles.http;
  const isOurs = versionHeader in headers || `${cloudEventsPrefix}specversion` in headers;
  const id = webhookId !== undefined && isOurs ? percentDecoded(webhookId) : webhookId;
  return readIncoming(
    headerStyles.http,
    {
      payload,
      headers,
      own: { id, contentType: headers['content-type'] },
      source: path,
      ref: webhookId ?? '',
    },
    { told, fallbackId: () => '' },
  );
}

/** A message is kept when it dies: nothing that would let its reader in elsewhere. */
const secretHeaders: ReadonlySet<string> = new Set([
  'authorization',
  'proxy-authorization',
  'cookie',
  webhookSignatureHeader,
]);

function textHeaders(headers: IncomingHeaders): Record<string, string> {
  const texts: Record<string, string> = {};
  for (const [name, value] of Object.entries(headers)) {
    if (value === undefined || secretHeaders.has(name)) continue;
    texts[name] = typeof value === 'string' ? value : value.join(', ');
  }
  return texts;
}

function tryLater(retryAfterMs: number): WebhookResponse {
  const seconds = String(Math.max(1, Math.ceil(retryAfterMs / 1_000)));
  const response = refusal(new SettleError('unavailable', 'the message could not be handled now'));
  return { ...response, headers: { ...response.headers, 'retry-after': seconds } };
}

function refusal(error: unknown): WebhookResponse {
  const known =
    error instanceof SettleError ? error : new SettleError('internal', 'the message could not be read');
  const problem = toProblem(known);
  return {
    status: problem.status,
    headers: {
      'content-type': problemMediaType,
      ...(known.code === 'method_not_allowed' ? { allow: 'POST' } : {}),
    },
    body: JSON.stringify(problem),
  };
}
