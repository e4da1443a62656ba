/**
 * What happened in one run, as only somebody outside the coordinators can know it: everything a checker may look at.
 *
 * - Y1 `seq` orders all records of all lists: what has the smaller one happened first. `at` is virtual milliseconds since
 *      the start of the run, on the world's own clock (no process's clock). The store's clock reads {@link storeEpochMs}
 *      + `at`, plus the skew the seed drew.
 * - Y2 Nothing here comes from a coordinator's own view, except `operations` (what clients were told) and `alarms`.
 * - Y3 Records are never changed after the run, and `StoredTransaction` rows never at all.
 */
import type { Gid } from '../../lib/src/core/ids.ts';
import type { Action } from '../../lib/src/core/legal.ts';
import type { Op, Outcome } from '../../lib/src/core/outcome.ts';
import type { Definition, Pattern, Plan, Status, TransactionView } from '../../lib/src/core/patterns.ts';
import type { EngineLimits } from '../../lib/src/engine/limits.ts';
import type { StoredTransaction, WriteOutcome } from '../../lib/src/engine/ports.ts';
import type { AlarmCode } from '../../lib/src/observe/events.ts';
import type { ErrorCode } from '../../lib/src/util/errors.ts';

/** What the store's clock reads at the start of a run: 2026-01-01. */
export const storeEpochMs = 1_767_225_600_000;

export interface History {
  readonly seed: number;
  readonly limits: EngineLimits;
  /** The fault classes that were on; empty in a run without faults. */
  readonly faults: readonly string[];
  /** Every transaction that any client ever submitted or meant to, by gid. */
  readonly intents: ReadonlyMap<Gid, Intent>;
  readonly operations: readonly Operation[];
  readonly writes: readonly StoreWrite[];
  readonly leases: readonly LeaseRecord[];
  readonly calls: readonly CallRecord[];
  readonly handled: readonly Handled[];
  readonly effects: readonly EffectRecord[];
  readonly alarms: readonly AlarmRecord[];
  readonly bounds: readonly BoundsSample[];
  readonly lives: readonly LifeRecord[];
  /** When faults stopped for good and everything that was down was up again. */
  readonly healedAt: number;
  /** B of I10: by `healedAt + settleBoundMs` every transaction is terminal, or waits for a person. */
  readonly settleBoundMs: number;
  /** When the world stopped: everything settled, or the bound was over. */
  readonly endedAt: number;
  readonly final: FinalDump;
}

interface Stamp {
  readonly seq: number;
  readonly at: number;
}

/** A transaction as its author meant it. */
export interface Intent {
  readonly gid: Gid;
  readonly pattern: Pattern;
  readonly definition: Definition;
  readonly plan: Plan;
  /** Sum of what its effects move, once it has settled either way: always zero, in every account unit. */
  readonly amount: number;
  /** What each branch does to which account, `<branch>` to movement. */
  readonly branches: ReadonlyMap<string, BranchIntent>;
  /** At least one participant of it refuses for business reasons (no money, closed account): it may not commit. */
  readonly refusedBy: string | undefined;
  /** A branch that answers phase 2 with errors for ever, or is gone for good: the transaction may end stuck. */
  readonly hopeless: boolean;
}

export interface BranchIntent {
  readonly participant: string;
  readonly account: string;
  /** Signed: what a done action, or a confirmed try, adds to the account. Zero for a mere notice. */
  readonly delta: number;
  /** False: the participant uses no barrier table but is idempotent by itself, and announces nothing (D3). */
  readonly announces: boolean;
  readonly compensable: boolean;
}

/** One request of a client or operator, with the answer it got: an interval for linearizability. */
export interface Operation extends Stamp {
  readonly id: number;
  /** `client-3`, `operator`. */
  readonly by: string;
  readonly coordinator: string;
  readonly gid: Gid;
  readonly request: Request;
  /** The same for every repeat of the same definition under one gid; submits only. */
  readonly fingerprint: string | undefined;
  readonly answer: Answer;
}

export type Request =
  /** Submit of a saga or message, begin of a TCC, prepare of a message: all are `submit` to the engine. */
  | { readonly kind: 'submit' }
  | { readonly kind: 'register'; readonly branches: readonly string[] }
  | { readonly kind: 'commit' }
  | { readonly kind: 'get' }
  | {
      readonly kind: 'act';
      readonly action: Action;
      readonly branch?: string;
      readonly unresolved?: readonly string[];
    };

export type Answer =
  | (Stamp & { readonly kind: 'view'; readonly view: TransactionView })
  | (Stamp & { readonly kind: 'error'; readonly code: ErrorCode; readonly message: string })
  /** None came: lost on the way, or the coordinator died, or the client did. It may or may not have happened. */
  | { readonly kind: 'none' };

