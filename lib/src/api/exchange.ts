/** What goes into the API and comes out of it: plain objects, so that any HTTP server is a few lines of glue. */
import { problemMediaType, retryAfterSeconds, type Problem } from '../wire/problem.ts';

export interface ApiRequest {
  /** In capitals. */
  readonly method: string;
  /** Without the query, still escaped. */
  readonly path: string;
  /** Without the question mark; empty when there is none. */
  readonly query: string;
  /** Names in lower case, as node:http gives them. */
  readonly headers: Readonly<Record<string, string | readonly string[] | undefined>>;
  /** Empty when there is none. */
  readonly body: string | Uint8Array;
  /** Aborts when the client has gone: nobody waits for the answer any more. What was accepted stays accepted. */
  readonly signal?: AbortSignal;
}

export interface ApiResponse {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  /** A stream ends when its consumer returns, when the request's signal aborts, or when the hub closes. */
  readonly body: string | AsyncIterable<string>;
}

/** Answers every request; never rejects. */
export type Api = (request: ApiRequest) => Promise<ApiResponse>;

/** The one value of a header; undefined when it is absent or stands there more than once. */
export function headerOf(request: ApiRequest, name: string): string | undefined {
  const value = request.headers[name];
  return typeof value === 'string' ? value : undefined;
}

const common = { 'cache-control': 'no-store', 'x-content-type-options': 'nosniff' };
const jsonHeaders = { ...common, 'content-type': 'application/json' };
const problemHeaders = { ...common, 'content-type': problemMediaType };
const streamHeaders = { ...common, 'content-type': 'text/event-stream', 'x-accel-buffering': 'no' };

export function jsonResponse(status: number, text: string, location?: string): ApiResponse {
  return { status, headers: location === undefined ? jsonHeaders : { ...jsonHeaders, location }, body: text };
}

/** For servers too, which refuse what never reaches the API (a body too large, no connection left) in the same words. */
export function problemResponse(problem: Problem, more: Readonly<Record<string, string>> = {}): ApiResponse {
  const seconds = retryAfterSeconds(problem);
  const retry = seconds === undefined ? {} : { 'retry-after': String(seconds) };
  return {
    status: problem.status,
    headers: { ...problemHeaders, ...retry, ...more },
    body: JSON.stringify(problem),
  };
}

export function streamResponse(body: AsyncIterable<string>): ApiResponse {
  return { status: 200, headers: streamHeaders, body };
}
