import { isSettleError, type ErrorCode } from 'settle/core';

/** What the exit status of `settle` says. Documented in docs/operating/configuration.md; a test compares the two. */
export const exitCodes = {
  done: 0,
  /** `settle dev`: an invariant is broken, or not everything settled in time. */
  broken: 1,
  /** A flag, variable or file that cannot be used; nothing was started. */
  config: 2,
  /** The address cannot be listened on. */
  listen: 3,
  /** The store, or the database of an outbox, cannot be used: locked, damaged, newer, without tables, out of reach. */
  store: 4,
  /** A defect of ours: an exception nobody expected. */
  unexpected: 70,
} as const;

export type ExitCode = (typeof exitCodes)[keyof typeof exitCodes];

/** The status with which a command ends that failed with this error. */
export function exitCodeOf(error: unknown): ExitCode {
  if (isListenError(error)) return exitCodes.listen;
  if (!isSettleError(error)) return exitCodes.unexpected;
  const codes: Partial<Record<ErrorCode, ExitCode>> = {
    config_invalid: exitCodes.config,
    invalid_request: exitCodes.config,
    store_locked: exitCodes.store,
    store_corrupt: exitCodes.store,
    store_newer: exitCodes.store,
    cluster_mismatch: exitCodes.store,
    unavailable: exitCodes.store,
    tables_missing: exitCodes.store,
    database_access_denied: exitCodes.store,
  };
  return codes[error.code] ?? exitCodes.unexpected;
}

/** The server could not take its address; `next` says what to do. */
export class ListenError extends Error {
  override readonly name = 'ListenError';
  readonly next: string;

  constructor(what: string, next: string, options?: ErrorOptions) {
    super(what, options);
    this.next = next;
  }
}

export function isListenError(error: unknown): error is ListenError {
  return error instanceof ListenError;
}
