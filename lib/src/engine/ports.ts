/** What the engine needs from outside, and nothing more. The simulator implements these as well as production does. */
import type { CallEffect } from '../core/protocol.ts';
import type { Gid } from '../core/ids.ts';
import type { Outcome } from '../core/outcome.ts';
import type { Pattern, Status } from '../core/patterns.ts';
import { SettleError } from '../util/errors.ts';

export type { Observer } from '../observe/events.ts';

export interface Clock {
  /** Milliseconds that only ever grow; differences are all that counts. */
  monotonicMs(): number;
  /** Calls back once after the delay, never at once. Returns what cancels it. */
  schedule(delayMs: number, callback: () => void): () => void;
  /** Calls back when everything that is ready in this turn has run: how writes gather without a timer (D6). */
  afterTurn(callback: () => void): void;
}

export interface Random {
  /** Uniform in [0, 1). */
  next(): number;
}

export interface Ids {
  /** A new gid: at least 128 bits, at least 74 of them random, sortable by time. */
  gid(): Gid;
}

// ---- branch calls

export interface BranchCall extends Pick<CallEffect, 'branch' | 'op' | 'address'> {
  readonly gid: Gid;
  /** Equal bytes on every attempt. */
  readonly payload: import('../util/json.ts').Json | undefined;
  /** Counts from 1. */
  readonly attempt: number;
  readonly timeoutMs: number;
}

export interface CallReply {
  readonly outcome: Outcome;
  /** A repeat of this very call is known to give the same answer (D3): the participant keeps its barrier's answers. */
  readonly repeatable: boolean;
}

/**
 * Asks a branch. Never rejects: whatever goes wrong is an outcome. Ends within `timeoutMs`, or soon after the signal
 * aborts; then the outcome is `unknown`.
 */
export interface BranchCaller {
  call(call: BranchCall, signal: AbortSignal): Promise<CallReply>;
  /** What shares one concurrency limit and one circuit: for URLs the origin. */
  destinationOf(address: string): string;
  /** Why this address may not be called; undefined when it may. Asked before anything is stored. */
  whyNotAllowed(address: string): string | undefined;
}

// ---- store

/**
 * Where transactions live. Every implementation passes `store/contract.ts`.
 *
 * A rejected promise carries a SettleError. With code `unavailable` the outcome is unknown: any of the writes may have
 * been applied, and the engine reads back before it goes on.
 */
export interface Store {
  /**
   * Applies a batch durably: when the promise resolves, every `written` is on stable storage. Each write is
   * conditional and has its own outcome; one that fails does not touch its neighbours. At most {@link batchMax}.
   */
  commit(batch: readonly Write[]): Promise<CommitReply>;
  load(gid: Gid): Promise<StoredTransaction | undefined>;
  list(query: ListQuery): Promise<ListPage>;
  /**
   * Starts a lease for one incarnation of a coordinator. Epochs are unique and grow for the life of the store. A store
   * belongs to the first cluster whose coordinator joined; rejects with `cluster_mismatch` for those of any other.
   */
  join(coordinator: string, ttlMs: number, cluster?: string): Promise<Lease>;
  /**
   * Prolongs the lease. `lost` once it has expired and somebody took over from it. `driving` is how many transactions
   * its owner drives, for the others to know; a lease renewed without it is only kept, and counts for nobody.
   */
  renew(epoch: number, ttlMs: number, driving?: number): Promise<Renewal>;
  /** Ends the lease at once; what it still owns becomes claimable. */
  leave(epoch: number): Promise<void>;
  /**
   * Takes over unfinished transactions that are due and that nobody with a live lease owns, oldest due time first:
   * their owner becomes `epoch`, their revision grows by one.
   */
  claim(epoch: number, limit: number): Promise<readonly ClaimedTransaction[]>;
  /** Deletes finished transactions, oldest first, at most `limit` (a bounded piece of work). Returns how many. */
  prune(policy: PrunePolicy): Promise<number>;
  close(): Promise<void>;
}

