/**
 * Answers branch calls by the participant protocol (docs/reference/participant-protocol.md): reads and verifies the call,
 * has it done, and says what came of it in the one way the coordinator understands.
 *
 * - N1 200 and 204 mean that the work fulfilled; 409 that it threw `Refused`; 425 that it threw `Ongoing`. Nothing else
 *   is ever answered with these, so an error of ours cannot be taken for a business no.
 * - N2 With secrets, nothing is done for a call whose signature does not cover this very gid, branch, op and body.
 * - N3 What went wrong inside is for the log; outside there is an id to find it by.
 */
import { isOngoing, isRefused } from '../define/answers.ts';
import type { BranchName, Gid } from '../core/ids.ts';
import type { Op } from '../core/outcome.ts';
import { isSettleError, SettleError } from '../util/errors.ts';
import type { Json } from '../util/json.ts';
import {
  barrierHeader,
  barrierStored,
  headerValue,
  readCallHeaders,
  webhookId,
  webhookIdHeader,
  webhookSignatureHeader,
  webhookTimestampHeader,
  type CallHeaders,
} from '../wire/headers.ts';
import { jsonDepthMax, parseJson } from '../wire/json.ts';
import { problemMediaType, toProblem } from '../wire/problem.ts';
import { parseSecret, signatureToleranceMsDefault, verify } from '../wire/signature.ts';
import { isKept } from './kept-answers.ts';
import type { Handler, HandlerRequest, HandlerResponse } from './message.ts';

/** One call of one operation, verified and read. */
export interface ParticipantCall {
  readonly gid: Gid;
  readonly branch: BranchName;
  readonly op: Op;
  /** Counts from 1. Above 1 an earlier attempt may have happened. */
  readonly attempt: number;
  readonly payload: Json | undefined;
  /** Aborts when the coordinator has gone; what was done until then counts all the same. */
  readonly signal: AbortSignal;
}

/** What it gives back is the branch's result; nothing, and the branch is done without one. */
export type Work = (call: ParticipantCall) => WorkResult | PromiseLike<WorkResult>;

export type WorkResult = Json | undefined | void;

export interface HandlerOptions {
  /**
   * `whsec_…` secrets, any of which a call may be signed with; give both while changing from one to the next.
   * Default: none, and calls are not verified: then only those who may call should reach this address.
   */
  readonly secrets?: readonly string[];
  /** How far a signature's time may be from now, in milliseconds. Default 300,000. */
  readonly toleranceMs?: number;
  /** Milliseconds since 1970, for the age of signatures. Default: the system's clock. */
  readonly now?: () => number;
  /** Bytes of a payload. Default 262,144. */
  readonly bodyBytesMax?: number;
  /** Told of every error that is answered with 5xx, with the id that was answered. Default: `console.error`. */
  readonly onError?: (error: unknown, about: { readonly id: string; readonly call: ParticipantCall }) => void;
}

export const bodyBytesMaxDefault = 262_144;

/**
 * Serves the operations of branches: one function for all of them, or one by operation.
 *
 * The work may throw `Refused` (409) or `Ongoing` (425); whatever else it throws is answered with 500 and asked again.
 * It is called at least once for each operation: let a barrier make that exactly once.
 * Throws `config_invalid` for a secret that cannot be read.
 *
 * ```ts
 * const release = handler((call) => guard.run(call, (db) => giveBack(db, call.payload)));
 * createServer(nodeHandler(release)).listen(8080);
 * ```
 */
export function handler(
  work: Work | Readonly<Partial<Record<Op, Work>>>,
  options: HandlerOptions = {},
): Handler {
  const workFor: WorkFor = typeof work === 'function' ? () => found(work) : ({ op }) => found(work[op]);
  return answering(workFor, options);
}

/** Which work a call asks for. */
export type WorkFor = (call: CallHeaders, path: string) => Found;

export type Found =
  | {
      readonly kind: 'work';
      readonly work: Work;
      /** A repeat gives the same answer, without a barrier. */
      readonly idempotent: boolean;
    }
  | { readonly kind: 'none' };

function found(work: Work | undefined): Found {
  return work === undefined ? { kind: 'none' } : { kind: 'work', work, idempotent: false };
}

export function answering(workFor: WorkFor, options: HandlerOptions): Handler {
  const { bodyBytesMax = bodyBytesMaxDefault, onError = logError } = options;
  const check = verifier(options);

  async function answer(request: HandlerRequest): Promise<HandlerResponse> {
    let call: ParticipantCall;
    let asked: Found;
    try {
      const headers = readHead(request);
      const body = readBody(request.body, bodyBytesMax);
      check(headers, request, body);
      asked = workFor(headers, request.path);
      call = callOf(headers, request, body, bodyBytesMax);
    } catch (error) {
      return problemOf(error);
    }
    if (asked.kind === 'none') return problemOf(notServed(call));
    try {
      const result = await asked.work(call);
      const kept = asked.idempotent || isKept(call, { kind: 'returned', result });
      return result === undefined ? reply(204, '', kept) : reply(200, JSON.stringify(result), kept);
    } catch (error) {
      const kept = asked.idempotent || isKept(call, { kind: 'thrown', error });
      if (isRefused(error)) return reply(409, JSON.stringify({ reason: error.reason }), kept);
      if (isOngoing(error)) return ongoing(error.retryAfterMs);
      const id = crypto.randomUUID();
      onError(error, { id, call });
      return failure(error, id);
    }
  }

  return Object.assign(answer, { bodyBytesMax });
}

