/**
 * The `Coordinator` over HTTP: prints requests, reads answers, repeats what got none.
 *
 * - C1 A submit carries its gid from the first attempt on, so that a repeat is the same transaction.
 * - C2 Only what is harmless to repeat is repeated after it may have arrived; an operator's action is repeated only when
 *      it surely did not.
 * - C3 Whatever is not an answer of a coordinator is an error that says so, never a made-up state.
 */
import type {
  ActionRequest,
  SubmitOutcome,
  SubmitRequest,
  TransactionPage,
  TransactionQuery,
  WaitOptions,
} from '../core/coordinator.ts';
import type { Gid } from '../core/ids.ts';
import type { TransactionView } from '../core/patterns.ts';
import type { TccBranchDefinition } from '../core/tcc-plan.ts';
import type { HttpExchange, HttpFailure, HttpReply, ResponseHeaders } from '../http/exchange.ts';
import { SettleError } from '../util/errors.ts';
import { isJsonObject, type JsonObject } from '../util/json.ts';
import { fromProblem } from '../wire/problem.ts';
import { submitBody, tccBranchBody } from '../wire/requests.ts';
import { followEvents } from './follow-events.ts';
import { mayPass, patiently, type Attempt, type Patience } from './patience.ts';
import type { Transport } from './transport.ts';

export interface HttpTransportOptions {
  readonly url: URL;
  readonly apiKey: string | undefined;
  readonly exchange: HttpExchange;
  readonly fetch: typeof globalThis.fetch;
  readonly patience: Patience;
  readonly close: () => Promise<void>;
}

/** Milliseconds a request may take beyond the time it asks the coordinator to wait. */
export const requestTimeoutMs = 10_000;
/** A transaction with all its results and history is far below it. */
export const answerBytesMax = 64 * 1_024 * 1_024;

interface Ask {
  readonly method: 'GET' | 'POST';
  /** Below the base URL, with its query. */
  readonly path: string;
  readonly body?: unknown;
  readonly wait?: WaitOptions | undefined;
  /** A repeat is harmless even if the first one arrived. Default true. */
  readonly repeatable?: false;
}

export function httpTransport(options: HttpTransportOptions): Transport {
  const { url, exchange, patience } = options;
  const base = url.pathname.replace(/\/+$/, '');
  const authorization = options.apiKey === undefined ? {} : { authorization: `Bearer ${options.apiKey}` };
  const getHeaders = { accept: 'application/json', ...authorization };
  const postHeaders = { ...getHeaders, 'content-type': 'application/json' };
  const never = new AbortController().signal;

  function ask<T>(
    { method, path, body, wait = {}, repeatable }: Ask,
    read: (body: JsonObject) => T | undefined,
  ): Promise<T> {
    const { waitMs = 0, signal } = wait;
    const request = {
      origin: url.origin,
      path: base + path,
      method,
      headers: method === 'GET' ? getHeaders : postHeaders,
      body: body === undefined ? undefined : JSON.stringify(body),
      timeoutMs: waitMs + requestTimeoutMs,
      maxResponseBytes: answerBytesMax,
    };
    return patiently(
      async () => attemptOf(await exchange(request, signal ?? never), url.origin, read, repeatable ?? true),
      patience,
      signal,
    );
  }

  const askTransaction = (request: Ask): Promise<TransactionView> => ask(request, asTransaction);

  return {
    submit: ({ signal, ...request }: SubmitRequest) =>
      askTransaction({
        method: 'POST',
        path: '/v1/transactions',
        body: submitBody(request),
        wait: waitOf(request, signal),
      }),
    submitMany: (requests) =>
      ask(
        {
          method: 'POST',
          path: '/v1/transactions/batch',
          body: { transactions: requests.map(submitBody) },
        },
        asOutcomes,
      ),
    register: (gid: Gid, branches: readonly TccBranchDefinition[], wait: WaitOptions = {}) =>
      askTransaction({
        method: 'POST',
        path: `/v1/transactions/${gid}/branches`,
        body: { branches: branches.map(tccBranchBody), ...waitMember(wait) },
        wait,
      }),
    commit: (gid, wait = {}) =>
      askTransaction({
        method: 'POST',
        path: `/v1/transactions/${gid}/commit`,
        body: waitMember(wait),
        wait,
      }),
    act: (gid, { actor: _actor, ...request }: ActionRequest, wait = {}) =>
      askTransaction({
        method: 'POST',
        path: `/v1/transactions/${gid}/actions`,
        body: { ...request, ...waitMember(wait) },
        wait,
        // C2. A repeated abort finds itself done.
        ...(request.action === 'abort' ? {} : { repeatable: false }),
      }),
    get: (gid, wait = {}) =>
      askTransaction({
        method: 'GET',
        path: `/v1/transactions/${gid}${wait.waitMs === undefined ? '' : `?waitMs=${wait.waitMs}`}`,
        wait,
      }),
    list: (query) => ask({ method: 'GET', path: `/v1/transactions${queryOf(query)}` }, asPage),
    follow: (query, signal) =>
      followEvents({
        url: `${url.origin}${base}/v1/events${queryOf({ ...query })}`,
        headers: authorization,
        fetch: options.fetch,
        signal,
      }),
    close: options.close,
  };
}

