/**
 * The closed list of error codes. Each is documented in docs/reference/errors.md; a test compares the two.
 * A code is stable: clients switch on it, so it is never reused for something else.
 */
export const errorCodes = [
  'invalid_request',
  'invalid_definition',
  'body_too_large',
  'unsupported_media_type',
  'unauthenticated',
  'host_not_allowed',
  'origin_not_allowed',
  'no_such_route',
  'method_not_allowed',
  'transaction_not_found',
  'gid_conflict',
  'illegal_action',
  'address_not_allowed',
  'overloaded',
  'unavailable',
  'shutting_down',
  'lease_lost',
  'limit_exceeded',
  'function_not_registered',
  'barrier_conflict',
  'signature_invalid',
  'unexpected_rollback',
  'post_commit_failed',
  'commit_unknown',
  'transaction_required',
  'transaction_forbidden',
  'transaction_aborted',
  'transaction_timeout',
  'transaction_cancelled',
  'option_conflict',
  'scope_ended',
  'scope_busy',
  'statement_refused',
  'implicit_commit',
  'savepoints_unsupported',
  'foreign_client',
  'hook_failed',
  'replica_skipped',
  'message_invalid',
  'pool_exhausted',
  'connection_lost',
  'database_unreachable',
  'database_access_denied',
  'store_locked',
  'store_corrupt',
  'store_newer',
  'tables_missing',
  'cluster_mismatch',
  'config_invalid',
  'internal',
] as const;

export type ErrorCode = (typeof errorCodes)[number];

export interface SettleErrorDetails {
  /** The transaction it is about. */
  readonly gid?: string | undefined;
  /** What we will do, or what the caller can do now. */
  readonly next?: string | undefined;
  /** Milliseconds after which asking again makes sense. */
  readonly retryAfterMs?: number | undefined;
  /** Where in the input the fault lies, as JSON Pointers with a reason each. */
  readonly issues?: readonly InputIssue[] | undefined;
  readonly cause?: unknown;
}

export interface InputIssue {
  readonly path: string;
  readonly message: string;
}

const settleErrorBrand: unique symbol = Symbol.for('settle.error');

/**
 * The one error Settle throws on purpose: a stable `code`, what happened to which `gid`, and what to do `next`.
 * Recognise it with {@link isSettleError}, which also works when two copies of the package are installed.
 */
export class SettleError extends Error {
  override readonly name = 'SettleError';
  readonly [settleErrorBrand]: true = true;
  readonly code: ErrorCode;
  readonly gid: string | undefined;
  readonly next: string | undefined;
  readonly retryAfterMs: number | undefined;
  readonly issues: readonly InputIssue[];

  constructor(code: ErrorCode, what: string, details: SettleErrorDetails = {}) {
    super(`${code}: ${what}`, details.cause === undefined ? undefined : { cause: details.cause });
    this.code = code;
    this.gid = details.gid;
    this.next = details.next;
    this.retryAfterMs = details.retryAfterMs;
    this.issues = details.issues ?? [];
  }
}

/** True for a {@link SettleError}, of this or another installed copy of the package. */
export function isSettleError(error: unknown): error is SettleError {
  return typeof error === 'object' && error !== null && settleErrorBrand in error;
}

/** The text of anything that was thrown. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
