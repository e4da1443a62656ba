/**
 * A message and a local transaction, both or neither.
 *
 * Owns: which of the two hears what, in which order. Does not own: the local transaction (a barrier), the check-back's
 * answer (the same barrier), delivery (the coordinator).
 *
 * - L1 The message is durably prepared before the local transaction begins.
 * - L2 The message is submitted only after the local transaction said that it committed.
 * - L3 The message is dropped only when the local transaction surely did not commit: our `work` was called, so no earlier
 *      attempt with this gid had left its row, and it threw, so there was nothing to commit. Everything else (a commit
 *      whose answer was lost, a transaction that could not begin) is left to the check-back, which sees the row.
 * - L4 Once the local transaction committed, nothing that happens to us makes this a failure.
 */
import type { Coordinator } from '../core/coordinator.ts';
import type { Gid } from '../core/ids.ts';
import type { TransactionView } from '../core/patterns.ts';
import type { MessageDefinition } from '../core/message-plan.ts';
import type { Json } from '../util/json.ts';
import { outcomeOf, type TransactionOutcome } from './outcome.ts';
import type { SubmitOptions } from './settle.ts';
import { waitForEnd } from './wait.ts';

/** What a local transaction gives back is kept beside its row, so it is JSON, or nothing. */
export type LocalValue = Json | undefined | void;

/** What is needed of a barrier: a local transaction that also writes the row by which the check-back is answered. */
export interface LocalTransactions<Tx> {
  prepare<Value extends LocalValue>(gid: Gid, work: (tx: Tx) => Value | Promise<Value>): Promise<Value>;
}

export interface Sent<Value, Results> {
  /** What `work` returned. */
  readonly value: Value;
  readonly message: TransactionOutcome<Results>;
}

export type SendWithTransaction = <Tx, Value extends LocalValue, Results>(
  definition: MessageDefinition,
  transactions: LocalTransactions<Tx>,
  work: (tx: Tx) => Value | Promise<Value>,
  options: SubmitOptions | undefined,
) => Promise<Sent<Value, Results>>;

export async function sendWithTransaction<Tx, Value extends LocalValue, Results>(
  coordinator: Pick<Coordinator, 'submit' | 'commit' | 'act' | 'get'>,
  gid: Gid,
  definition: MessageDefinition,
  transactions: LocalTransactions<Tx>,
  work: (tx: Tx) => Value | Promise<Value>,
  { waitMs = 0, signal }: SubmitOptions,
): Promise<Sent<Value, Results>> {
  const patient = signal === undefined ? {} : { signal };
  const prepared = await coordinator.submit({
    gid,
    definition: { pattern: 'message', ...definition },
    ...patient,
  });
  const value = await locally(coordinator, gid, transactions, work);
  try {
    const view = await waitForEnd(coordinator, (options) => coordinator.commit(gid, options), {
      waitMs,
      ...patient,
    });
    return { value, message: outcomeOf(view) };
  } catch {
    // L4: the check-back will find the row.
    return { value, message: { status: 'pending', gid, transaction: prepared } };
  }
}

async function locally<Tx, Value extends LocalValue>(
  coordinator: Pick<Coordinator, 'act'>,
  gid: Gid,
  transactions: LocalTransactions<Tx>,
  work: (tx: Tx) => Value | Promise<Value>,
): Promise<Value> {
  // A barrier may run work again; what counts is how the last run ended.
  const last: { run: 'none' | 'returned' | 'threw' } = { run: 'none' };
  try {
    return await transactions.prepare(gid, async (tx) => {
      last.run = 'threw';
      const value = await work(tx);
      last.run = 'returned';
      return value;
    });
  } catch (error) {
    // L3
    if (last.run === 'threw') await abortAfter(coordinator, gid, error);
    throw error;
  }
}

/** Aborts because of an error; when that fails too, both reach the caller. */
export async function abortAfter(
  coordinator: Pick<Coordinator, 'act'>,
  gid: Gid,
  error: unknown,
  waitMs = 0,
): Promise<TransactionView> {
  const reason = (error instanceof Error ? error.message : String(error)).slice(0, 500) || 'it threw';
  try {
    return await coordinator.act(gid, { action: 'abort', reason, actor: 'client' }, { waitMs });
  } catch (abortError) {
    throw new AggregateError(
      [error, abortError],
      `${reason}; and ${gid} could not be aborted, so its deadline or check-back will`,
      { cause: abortError },
    );
  }
}
