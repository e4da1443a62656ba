/**
 * What an answer, or the lack of one, says about a branch: the HTTP rows of the error classification, as one table.
 *
 * - C1 done only for 2xx whose body is absent, or whole, JSON by its content type, and not nested deeper than 16.
 * - C2 refused only for 409 in phase 1. Phase 2 follows a decision, and a participant may not refuse it.
 * - C3 Whatever is not in the table is unknown. The function answers for every input.
 * - C4 Waiting times a participant asks for are kept within limits.
 * - C5 Of a body, nothing but a result or the reason of a refusal is passed on.
 */
import type { Op, Outcome } from '../core/outcome.ts';
import { isJsonObject, type Json } from '../util/json.ts';
import { planted } from '../util/planted-bug.ts';
import { barrierHeader, barrierStored, headerValue, type IncomingHeaders } from './headers.ts';
import { jsonDepthMax, parseJson, type JsonLimits } from './json.ts';
import { readRetryAfter } from './retry-after.ts';

/** What an exchange came back with. */
export type RawReply =
  | {
      readonly kind: 'response';
      readonly status: number;
      readonly headers: IncomingHeaders;
      readonly body: string;
    }
  | { readonly kind: 'failed'; readonly failure: string; readonly detail: string };

export interface Classified {
  readonly outcome: Outcome;
  /** The participant keeps this answer, and a repeat of the call gets it again. */
  readonly repeatable: boolean;
}

export interface RetryAfterLimits {
  readonly minMs: number;
  readonly maxMs: number;
}

export const retryAfterLimitsDefault: RetryAfterLimits = { minMs: 50, maxMs: 60_000 };

export interface ClassifyContext {
  readonly op: Op;
  /** Milliseconds since 1970, for a Retry-After that names a date. */
  readonly nowMs: number;
  readonly retryAfter: RetryAfterLimits;
}

export function classify(reply: RawReply, context: ClassifyContext): Classified {
  if (reply.kind === 'failed') {
    const reason = oneLine(`${reply.failure}: ${reply.detail}`);
    if (planted('silence-is-a-refusal')) return { outcome: { kind: 'refused', reason }, repeatable: false };
    return { outcome: unknown(reason, misconfiguredFailures.has(reply.failure)), repeatable: false };
  }
  const outcome = meaningOf(reply.status)(reply, context);
  const kept = outcome.kind === 'done' || outcome.kind === 'refused';
  return {
    outcome,
    repeatable: kept && headerValue(reply.headers, barrierHeader) === barrierStored,
  };
}

/** Whether an operation comes before the decision, so that its refusal may still turn it. */
export function phaseOf(op: Op): 1 | 2 {
  return op === 'action' || op === 'try' || op === 'check' ? 1 : 2;
}

type Response = Extract<RawReply, { readonly kind: 'response' }>;
type Meaning = (reply: Response, context: ClassifyContext) => Outcome;

const transient: Meaning = ({ status }) => unknown(`answered ${status}`);
const misconfigured: Meaning = ({ status }, { op }) =>
  planted('gone-is-done') && phaseOf(op) === 2 ? { kind: 'done' } : unknown(`answered ${status}`, true);
const askLater: Meaning = (reply, context) => ({
  ...unknown(`answered ${reply.status}`),
  ...retryAfterOf(reply, context),
});

const byStatus: Readonly<Record<number, Meaning>> = {
  // A proxy's or server's own patience ended; that is no fault of the address.
  408: transient,
  409: (reply, { op }) => {
    if (phaseOf(op) === 1) return { kind: 'refused', reason: reasonOf(reply) };
    if (planted('conflict-is-done')) return { kind: 'done' };
    const reason = `answered 409 to ${op}, which follows a decision and may not be refused: ${reasonOf(reply)}`;
    return { ...unknown(reason), contrary: true };
  },
  425: (reply, context) => ({ kind: 'ongoing', ...retryAfterOf(reply, context) }),
  429: askLater,
  503: askLater,
};

