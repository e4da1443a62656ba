/** Errors as RFC 9457 problems, there and back. The codes are explained in docs/reference/errors.md. */
import { errorCodes, SettleError, type ErrorCode, type InputIssue } from '../util/errors.ts';
import { isJsonObject } from '../util/json.ts';

/** The body of every answer that is not a success, `application/problem+json`. */
export interface Problem {
  /** `urn:settle:error:<code>` */
  readonly type: string;
  readonly title: string;
  readonly status: number;
  /** Stable; what programs switch on. */
  readonly code: ErrorCode;
  /** What happened this time. */
  readonly detail: string;
  /** What we will do, or what the caller can do now. */
  readonly next: string;
  readonly gid?: string;
  readonly issues?: readonly InputIssue[];
  readonly retryAfterMs?: number;
  /** Of an `internal` error: what to look for in the coordinator's log. */
  readonly id?: string;
}

export const problemMediaType = 'application/problem+json';

/** The HTTP status of a code. */
export function statusOf(code: ErrorCode): number {
  switch (code) {
    case 'invalid_request':
      return 400;
    case 'unauthenticated':
    case 'signature_invalid':
      return 401;
    case 'origin_not_allowed':
      return 403;
    case 'no_such_route':
    case 'transaction_not_found':
      return 404;
    case 'method_not_allowed':
      return 405;
    case 'gid_conflict':
    case 'illegal_action':
    case 'barrier_conflict':
      return 409;
    case 'body_too_large':
      return 413;
    case 'unsupported_media_type':
      return 415;
    case 'host_not_allowed':
      return 421;
    case 'invalid_definition':
    case 'address_not_allowed':
    case 'limit_exceeded':
    case 'function_not_registered':
    case 'message_invalid':
      return 422;
    case 'overloaded':
    case 'unavailable':
    case 'shutting_down':
    case 'lease_lost':
    case 'commit_unknown':
    case 'transaction_timeout':
    case 'transaction_cancelled':
    case 'pool_exhausted':
    case 'connection_lost':
    case 'database_unreachable':
      return 503;
    case 'unexpected_rollback':
    case 'post_commit_failed':
    case 'transaction_required':
    case 'transaction_forbidden':
    case 'transaction_aborted':
    case 'option_conflict':
    case 'scope_ended':
    case 'scope_busy':
    case 'statement_refused':
    case 'implicit_commit':
    case 'savepoints_unsupported':
    case 'foreign_client':
    case 'hook_failed':
    case 'replica_skipped':
    case 'database_access_denied':
    case 'store_locked':
    case 'store_corrupt':
    case 'store_newer':
    case 'tables_missing':
    case 'cluster_mismatch':
    case 'config_invalid':
    case 'internal':
      return 500;
  }
}

/** What a bare status means when no problem of ours came with it: a proxy's word, or another server's. */
export function codeOf(status: number): ErrorCode {
  switch (status) {
    case 401:
    case 403:
      return 'unauthenticated';
    case 404:
      return 'no_such_route';
    case 405:
      return 'method_not_allowed';
    case 413:
      return 'body_too_large';
    case 415:
      return 'unsupported_media_type';
    case 421:
      return 'host_not_allowed';
    case 429:
      return 'overloaded';
    case 500:
      return 'internal';
    default:
      return status >= 500 ? 'unavailable' : 'invalid_request';
  }
}

