/** What can be asked of a coordinator. The engine implements it; the HTTP API exposes it; the client speaks it. */
import type { Gid } from './ids.ts';
import type { Action } from './legal.ts';
import type { Definition, Pattern, Status, TransactionView } from './patterns.ts';
import type { TccBranchDefinition } from './tcc-plan.ts';

/**
 * Every promise resolves only after what it reports is durable (D1), and rejects with a SettleError.
 * `waitMs`: how long to wait for the end of the transaction before answering with the state it has; default 0.
 */
export interface Coordinator {
  /**
   * Starts a transaction. With the gid of one that exists and the same definition it is that one's current state;
   * with another definition it rejects with `gid_conflict` that names the first difference.
   */
  submit(request: SubmitRequest): Promise<TransactionView>;
  /** Several submits, durable together; each has its own outcome. At most {@link submitManyMax}. */
  submitMany(requests: readonly SubmitRequest[]): Promise<readonly SubmitOutcome[]>;
  /** TCC: adds branches and calls their tries; waits up to `waitMs` until each of them is answered. */
  register(
    gid: Gid,
    branches: readonly TccBranchDefinition[],
    options?: WaitOptions,
  ): Promise<TransactionView>;
  /** TCC: confirm everything. Message: deliver it. Repeating it is harmless; after an abort it is `illegal_action`. */
  commit(gid: Gid, options?: WaitOptions): Promise<TransactionView>;
  /** Rejects with `illegal_action` where the legal table says so. */
  act(gid: Gid, request: ActionRequest, options?: WaitOptions): Promise<TransactionView>;
  get(gid: Gid, options?: WaitOptions): Promise<TransactionView>;
  list(query: TransactionQuery): Promise<TransactionPage>;
}

export const submitManyMax = 100;
export const waitMaxMs = 60_000;
export const pageMax = 200;

export interface WaitOptions {
  readonly waitMs?: number;
  readonly signal?: AbortSignal;
}

export interface SubmitRequest extends WaitOptions {
  /** 1 to 128 characters; makes the submit idempotent. Default: a new one. */
  readonly gid?: Gid;
  readonly definition: Definition;
}

export type SubmitOutcome =
  | { readonly kind: 'accepted'; readonly transaction: TransactionView }
  | { readonly kind: 'rejected'; readonly error: import('../util/errors.ts').SettleError };

export interface ActionRequest {
  readonly action: Action;
  readonly reason: string;
  /** Who asks. */
  readonly actor: string;
  /** `skip-branch`: which one. */
  readonly branch?: string;
  /** `forget`: every unresolved branch by name, as proof that somebody looked at them. */
  readonly unresolved?: readonly string[];
}

export interface TransactionQuery {
  readonly status?: readonly Status[];
  readonly pattern?: Pattern;
  readonly name?: string;
  readonly stuck?: boolean;
  readonly createdFromMs?: number;
  readonly createdToMs?: number;
  readonly gidContains?: string;
  readonly cursor?: string;
  /** 1 to {@link pageMax}; default 50. */
  readonly limit?: number;
}

export interface TransactionPage {
  readonly items: readonly TransactionSummary[];
  /** Hand it back as `cursor` for the next page, which may be short or empty; undefined at the end. */
  readonly next?: string;
}

export type TransactionSummary = Pick<
  TransactionView,
  'gid' | 'pattern' | 'name' | 'status' | 'stuck' | 'createdAtMs' | 'updatedAtMs'
>;
