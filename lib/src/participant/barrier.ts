/**
 * The participant's guard, inside the participant's own local transaction. It makes one effect of at least one call,
 * and orders what the network may reorder.
 *
 * It owns the rows of `settle_barrier`; it owns neither the transaction nor the database (a `BarrierTransaction` gives
 * it both), and knows nothing of HTTP.
 *
 * - P1 An operation of a branch takes effect at most once. A repeat gets the answer of the first.
 * - P2 A compensation or cancel whose action or try never came changes nothing, and is done (null compensation).
 * - P3 An action or try that comes after that is refused (suspension): the row its undo left stands in its place.
 * - P4 A refusal is an answer like any other: the effects are rolled back, the refusal is kept.
 * - P5 Any other error rolls everything back, the row too. It is as if the call had never come.
 * - P6 Confirm needs a try that was done. Of confirm and cancel, one happens: the other is a `barrier_conflict`.
 * - P7 A check-back that finds no row of the producer's leaves one: the late local transaction is then refused.
 */
import { isRefused } from '../define/answers.ts';
import type { BranchName, Gid } from '../core/ids.ts';
import type { Op } from '../core/outcome.ts';
import { SettleError } from '../util/errors.ts';
import type { Json } from '../util/json.ts';
import { planted } from '../util/planted-bug.ts';
import { parseAnswer, printAnswer, type Answer } from './answer.ts';
import { drive, settled, type MaybePromise } from './maybe-async.ts';

export interface BarrierCall {
  readonly gid: Gid;
  readonly branch: BranchName;
  readonly op: Op;
}

/** `settle_barrier(gid, branch, op, by_op, answer, created_at, primary key (gid, branch, op))` */
export interface BarrierRow extends BarrierCall {
  /** The operation that put it there: its own, or the undo or check that found nothing. */
  readonly by: Op;
  /** `printAnswer`; undefined only while the transaction that runs the operation is open. */
  readonly answer: string | undefined;
}

/**
 * What a barrier needs of a database, inside one open transaction of it. A driver that answers at once keeps the whole
 * barrier synchronous.
 */
export interface BarrierTransaction {
  /**
   * Inserts the row unless one with its gid, branch and op is there; then gives back that one, locked. While another
   * transaction that inserted it is open, waits for its end, or throws.
   */
  place(row: BarrierRow): MaybePromise<BarrierRow | undefined>;
  /** Reads a row and locks it until the end of the transaction. */
  find(key: BarrierCall): MaybePromise<BarrierRow | undefined>;
  answer(key: BarrierCall, answer: string): MaybePromise<void>;
  /** Marks the place that {@link rollback} goes back to. */
  savepoint(): MaybePromise<void>;
  rollback(): MaybePromise<void>;
  release(): MaybePromise<void>;
}

export type BarrierWork = () => MaybePromise<Json | undefined | void>;

/**
 * Runs `work` once for this call, however often and in whatever order calls come, and gives back the call's answer:
 * the one of `work`, or the one kept from before.
 *
 * A refusal is an answer too (P4): **commit the transaction whenever this fulfils**, then tell the caller. When it throws,
 * roll back; the outcome is unknown, and the call will come again.
 *
 * Guarantees P1 to P7, as far as `work` writes through this very transaction: what it does elsewhere may happen more than
 * once. Throws what `work` throws (other than `Refused`), and `barrier_conflict`, `limit_exceeded`.
 */
export function barrier(t: BarrierTransaction, call: BarrierCall, work: BarrierWork): MaybePromise<Answer> {
  return drive(guarded(t, call, work));
}

function* guarded(
  t: BarrierTransaction,
  call: BarrierCall,
  work: BarrierWork,
): Generator<PromiseLike<unknown>, Answer, unknown> {
  const known = yield* admit(t, call);
  if (known !== undefined) return known;
  yield* settled(t.savepoint());
  let answer: Answer;
  try {
    const result = yield* settled(work());
    answer = result === undefined ? { kind: 'done' } : { kind: 'done', result };
  } catch (error) {
    if (!isRefused(error) || !mayRefuse(call.op)) throw error;
    yield* settled(t.rollback());
    answer = { kind: 'refused', reason: error.reason };
  }
  yield* settled(t.release());
  yield* settled(t.answer(call, printAnswer(answer)));
  return answer;
}