/** What to do when the error itself does not say. */
function nextOf(code: ErrorCode): string {
  switch (code) {
    case 'invalid_request':
      return 'Correct the request and send it again';
    case 'invalid_definition':
      return 'Correct the definition and submit it again';
    case 'body_too_large':
      return 'Keep large data elsewhere and send a reference to it';
    case 'unsupported_media_type':
      return 'Send the body as application/json';
    case 'unauthenticated':
      return 'Send a configured API key as "Authorization: Bearer <key>"';
    case 'host_not_allowed':
      return 'Use a host name the coordinator is configured for, or add this one to its hosts';
    case 'origin_not_allowed':
      return 'Call from the same origin, or add this one to the origins of the coordinator';
    case 'no_such_route':
      return 'See /v1/openapi.json for the routes';
    case 'method_not_allowed':
      return 'Use a method of the Allow header';
    case 'transaction_not_found':
      return 'Check the gid; finished transactions are pruned after their retention';
    case 'gid_conflict':
      return 'Use a new gid for a new transaction; repeat a submit with the very same definition';
    case 'illegal_action':
      return 'Read the transaction again and see /v1/legal for what its status allows';
    case 'address_not_allowed':
      return 'Use an address of the allow-list, or add it to the configuration of the coordinator';
    case 'overloaded':
      return 'Send it again after the given time, with the same gid';
    case 'unavailable':
    case 'shutting_down':
    case 'lease_lost':
      return 'Send it again with the same gid: if it was accepted, you get its state';
    case 'limit_exceeded':
      return 'Split it into several transactions';
    case 'function_not_registered':
      return 'Register the function where the coordinator runs';
    case 'barrier_conflict':
      return 'Do not reuse a branch for another operation';
    case 'message_invalid':
      return 'See docs/coding/outbox.md';
    case 'signature_invalid':
      return 'Check the secret and the clock of both sides';
    case 'unexpected_rollback':
    case 'post_commit_failed':
    case 'transaction_required':
    case 'transaction_forbidden':
    case 'transaction_aborted':
    case 'option_conflict':
    case 'scope_ended':
    case 'scope_busy':
    case 'statement_refused':
    case 'implicit_commit':
    case 'savepoints_unsupported':
    case 'foreign_client':
    case 'hook_failed':
    case 'replica_skipped':
    case 'database_access_denied':
    case 'commit_unknown':
    case 'transaction_timeout':
    case 'transaction_cancelled':
    case 'pool_exhausted':
    case 'connection_lost':
    case 'database_unreachable':
      return 'See docs/coding/local-transactions.md';
    case 'store_locked':
      return 'Stop the other process that has the store open';
    case 'store_corrupt':
      return 'Restore the store from a backup; nothing was changed';
    case 'store_newer':
      return 'Start the newer release that wrote the store';
    case 'tables_missing':
      return 'Create the tables: the message names the function that does it';
    case 'cluster_mismatch':
      return 'Use the store of this cluster, or start the coordinator under the name of the other';
    case 'config_invalid':
      return 'Correct the configuration';
    case 'internal':
      return 'Send it again with the same gid; if it stays, report the id to who runs the coordinator';
  }
}

/** The problem of an error. `gid` is the request's, for errors that do not carry one. */
export function toProblem(error: SettleError, gid?: string): Problem {
  const { code, issues, retryAfterMs, next } = error;
  const about = error.gid ?? gid;
  return {
    type: `urn:settle:error:${code}`,
    title: titleOf(code),
    status: statusOf(code),
    code,
    detail: detailOf(error),
    next: next ?? nextOf(code),
    ...(about === undefined ? {} : { gid: about }),
    ...(issues.length === 0 ? {} : { issues }),
    ...(retryAfterMs === undefined ? {} : { retryAfterMs }),
  };
}

/**
 * The error a client throws for an answer that was no success. Without a problem of ours in the body (a proxy
 * answered, or the answer was cut off) the status alone decides, and a 5xx means: it may or may not have happened.
 * `retryAfter` is that header, in seconds.
 */
export function fromProblem(status: number, body: unknown, retryAfter?: string): SettleError {
  const seconds = retryAfter === undefined ? NaN : Number(retryAfter);
  const afterHeader = Number.isFinite(seconds) && seconds >= 0 ? seconds * 1_000 : undefined;
  const code = isJsonObject(body) ? errorCodes.find((known) => known === body['code']) : undefined;
  if (code === undefined || !isJsonObject(body)) {
    const unknown = codeOf(status);
    return new SettleError(
      unknown,
      `the coordinator's address answered ${status} without a problem of ours`,
      {
        next: nextOf(unknown),
        retryAfterMs: afterHeader,
      },
    );
  }
  return new SettleError(code, textOr(body['detail'], titleOf(code)), {
    gid: textOr(body['gid'], undefined),
    next: textOr(body['next'], nextOf(code)),
    retryAfterMs: typeof body['retryAfterMs'] === 'number' ? body['retryAfterMs'] : afterHeader,
    issues: Array.isArray(body['issues']) ? body['issues'].filter(isIssue) : [],
  });
}

/** The value of Retry-After: whole seconds, at least 1. A 503 that does not say is worth asking again in a second. */
export function retryAfterSeconds(problem: Problem): number | undefined {
  if (problem.retryAfterMs !== undefined) return Math.max(1, Math.ceil(problem.retryAfterMs / 1_000));
  return problem.status === 503 ? 1 : undefined;
}

/** The message of an error is led by its code; a problem says the code elsewhere. */
export function detailOf(error: SettleError): string {
  const lead = `${error.code}: `;
  return error.message.startsWith(lead) ? error.message.slice(lead.length) : error.message;
}

function titleOf(code: ErrorCode): string {
  const words = code.replaceAll('_', ' ');
  return words.charAt(0).toUpperCase() + words.slice(1);
}

function textOr<T>(value: unknown, otherwise: T): string | T {
  return typeof value === 'string' ? value : otherwise;
}

function isIssue(value: unknown): value is InputIssue {
  return isJsonObject(value) && typeof value['path'] === 'string' && typeof value['message'] === 'string';
}
