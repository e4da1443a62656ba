/** The headers of a branch call, written and read in one place. docs/reference/participant-protocol.md describes them. */
import { createHash } from 'node:crypto';
import { isBranchName, isGid, type BranchName, type Gid } from '../core/ids.ts';
import type { Op } from '../core/outcome.ts';

export const gidHeader = 'settle-gid';
export const branchHeader = 'settle-branch';
export const opHeader = 'settle-op';
export const attemptHeader = 'settle-attempt';
/** In an answer: `stored` says that the participant keeps its answer, and gives the same one to every repeat. */
export const barrierHeader = 'settle-barrier';
export const barrierStored = 'stored';
export const webhookIdHeader = 'webhook-id';
export const webhookTimestampHeader = 'webhook-timestamp';
export const webhookSignatureHeader = 'webhook-signature';
export const traceparentHeader = 'traceparent';

export const ops: readonly Op[] = ['action', 'compensate', 'try', 'confirm', 'cancel', 'check'];

export interface CallHeaders {
  readonly gid: Gid;
  readonly branch: BranchName;
  readonly op: Op;
  /** Counts from 1. */
  readonly attempt: number;
}

export type ReadHeaders =
  | { readonly kind: 'call'; readonly call: CallHeaders }
  | { readonly kind: 'invalid'; readonly header: string; readonly reason: string };

/** Names in lower case, as Node gives them; several values of one name as a list. */
export type IncomingHeaders = Readonly<Record<string, string | readonly string[] | undefined>>;

/** The headers that tell which call this is, save signature and trace. */
export function printCallHeaders(call: CallHeaders): Record<string, string> {
  return {
    'content-type': 'application/json',
    [gidHeader]: call.gid,
    [branchHeader]: call.branch,
    [opHeader]: call.op,
    [attemptHeader]: String(call.attempt),
    [webhookIdHeader]: webhookId(call),
  };
}

/**
 * Names one operation of one branch, equal on every attempt. Neither branch nor op contains a colon, so no two operations
 * share an id; none of the three contains a dot, which the signature needs as separator.
 */
export function webhookId({ gid, branch, op }: Pick<CallHeaders, 'gid' | 'branch' | 'op'>): string {
  return `${gid}:${branch}:${op}`;
}

export function readCallHeaders(headers: IncomingHeaders): ReadHeaders {
  const gid = headerValue(headers, gidHeader);
  if (gid === undefined || !isGid(gid)) return invalid(gidHeader, 'is missing or not a gid');
  const branch = headerValue(headers, branchHeader);
  if (branch === undefined || !isBranchName(branch))
    return invalid(branchHeader, 'is missing or not a branch name');
  const op = ops.find((known) => known === headerValue(headers, opHeader));
  if (op === undefined) return invalid(opHeader, `is missing or not one of ${ops.join(', ')}`);
  const attempt = headerValue(headers, attemptHeader) ?? '1';
  if (!/^[1-9]\d{0,8}$/.test(attempt)) return invalid(attemptHeader, 'is not a number from 1 on');
  return { kind: 'call', call: { gid, branch, op, attempt: Number(attempt) } };
}

/** The one value of a header; several make none, since it is not known which of them to believe. */
export function headerValue(headers: IncomingHeaders, name: string): string | undefined {
  const value = Object.hasOwn(headers, name) ? headers[name] : undefined;
  if (typeof value === 'string' || value === undefined) return value;
  return value.length === 1 ? value[0] : undefined;
}

/**
 * A W3C `traceparent` with a trace id derived from the gid, so that all calls of a transaction, from whichever
 * coordinator, meet in one trace (https://www.w3.org/TR/trace-context/). The span id is that of the attempt.
 */
export function traceparentOf(call: CallHeaders): string {
  return `00-${hex(call.gid, 32)}-${hex(`${webhookId(call)}:${call.attempt}`, 16)}-01`;
}

function hex(text: string, length: number): string {
  return createHash('sha256').update(text).digest('hex').slice(0, length);
}

function invalid(header: string, reason: string): ReadHeaders {
  return { kind: 'invalid', header, reason };
}