function waitOf({ waitMs }: WaitOptions, signal: AbortSignal | undefined): WaitOptions {
  return { ...(waitMs === undefined ? {} : { waitMs }), ...(signal === undefined ? {} : { signal }) };
}

function waitMember({ waitMs }: WaitOptions): { readonly waitMs?: number } {
  return waitMs === undefined ? {} : { waitMs };
}

function queryOf(query: TransactionQuery | Readonly<Record<string, unknown>>): string {
  const parameters = new URLSearchParams();
  for (const [key, value] of Object.entries(query)) {
    for (const one of Array.isArray(value) ? (value as unknown[]) : [value]) {
      if (one !== undefined) parameters.append(key, String(one));
    }
  }
  return parameters.size === 0 ? '' : `?${parameters.toString()}`;
}

/** C3 */
function attemptOf<T>(
  reply: HttpReply,
  origin: string,
  read: (body: JsonObject) => T | undefined,
  repeatable: boolean,
): Attempt<T> {
  if (reply.kind === 'failed') {
    const error = new SettleError('unavailable', `no answer from ${origin}: ${reply.detail}`, {
      next: reply.sent
        ? 'It may have arrived all the same: ask again with the same gid'
        : 'Nothing was sent; check that the coordinator runs there, and ask again',
    });
    return { kind: 'failed', error, again: isPassing(reply.failure) && (repeatable || !reply.sent) };
  }
  const body = parsed(reply.body);
  if (reply.status >= 200 && reply.status < 300) {
    const value = body === undefined ? undefined : read(body);
    if (value !== undefined) return { kind: 'answered', value };
    const error = new SettleError('unavailable', `${origin} gave an answer that no coordinator gives`, {
      next: 'Check the URL; something else may listen there',
    });
    return { kind: 'failed', error, again: false };
  }
  const error = fromProblem(reply.status, body, header(reply.headers, 'retry-after'));
  // Said before anything was done; `unavailable` may be said afterwards too.
  const untouched = error.code === 'overloaded' || error.code === 'shutting_down';
  return { kind: 'failed', error, again: mayPass(error) && (repeatable || untouched) };
}

function isPassing(failure: HttpFailure): boolean {
  switch (failure) {
    case 'timeout':
    case 'refused-connection':
    case 'unreachable':
    case 'dns':
    case 'reset':
    case 'truncated':
    case 'other':
      return true;
    case 'aborted':
    case 'blocked-address':
    case 'tls':
    case 'malformed':
    case 'too-large':
      return false;
  }
}

function parsed(text: string): JsonObject | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return isJsonObject(value) ? value : undefined;
  } catch {
    return undefined;
  }
}

function header(headers: ResponseHeaders, name: string): string | undefined {
  const value = headers[name];
  return typeof value === 'string' ? value : value?.[0];
}

// What marks an answer as that of a coordinator is checked; its members are the coordinator's word, as in process.

function asTransaction(body: JsonObject): TransactionView | undefined {
  const is =
    typeof body['gid'] === 'string' && typeof body['status'] === 'string' && Array.isArray(body['branches']);
  return is ? (body as unknown as TransactionView) : undefined;
}

function asPage(body: JsonObject): TransactionPage | undefined {
  return Array.isArray(body['items']) ? (body as unknown as TransactionPage) : undefined;
}

function asOutcomes(body: JsonObject): readonly SubmitOutcome[] | undefined {
  const outcomes = body['outcomes'];
  if (!Array.isArray(outcomes)) return undefined;
  return (outcomes as readonly JsonObject[]).map((outcome): SubmitOutcome => {
    if (outcome['kind'] === 'accepted') return outcome as unknown as SubmitOutcome;
    const { status } = isJsonObject(outcome['error']) ? outcome['error'] : {};
    return {
      kind: 'rejected',
      error: fromProblem(typeof status === 'number' ? status : 500, outcome['error']),
    };
  });
}