/** The answer that is known already; undefined when the operation's own row was placed, and its work is to run. */
function* admit(
  t: BarrierTransaction,
  call: BarrierCall,
): Generator<PromiseLike<unknown>, Answer | undefined, unknown> {
  switch (call.op) {
    case 'action':
    case 'try':
      return yield* takePlace(t, call);
    case 'compensate':
    case 'cancel':
      return yield* undo(t, call);
    case 'confirm':
      return yield* confirm(t, call);
    case 'check':
      return yield* check(t, call);
  }
}

/** P1, P3 */
function* takePlace(
  t: BarrierTransaction,
  call: BarrierCall,
): Generator<PromiseLike<unknown>, Answer | undefined, unknown> {
  const there = yield* settled(t.place({ ...call, by: call.op, answer: undefined }));
  if (there === undefined) return undefined;
  if (there.by === call.op) return planted('repeat-runs-again') ? undefined : answerIn(there);
  return { kind: 'refused', reason: `suspended: ${there.by} came before ${call.op}` };
}

/** P2 */
function* undo(
  t: BarrierTransaction,
  call: BarrierCall,
): Generator<PromiseLike<unknown>, Answer | undefined, unknown> {
  const undone: BarrierCall = { ...call, op: call.op === 'cancel' ? 'try' : 'action' };
  if (planted('no-suspension-row') && (yield* settled(t.find(undone))) === undefined) return { kind: 'done' };
  const first = yield* settled(t.place({ ...undone, by: call.op, answer: printAnswer({ kind: 'done' }) }));
  if (planted('empty-undo-runs') && first === undefined) return yield* takePlace(t, call);
  if (first === undefined || first.by === call.op) return { kind: 'done' };
  if (answerIn(first).kind === 'refused') return { kind: 'done' };
  if (call.op === 'cancel') yield* mustBeAbsent(t, call, 'confirm');
  return yield* takePlace(t, call);
}

/** P6. The lock on the try's row is what makes a confirm and a cancel that come together wait for each other. */
function* confirm(
  t: BarrierTransaction,
  call: BarrierCall,
): Generator<PromiseLike<unknown>, Answer | undefined, unknown> {
  const tried = yield* settled(t.find({ ...call, op: 'try' }));
  if (tried === undefined || tried.by !== 'try' || answerIn(tried).kind !== 'done') {
    const what =
      tried === undefined ? 'was never tried' : tried.by === 'try' ? 'refused its try' : 'was cancelled';
    throw conflict(call, `cannot be confirmed: it ${what}`);
  }
  yield* mustBeAbsent(t, call, 'cancel');
  return yield* takePlace(t, call);
}

function* mustBeAbsent(
  t: BarrierTransaction,
  call: BarrierCall,
  op: Op,
): Generator<PromiseLike<unknown>, void, unknown> {
  const other = yield* settled(t.find({ ...call, op }));
  if (other !== undefined) throw conflict(call, `was asked to ${call.op} after its ${op}`);
}

/** P7: the answer is whether the local transaction that sends the message committed. */
function* check(
  t: BarrierTransaction,
  call: BarrierCall,
): Generator<PromiseLike<unknown>, Answer | undefined, unknown> {
  const refusal: Answer = { kind: 'refused', reason: 'the local transaction of the producer did not commit' };
  const sent: BarrierCall = { ...call, op: 'action' };
  const there = planted('check-leaves-no-row')
    ? yield* settled(t.find(sent))
    : yield* settled(t.place({ ...sent, by: 'check', answer: printAnswer(refusal) }));
  if (there === undefined || there.by === 'check') return refusal;
  const answer = answerIn(there);
  return answer.kind === 'done' ? { kind: 'done' } : answer;
}

/** A participant may not refuse what follows a decision: there it is an error, and rolls everything back (P5). */
function mayRefuse(op: Op): boolean {
  return op === 'action' || op === 'try' || op === 'check';
}

function answerIn(row: BarrierRow): Answer {
  if (row.answer !== undefined) return parseAnswer(row.answer);
  throw conflict(row, `has a committed ${row.op} without an answer`);
}

function conflict({ gid, branch }: BarrierCall, what: string): SettleError {
  return new SettleError('barrier_conflict', `branch ${branch} of ${gid} ${what}`, {
    gid,
    next: 'Look at the rows of this gid in settle_barrier, and at the history of the transaction',
  });
}