function readHead({ method, headers }: HandlerRequest): CallHeaders {
  if (method !== 'POST') {
    throw new SettleError('method_not_allowed', `a branch is called with POST, not ${method}`);
  }
  const read = readCallHeaders(headers);
  if (read.kind === 'call') return read.call;
  throw new SettleError('invalid_request', `the header ${read.header} ${read.reason}`, {
    issues: [{ path: `/headers/${read.header}`, message: read.reason }],
    next: 'This address takes branch calls of a Settle coordinator',
  });
}

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

function readBody(body: string | Uint8Array, bodyBytesMax: number): string {
  const bytes = typeof body === 'string' ? undefined : body.byteLength;
  // A UTF-16 unit takes at least one byte; a text that may be too long by bytes is counted where it is parsed.
  if ((bytes ?? body.length) > bodyBytesMax) {
    throw new SettleError('body_too_large', `the payload is larger than ${bodyBytesMax} bytes`);
  }
  if (typeof body === 'string') return body;
  try {
    return utf8.decode(body);
  } catch (cause) {
    throw new SettleError('invalid_request', 'the payload is not UTF-8', { cause });
  }
}

/** N2 */
function verifier(
  options: HandlerOptions,
): (call: CallHeaders, request: HandlerRequest, body: string) => void {
  const { now = Date.now, toleranceMs = signatureToleranceMsDefault } = options;
  const secrets = (options.secrets ?? []).map(parseSecret);
  if (secrets.length === 0) return () => undefined;
  return (call, { headers }, body) => {
    const id = headerValue(headers, webhookIdHeader);
    const timestamp = headerValue(headers, webhookTimestampHeader);
    const signature = headerValue(headers, webhookSignatureHeader);
    const verification = verify(secrets, { id, timestamp, signature, body }, { nowMs: now(), toleranceMs });
    // The signature covers the id; the id has to be the one of this call, or a valid one could be moved to another.
    if (verification.kind === 'valid' && id === webhookId(call)) return;
    throw new SettleError('signature_invalid', 'the call is not signed with a secret of this participant', {
      gid: call.gid,
    });
  };
}

function callOf(
  headers: CallHeaders,
  request: HandlerRequest,
  body: string,
  bytesMax: number,
): ParticipantCall {
  const { signal = neverAborts } = request;
  if (body === '') return { ...headers, payload: undefined, signal };
  const contentType = headerValue(request.headers, 'content-type') ?? '';
  if (!/^application\/json[ \t]*(;|$)/i.test(contentType)) {
    throw new SettleError('unsupported_media_type', 'the payload is not declared as application/json');
  }
  return { ...headers, payload: parseJson(body, { bytesMax, depthMax: jsonDepthMax }), signal };
}

const neverAborts = new AbortController().signal;

function notServed({ gid, branch, op }: ParticipantCall): SettleError {
  return new SettleError('function_not_registered', `nothing here does ${op} for the branch ${branch}`, {
    gid,
    next: 'Serve the operation at this address, or correct the address in the definition',
  });
}

function reply(status: number, body: string, kept: boolean): HandlerResponse {
  return {
    status,
    headers: {
      ...(body === '' ? {} : { 'content-type': 'application/json' }),
      ...(kept ? { [barrierHeader]: barrierStored } : {}),
    },
    body,
  };
}

function ongoing(retryAfterMs: number | undefined): HandlerResponse {
  const seconds = retryAfterMs === undefined ? undefined : Math.max(1, Math.ceil(retryAfterMs / 1_000));
  return {
    status: 425,
    headers: seconds === undefined ? {} : { 'retry-after': String(seconds) },
    body: '',
  };
}

/** A call that cannot be answered as it is. Never 409 or 425 (N1). */
function problemOf(error: unknown): HandlerResponse {
  if (!isSettleError(error)) return failure(error, crypto.randomUUID());
  const problem = toProblem(error);
  return {
    status: problem.status,
    headers: {
      'content-type': problemMediaType,
      ...(error.code === 'method_not_allowed' ? { allow: 'POST' } : {}),
    },
    body: JSON.stringify(problem),
  };
}

/** N3 */
function failure(error: unknown, id: string): HandlerResponse {
  const busy = isSettleError(error) && (error.code === 'unavailable' || error.code === 'overloaded');
  const known = isSettleError(error) ? error.code : 'internal';
  const status = busy ? 503 : 500;
  const body = { type: `urn:settle:error:${known}`, title: 'The call failed', status, code: known, id };
  return {
    status,
    headers: { 'content-type': problemMediaType, ...(busy ? { 'retry-after': '1' } : {}) },
    body: JSON.stringify(body),
  };
}

function logError(
  error: unknown,
  { id, call }: { readonly id: string; readonly call: ParticipantCall },
): void {
  console.error(`settle: ${call.op} of ${call.branch} (${call.gid}) failed, ${id}:`, error);
}
