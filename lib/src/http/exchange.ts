/**
 * One HTTP request and its complete answer, or why there is none: the port that branch calls and the client speak.
 *
 * - H1 It never rejects. Whatever goes wrong is a reply of kind `failed`.
 * - H2 `timeoutMs` covers the whole exchange: name, connection, request, and the answer to its last byte.
 * - H3 The answer's body is held to `maxResponseBytes` while it is read, never decompressed, and complete: a body that
 *   ends early, or whose end cannot be told from a cut, is a failure.
 * - H4 No redirect is followed and nothing is ever sent twice: a reset, on a reused connection too, is a failure.
 */

export type HttpExchange = (request: HttpRequest, signal: AbortSignal) => Promise<HttpReply>;

/** An exchange that keeps connections open between requests, until it is closed. */
export interface PooledExchange extends HttpExchange {
  /** Ends what is under way (as `aborted`) and closes every connection. */
  close(): Promise<void>;
}

export interface HttpRequest {
  /** Scheme, host and port, as `URL.origin` gives it. */
  readonly origin: string;
  /** Path and query, starting with `/`. */
  readonly path: string;
  readonly method: HttpMethod;
  /** Names in lower case. Length and host are filled in by the exchange. */
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string | undefined;
  readonly timeoutMs: number;
  readonly maxResponseBytes: number;
}

export type HttpMethod = 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';

export type HttpReply =
  | {
      readonly kind: 'response';
      readonly status: number;
      readonly headers: ResponseHeaders;
      readonly body: string;
    }
  | {
      readonly kind: 'failed';
      readonly failure: HttpFailure;
      /** Whether any byte of the request may have left. False proves that nothing happened. */
      readonly sent: boolean;
      /** For logs and people. */
      readonly detail: string;
    };

/** Names in lower case. A header that came several times may be a list. */
export type ResponseHeaders = Readonly<Record<string, string | readonly string[] | undefined>>;

export const httpFailures = [
  'timeout',
  'aborted',
  'refused-connection',
  'unreachable',
  'blocked-address',
  'dns',
  'tls',
  'reset',
  /** What came is not an HTTP answer in text, or is encoded although no encoding was accepted. */
  'malformed',
  'too-large',
  'truncated',
  'other',
] as const;

export type HttpFailure = (typeof httpFailures)[number];

/** Every request asks for this; an answer that comes encoded all the same is `malformed`. */
export const acceptedEncoding = 'identity';