const byClass: Readonly<Record<number, Meaning>> = {
  2: done,
  // Never followed: it could lead anywhere, with our signature.
  3: misconfigured,
  4: misconfigured,
  5: transient,
};

const outside: Meaning = () => unknown('answered with a status that HTTP does not know');

function meaningOf(status: number): Meaning {
  return byStatus[status] ?? byClass[Math.floor(status / 100)] ?? outside;
}

/** Failures that come from how the address was configured, not from what happens there. */
const misconfiguredFailures: ReadonlySet<string> = new Set(['blocked-address']);

/** C1 */
function done({ status, headers, body }: Response): Outcome {
  if (status === 204 || body === '' || planted('garbage-is-done')) return { kind: 'done' };
  const encoding = headerValue(headers, 'content-encoding');
  if (encoding !== undefined && encoding !== 'identity')
    return unknown(`answered ${status} with an encoded body`);
  if (!isJsonType(headerValue(headers, 'content-type'))) {
    return unknown(`answered ${status} with a body that is not declared as JSON`);
  }
  const result = read(body);
  return result.kind === 'read'
    ? { kind: 'done', result: result.value }
    : unknown(
        `answered ${status} with a body that is not JSON, or deeper than ${jsonDepthMax}, or ambiguous`,
      );
}

function isJsonType(contentType: string | undefined): boolean {
  return contentType !== undefined && jsonType.test(contentType);
}

const jsonType =
  /^application\/(?:json|[a-z0-9!#$&^_.-]{1,100}\+json)[ \t]*(?:;[ \t]*charset="?utf-8"?[ \t]*)?$/i;

/** The exchange has bounded the bytes already; depth, repeated members and prototype tricks are this parser's business. */
const limits: JsonLimits = { bytesMax: Number.MAX_SAFE_INTEGER, depthMax: jsonDepthMax };

/** The body's value, or why it cannot be taken, without a word of the body itself. */
function read(
  body: string,
): { readonly kind: 'read'; readonly value: Json } | { readonly kind: 'unreadable' } {
  try {
    return { kind: 'read', value: parseJson(body, limits) };
  } catch {
    return { kind: 'unreadable' };
  }
}

/** C5: what the participant gave as `reason` (or problem+json `detail`), in one bounded line. */
function reasonOf({ headers, body }: Response): string {
  if (!isJsonType(headerValue(headers, 'content-type'))) return noReason;
  const said = read(body);
  if (said.kind === 'unreadable') return noReason;
  const reason = textMember(said.value, 'reason') ?? textMember(said.value, 'detail');
  return reason === undefined ? noReason : oneLine(reason);
}

const noReason = 'no reason given';

function textMember(value: Json, name: string): string | undefined {
  if (!isJsonObject(value) || !Object.hasOwn(value, name)) return undefined;
  const member = value[name];
  return typeof member === 'string' && member.trim() !== '' ? member : undefined;
}

export const reasonLengthMax = 300;

function oneLine(text: string): string {
  // Line breaks and control characters would let a participant forge lines in logs.
  const line = text.replaceAll(/[\p{Cc}\p{Zl}\p{Zp}]+/gu, ' ').trim();
  return line.length > reasonLengthMax ? `${line.slice(0, reasonLengthMax)}…` : line;
}

/** C4 */
function retryAfterOf(
  { headers }: Response,
  { nowMs, retryAfter }: ClassifyContext,
): { retryAfterMs?: number } {
  const askedMs = readRetryAfter(headers, nowMs);
  if (askedMs === undefined) return {};
  return { retryAfterMs: Math.min(Math.max(askedMs, retryAfter.minMs), retryAfter.maxMs) };
}

function unknown(reason: string, misconfigured = false): Extract<Outcome, { kind: 'unknown' }> {
  return misconfigured ? { kind: 'unknown', reason, misconfigured: true } : { kind: 'unknown', reason };
}
