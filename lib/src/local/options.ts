import { SettleError } from '../util/errors.ts';
import { timerMsMax } from './clock.ts';
import type { Isolation } from './dialect.ts';
import { propagations, type Propagation } from './propagation.ts';
import type { ReadToken } from './read-token.ts';

/** How one scope runs. What is left out is the manager's default. */
export interface ScopeOptions {
  /** Default: `required`. */
  readonly propagation?: Propagation;
  /** Of the transaction that this scope begins. Joining one with another isolation is an `option_conflict`. */
  readonly isolation?: Isolation;
  /** Default: false. `false` said aloud inside a read-only transaction is an `option_conflict`. */
  readonly readOnly?: boolean;
  /**
   * Milliseconds after which the scope fails with `transaction_timeout`: its statement is cancelled on the server, and
   * what it did is rolled back. Default: 60,000 for a scope that begins a transaction, none for one that takes part in
   * it. `Infinity`: never.
   */
  readonly timeoutMs?: number;
  /** Milliseconds to wait for a connection, before `pool_exhausted`. Default: 5,000. */
  readonly acquireTimeoutMs?: number;
  /**
   * How often a transaction that ended in a serialization failure or a deadlock is tried again, from its beginning: the
   * whole function runs again. Only the scope that began the transaction does that; default: never.
   */
  readonly retry?: RetryOptions;
  /** Whether an error that leaves the function rolls back. Default: every one does. */
  readonly rollbackOn?: (error: unknown) => boolean;
  /** For messages and the tree of open scopes. Default: the name of the function, if it has one. */
  readonly label?: string;
  /** Ends the scope as a timeout does, with `transaction_cancelled`. */
  readonly signal?: AbortSignal;
  /**
   * Is given the token of the transaction once that is committed, before the caller goes on: reads `{ after: token }` see
   * everything it wrote, and what it saw of others. Asking for it takes a round trip, on PostgreSQL two. Not called when
   * nothing was sent to the database, nor within a read on a replica: then the token that one has is still the latest.
   */
  readonly onToken?: (token: ReadToken) => unknown;
}

export interface RetryOptions {
  /** Attempts in all, at least 1. */
  readonly attemptsMax: number;
  /** Milliseconds before the second attempt, at most (full jitter); doubles each time. Default: 10. */
  readonly baseMs?: number;
  /** Milliseconds no pause is longer than. Default: 1,000. */
  readonly maxMs?: number;
}

export const timeoutMsDefault = 60_000;
export const acquireTimeoutMsDefault = 5_000;
export const retryBaseMsDefault = 10;
export const retryMaxMsDefault = 1_000;
const attemptsLimit = 100;

const isolations = ['read-uncommitted', 'read-committed', 'repeatable-read', 'serializable'];

/** Throws `config_invalid` for what no version of this library could mean. */
export function checkOptions(options: ScopeOptions): void {
  const { propagation, isolation, timeoutMs, acquireTimeoutMs, retry } = options;
  if (propagation !== undefined && !propagations.includes(propagation)) {
    throw invalid(`propagation is ${propagation}, not one of ${propagations.join(', ')}`);
  }
  if (isolation !== undefined && !isolations.includes(isolation)) {
    throw invalid(`isolation is ${isolation}, not one of ${isolations.join(', ')}`);
  }
  checkMs('timeoutMs', timeoutMs);
  checkMs('acquireTimeoutMs', acquireTimeoutMs);
  if (retry !== undefined) {
    const { attemptsMax, baseMs, maxMs } = retry;
    if (!Number.isInteger(attemptsMax) || attemptsMax < 1 || attemptsMax > attemptsLimit) {
      throw invalid(
        `retry.attemptsMax is ${String(attemptsMax)}, not a whole number from 1 to ${attemptsLimit}`,
      );
    }
    checkMs('retry.baseMs', baseMs);
    checkMs('retry.maxMs', maxMs);
    if (maxMs !== undefined && maxMs > timerMsMax)
      throw invalid(`retry.maxMs is ${maxMs}, and no pause can be longer than ${timerMsMax}`);
  }
}

export function checkMs(name: string, value: number | undefined): void {
  if (value === undefined || value > 0) return;
  throw invalid(`${name} is ${String(value)}, not a number of milliseconds above 0`);
}

function invalid(what: string): SettleError {
  return new SettleError('config_invalid', what, { next: 'Correct the option' });
}
