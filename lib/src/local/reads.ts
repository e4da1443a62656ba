/** What a read may ask for, and what is refused. */
import { SettleError } from '../util/errors.ts';
import type { Dialect } from './dialect.ts';
import { checkMs, type ScopeOptions } from './options.ts';
import { positionOf, type Position, type ReadToken } from './read-token.ts';
import { refuseForeign } from './replication.ts';

/**
 * - `strong`: on the primary, so that everything committed is seen.
 * - `eventual`: on a replica, however far it is behind.
 * - `{ after: token }`: on a replica that has everything the token stands for.
 */
export type Reads = 'strong' | 'eventual' | { readonly after: ReadToken };

export interface ReadOptions extends Pick<
  ScopeOptions,
  'isolation' | 'timeoutMs' | 'acquireTimeoutMs' | 'retry' | 'label' | 'signal'
> {
  /** Default: `strong`. */
  readonly reads?: Reads;
  /** Whether rows are read to be changed, or locked: then on the primary, in a transaction that may write. Default: false. */
  readonly forUpdate?: boolean;
  /** Milliseconds a replica has to be ready for the read, before the primary does it. Default: 1,000; at most 60,000. */
  readonly waitMs?: number;
}

export const waitMsDefault = 1_000;
export const waitMsMax = 60_000;

type Asked = { readonly [K in 'reads' | 'forUpdate' | 'waitMs' | 'isolation']?: ReadOptions[K] | undefined };

export type ReadPlan = { readonly kind: 'primary' } | ReplicaPlan;

export interface ReplicaPlan {
  readonly kind: 'replica';
  readonly reads: Reads;
  /** Where the replica has to be. Undefined: wherever it is. */
  readonly position: Exclude<Position, { readonly kind: 'unknown' }> | undefined;
  readonly waitMs: number;
}

/** Throws `config_invalid`, and `invalid_request` for what is no token of such a database. */
export function planOf(
  { reads = 'strong', forUpdate = false, waitMs = waitMsDefault, isolation }: Asked,
  dialect: Dialect,
): ReadPlan {
  checkMs('waitMs', waitMs);
  if (waitMs > waitMsMax) throw invalid(`waitMs is ${waitMs}, more than ${waitMsMax}`);
  const position = wantedPosition(reads, dialect);
  // PostgreSQL refuses serializable reads on a replica, and MariaDB's lock rows there that replication needs.
  if (reads === 'strong' || forUpdate || isolation === 'serializable' || position?.kind === 'unknown') {
    return { kind: 'primary' };
  }
  return { kind: 'replica', reads, position, waitMs };
}

/** Whether a transaction that reads so is sure to see what is asked for within it. */
export function includes(within: Reads, asked: Reads): boolean {
  if (within === 'strong' || asked === 'eventual') return true;
  return typeof within === 'object' && typeof asked === 'object' && within.after === asked.after;
}

function wantedPosition(reads: Reads, dialect: Dialect): Position | undefined {
  if (reads === 'strong' || reads === 'eventual') return undefined;
  if (!isObject(reads))
    throw invalid(`reads is ${JSON.stringify(reads)}, not strong, eventual or { after: token }`);
  const position = positionOf(reads.after);
  refuseForeign(position, dialect);
  return position;
}

function isObject(value: unknown): boolean {
  return typeof value === 'object' && value !== null;
}

function invalid(what: string): SettleError {
  return new SettleError('config_invalid', what, { next: 'Correct the option' });
}