/** One conditional write, claim or deletion, as the store carried it out, whether or not anybody heard. */
export interface StoreWrite extends Stamp {
  readonly kind: 'insert' | 'update' | 'claim' | 'prune';
  readonly gid: Gid;
  readonly coordinator: string;
  /** The epoch under which the coordinator that wrote was running, by the lease it last got from the store. */
  readonly writerEpoch: number;
  /** What the write rests on, for an update. */
  readonly expected: { readonly revision: number; readonly epoch: number } | undefined;
  readonly outcome: WriteOutcome['kind'];
  /** The row before; undefined when there was none. */
  readonly before: StoredTransaction | undefined;
  /** The row after; the same object as `before` when the write was refused. */
  readonly after: StoredTransaction | undefined;
  /** The coordinator was told. */
  readonly answered: boolean;
}

export interface LeaseRecord extends Stamp {
  readonly kind: 'joined' | 'renewed' | 'lost' | 'left';
  readonly coordinator: string;
  readonly epoch: number;
  /** On the store's clock; where one was granted. */
  readonly untilMs: number | undefined;
}

/** A branch call at the moment it left a coordinator. */
export interface CallRecord extends Stamp {
  readonly id: number;
  readonly coordinator: string;
  readonly writerEpoch: number;
  readonly gid: Gid;
  readonly branch: string;
  readonly op: Op;
  readonly attempt: number;
  readonly participant: string;
  /** The row in the store at that very moment: what a crash right now would leave. */
  readonly durable: StoredTransaction | undefined;
  /** What the coordinator made of it; undefined when it never heard (crashed, or the run ended). */
  readonly reply: (Stamp & { readonly outcome: Outcome; readonly repeatable: boolean }) | undefined;
}

/** A call as a participant carried it out, in its own local transaction. A call may be handled never, once or often. */
export interface Handled extends Stamp {
  readonly call: number;
  readonly participant: string;
  readonly gid: Gid;
  readonly branch: string;
  readonly op: Op;
  /**
   * - `worked`: the business function ran, and its transaction committed.
   * - `refused`: it said no, and that was kept.
   * - `repeated`: the answer kept from before.
   * - `null`: an undo of what never came (P2). `suspended`: came after its undo (P3).
   * - `rolled-back`: it failed or crashed before its local commit, so nothing happened.
   * - `conflict`: the barrier refused the pair (P6).
   */
  readonly how: 'worked' | 'refused' | 'repeated' | 'null' | 'suspended' | 'rolled-back' | 'conflict';
}

/** A committed change of a participant's books: the truth. Also the local transactions of message producers. */
export interface EffectRecord extends Stamp {
  readonly participant: string;
  readonly gid: Gid;
  readonly branch: string;
  readonly op: Op;
  readonly account: string;
  /** Change of the free balance. */
  readonly delta: number;
  /** Change of what is held for a try. */
  readonly held: number;
  /** What the books say afterwards. */
  readonly balanceAfter: number;
  readonly heldAfter: number;
}

export interface AlarmRecord extends Stamp {
  readonly coordinator: string;
  readonly code: AlarmCode;
  readonly gid: Gid | undefined;
  readonly message: string;
}

/** Taken at every sampling interval from each living coordinator. */
export interface BoundsSample extends Stamp {
  readonly coordinator: string;
  readonly transactions: number;
  readonly writesWaiting: number;
  /** The largest number of calls under way to one destination since the last sample. */
  readonly callsPerDestinationMax: number;
  readonly timers: number;
}

export interface LifeRecord extends Stamp {
  readonly kind: 'started' | 'crashed' | 'paused' | 'resumed' | 'stopping' | 'stopped';
  /** `coordinator-1#3` is the third incarnation of coordinator 1; or a participant. */
  readonly process: string;
}

export interface FinalDump {
  readonly rows: readonly StoredTransaction[];
  readonly accounts: readonly AccountDump[];
  readonly barrierRows: readonly {
    readonly participant: string;
    readonly gid: Gid;
    readonly branch: string;
    readonly op: Op;
    readonly by: Op;
  }[];
  /** Epochs of leases that have not lapsed. */
  readonly leases: readonly number[];
  readonly coordinators: readonly {
    readonly coordinator: string;
    readonly transactions: number;
    readonly writesWaiting: number;
    readonly timers: number;
    readonly callsUnderWay: number;
  }[];
}

export interface AccountDump {
  readonly participant: string;
  readonly account: string;
  readonly opening: number;
  readonly balance: number;
  readonly held: number;
  /** May it go below zero? */
  readonly overdraft: boolean;
}

/** Whether a status is one a client may rely on for ever. */
export function isFinal(status: Status): boolean {
  return status === 'committed' || status === 'aborted' || status === 'forgotten';
}
