/** How business code says no, or not yet: thrown by embedded functions and by participants alike. */

const refusedBrand: unique symbol = Symbol.for('settle.refused');
const ongoingBrand: unique symbol = Symbol.for('settle.ongoing');

/**
 * Throw it to refuse: the business says no, and nothing has happened. A participant answers 409.
 *
 * In an action or try the transaction then turns back. A compensation, confirm or cancel may not refuse: there it counts
 * as unknown and is asked again.
 */
export class Refused extends Error {
  override readonly name = 'Refused';
  readonly [refusedBrand]: true = true;
  /** Shown to operators and to whoever started the transaction; keep secrets out of it. */
  readonly reason: string;

  constructor(reason: string, options?: ErrorOptions) {
    super(`refused: ${reason}`, options);
    this.reason = reason;
  }
}

/**
 * Throw it while the work is still going on: the same call comes again, at the pace of `retryAfterMs` (milliseconds;
 * default: the coordinator's retry policy). A participant answers 425.
 */
export class Ongoing extends Error {
  override readonly name = 'Ongoing';
  readonly [ongoingBrand]: true = true;
  readonly retryAfterMs: number | undefined;

  constructor(retryAfterMs?: number) {
    super('ongoing: ask again later');
    this.retryAfterMs = retryAfterMs;
  }
}

/** True for a {@link Refused}, of this or another installed copy of the package. */
export function isRefused(error: unknown): error is Refused {
  return typeof error === 'object' && error !== null && refusedBrand in error;
}

/** True for an {@link Ongoing}, of this or another installed copy of the package. */
export function isOngoing(error: unknown): error is Ongoing {
  return typeof error === 'object' && error !== null && ongoingBrand in error;
}