export const batchMax = 1_000;

/** The cluster of those who name none. */
export const clusterDefault = 'settle';

/** What every store rejects a join with that comes from another cluster than its own. */
export function clusterMismatch(asked: string, owner: string): SettleError {
  const what = `the store belongs to the cluster ${owner}, and this coordinator is of the cluster ${asked}`;
  const next = 'Give it a store of its own; the transactions in this one are called from where they belong';
  return new SettleError('cluster_mismatch', what, { next });
}

export interface TransactionWrite {
  readonly gid: Gid;
  readonly status: Status;
  readonly stuck: boolean;
  /** `codec.encodeProgress` */
  readonly progress: string;
  /** When somebody must look at it next if its owner does not; undefined once it is finished. */
  readonly dueAtMs: number | undefined;
}

/** D4: never read-then-write. An update names the revision and the owner's epoch it rests on. */
export type Write =
  | (TransactionWrite & {
      readonly kind: 'insert';
      readonly pattern: Pattern;
      readonly name: string;
      /** `codec.encodePlan` */
      readonly plan: string;
      readonly epoch: number;
      readonly createdAtMs: number;
    })
  | (TransactionWrite & {
      readonly kind: 'update';
      readonly revision: number;
      readonly epoch: number;
      /**
       * The owner from now on: `epoch` to keep it, 0 to give it back (anybody may claim it once it is due), another
       * coordinator's own epoch to take it over.
       */
      readonly nextEpoch: number;
    });

export type WriteOutcome =
  | { readonly kind: 'written' }
  /** Insert: the gid is taken. */
  | { readonly kind: 'exists' }
  /** Update: another revision or owner stands there, or nothing. */
  | { readonly kind: 'lost' };

export interface CommitReply {
  readonly nowMs: number;
  /** One for each write, in order. */
  readonly outcomes: readonly WriteOutcome[];
}

export interface Lease {
  readonly epoch: number;
  /** The store's clock (D5), milliseconds since 1970. */
  readonly nowMs: number;
}

export type Renewal =
  | { readonly kind: 'renewed'; readonly nowMs: number; readonly others: Company }
  | { readonly kind: 'lost'; readonly nowMs: number };

/** The other coordinators on a store whose leases live and say what they drive. */
export interface Company {
  readonly coordinators: number;
  /** Transactions, in sum, by what each said last. */
  readonly driving: number;
}

export interface StoredSummary {
  readonly gid: Gid;
  readonly pattern: Pattern;
  readonly name: string;
  readonly status: Status;
  readonly stuck: boolean;
  readonly createdAtMs: number;
  readonly updatedAtMs: number;
}

export interface StoredTransaction extends StoredSummary {
  readonly plan: string;
  readonly progress: string;
  /** 1 when inserted; grows by one with every write. */
  readonly revision: number;
  /** The epoch of its owner; 0 when nobody owns it. */
  readonly epoch: number;
  readonly dueAtMs: number | undefined;
}

export interface ClaimedTransaction extends StoredTransaction {
  /** Its owner before: 0 if it was given back, and so its progress is complete; else calls may have left unrecorded. */
  readonly claimedFrom: number;
}

/** Newest first. All conditions must hold. */
export interface ListQuery {
  readonly status?: readonly Status[];
  readonly pattern?: Pattern;
  readonly name?: string;
  readonly stuck?: boolean;
  readonly createdFromMs?: number;
  readonly createdToMs?: number;
  /** Text that the gid contains. */
  readonly gidContains?: string;
  readonly cursor?: string;
  /** 1 to 200. */
  readonly limit: number;
}

export interface ListPage {
  readonly items: readonly StoredSummary[];
  /** Where to go on. A page may be shorter than asked for, even empty, and still have a next one. */
  readonly next: string | undefined;
}

export interface PrunePolicy {
  readonly finishedBeforeMs: number;
  /** Of the finished ones, the newest this many stay unless they are too old. */
  readonly keepMax: number;
  readonly limit: number;
}
