/**
 * What the two halves of the store say to each other: `sqlite-store.ts` in the caller's thread, `worker.ts` in its own.
 *
 * Writes travel as one flat array per group, since cloning an array of strings and numbers costs a fraction of cloning
 * an object per write. Everything else is rare and travels as it is.
 */
import type { Gid } from '../../core/ids.ts';
import type {
  ClaimedTransaction,
  Lease,
  ListPage,
  ListQuery,
  PrunePolicy,
  Renewal,
  StoredTransaction,
  Write,
  WriteOutcome,
} from '../../engine/ports.ts';
import { type ErrorCode, SettleError } from '../../util/errors.ts';

export interface Calls {
  readonly load: { readonly ask: Gid; readonly answer: StoredTransaction | undefined };
  readonly list: { readonly ask: ListQuery; readonly answer: ListPage };
  readonly join: { readonly ask: JoinRequest; readonly answer: Lease };
  readonly renew: {
    readonly ask: RenewRequest;
    readonly answer: Renewal;
  };
  readonly leave: { readonly ask: number; readonly answer: undefined };
  readonly claim: { readonly ask: ClaimRequest; readonly answer: readonly ClaimedTransaction[] };
  readonly prune: { readonly ask: PrunePolicy; readonly answer: number };
  /** Tests only: moves the store's clock forward. */
  readonly advance: { readonly ask: number; readonly answer: undefined };
}

export interface JoinRequest {
  readonly cluster: string;
  readonly coordinator: string;
  readonly ttlMs: number;
}

export interface RenewRequest {
  readonly epoch: number;
  readonly ttlMs: number;
  readonly driving: number | undefined;
}

export interface ClaimRequest {
  readonly epoch: number;
  readonly limit: number;
}

export type Verb = keyof Calls;

export type Handlers = { readonly [V in Verb]: (ask: Calls[V]['ask']) => Calls[V]['answer'] };

export type Request =
  | { readonly kind: 'commit'; readonly id: number; readonly writes: number; readonly cells: readonly Cell[] }
  | { readonly kind: 'call'; readonly id: number; readonly verb: Verb; readonly ask: unknown }
  | { readonly kind: 'close'; readonly id: number };

export type Reply =
  | { readonly kind: 'opened' }
  /** The file could not be opened; the worker ends. */
  | { readonly kind: 'not-opened'; readonly failure: Failure }
  /** For each group its id and its outcomes, one after the other. */
  | { readonly kind: 'committed'; readonly nowMs: number; readonly groups: readonly (number | Outcomes)[] }
  | { readonly kind: 'answer'; readonly id: number; readonly answer: unknown }
  | { readonly kind: 'failed'; readonly ids: readonly number[]; readonly failure: Failure };

/** One character per write: `w` written, `e` exists, `l` lost. Null, the common case: all were written. */
export type Outcomes = string | null;

export type Cell = string | number | null;

/** The first cell of a write says what it is and so how many follow. */
export const insertTag = 1;
export const updateTag = 2;
export const insertCells = 11;
export const updateCells = 9;

/** In the order in which `commit.ts` binds them. */
export function encodeWrite(write: Write, cells: Cell[]): void {
  if (write.kind === 'insert') {
    cells.push(
      insertTag,
      write.gid,
      write.pattern,
      write.name,
      write.status,
      write.stuck ? 1 : 0,
      write.epoch,
      write.createdAtMs,
      write.dueAtMs ?? null,
      write.plan,
      write.progress,
    );
  } else {
    cells.push(
      updateTag,
      write.status,
      write.stuck ? 1 : 0,
      write.progress,
      write.dueAtMs ?? null,
      write.nextEpoch,
      write.gid,
      write.revision,
      write.epoch,
    );
  }
}

const written: WriteOutcome = { kind: 'written' };
const exists: WriteOutcome = { kind: 'exists' };
const lost: WriteOutcome = { kind: 'lost' };

/** Of the `count` writes that begin at `from` in their group. */
export function decodeOutcomes(outcomes: Outcomes, from: number, count: number): readonly WriteOutcome[] {
  if (outcomes === null) return Array.from({ length: count }, () => written);
  return Array.from({ length: count }, (_, i) => {
    const letter = outcomes[from + i];
    return letter === 'w' ? written : letter === 'e' ? exists : lost;
  });
}

/** A SettleError as it crosses between threads. */
export interface Failure {
  readonly code: ErrorCode;
  readonly what: string;
  readonly next: string | undefined;
  readonly retryAfterMs: number | undefined;
}

export function failureOf(error: SettleError): Failure {
  const { code, next, retryAfterMs } = error;
  return { code, what: error.message.slice(code.length + 2), next, retryAfterMs };
}

export function errorOf({ code, what, next, retryAfterMs }: Failure): SettleError {
  return new SettleError(code, what, { next, retryAfterMs });
}
