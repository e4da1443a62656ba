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
 * - P6 Confirm needs a try that was done. Of confirm and cancel, one happens: the cancel of what was tried takes the
 *   confirm's place, and whichever of the two comes second is a `barrier_conflict`.
 * - P7 A check-back that finds no row of the producer's leaves one: the late local transaction is then refused.
 * - P8 An action or try that was begun (`begin`) and then died is undone like one that was done, and refused after that.
 *
 * Every one of these rests on a unique key, never on a row that was looked for and not found: that holds at every
 * isolation level, also where a transaction reads from an older snapshot, and takes no locks on gaps.
 */
import { isRefused } from '../define/answers.ts';
import type { BranchName, Gid } from '../core/ids.ts';
import type { Op } from '../core/outcome.ts';
import { SettleError } from '../util/errors.ts';
import type { Json } from '../util/json.ts';
import { planted } from '../util/planted-bug.ts';
import { begunText, parseKept, printAnswer, type Answer, type Kept } from './answer.ts';
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
  /** `printAnswer`, or `begunText`; undefined only while the transaction that runs the operation is open. */
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
  /** Reads a row that is committed, or of this transaction. Needs no lock: what is read is either final, or an error. */
  find(key: BarrierCall): MaybePromise<BarrierRow | undefined>;
  answer(key: BarrierCall, answer: string): MaybePromise<void>;
  /**
   * Runs it within a savepoint: keeps what it wrote when it fulfils. A refusal that it throws undoes what it wrote, and
   * comes out; so does any other error, after which the whole transaction is rolled back.
   */
  nested<T>(work: () => MaybePromise<T>): MaybePromise<T>;
}

export type BarrierWork = () => MaybePromise<Json | undefined | void>;

/**
 * Runs `work` once for this call, however often and in whatever order calls come, and gives back the call's answer:
 * the one of `work`, or the one kept from before.
 *
 * A refusal is an answer too (P4): **commit the transaction whenever this fulfils**, then tell the caller. When it throws,
 * roll back; the outcome is unknown, and the call will come again.
 *
 * Guarantees P1 to P8, as far as `work` writes through this very transaction: what it does elsewhere may happen more than
 * once. Throws what `work` throws (other than `Refused`), and `barrier_conflict`, `limit_exceeded`.
 */
export function barrier(t: BarrierTransaction, call: BarrierCall, work: BarrierWork): MaybePromise<Answer> {
  return drive(guarded(t, call, work));
}

/**
 * Writes down that an action or try begins, in a transaction of its own: commit it, and only then run the operation.
 *
 * For work whose effects reach beyond this database, and so stay when its transaction is rolled back. An undo then runs
 * although the operation died half-way (P8); without this it takes it for one that never came (P2). Does nothing for other
 * operations, and nothing when the row is there already.
 */
export function begin(t: BarrierTransaction, call: BarrierCall): MaybePromise<void> {
  if (call.op === 'action' || call.op === 'try') return drive(placeBegun(t, call));
}

function* placeBegun(
  t: BarrierTransaction,
  call: BarrierCall,
): Generator<PromiseLike<unknown>, void, unknown> {
  yield* settled(t.place({ ...call, by: call.op, answer: begunText }));
}

function* guarded(
  t: BarrierTransaction,
  call: BarrierCall,
  work: BarrierWork,
): Generator<PromiseLike<unknown>, Answer, unknown> {
  const known = yield* admit(t, call);
  if (known !== undefined) return known;
  let answer: Answer;
  try {
    const result = yield* settled(t.nested(work));
    answer = result === undefined ? { kind: 'done' } : { kind: 'done', result };
  } catch (error) {
    if (!isRefused(error) || !mayRefuse(call.op)) throw error;
    answer = { kind: 'refused', reason: error.reason };
  }
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
  if (there.by !== call.op) return suspended(call.op, there.by);
  const kept = keptIn(there);
  // P8: it died, or we would still be waiting for its lock. What it did in this database is gone; it runs again.
  if (kept.kind === 'begun') return undefined;
  return planted('repeat-runs-again') ? undefined : kept;
}

function suspended(op: Op, by: Op): Answer {
  return { kind: 'refused', reason: `suspended: ${by} came before ${op}` };
}

/** P2, P8 */
function* undo(
  t: BarrierTransaction,
  call: BarrierCall,
): Generator<PromiseLike<unknown>, Answer | undefined, unknown> {
  const undone: BarrierCall = { ...call, op: call.op === 'cancel' ? 'try' : 'action' };
  if (planted('no-suspension-row') && (yield* settled(t.find(undone))) === undefined) return { kind: 'done' };
  const first = yield* settled(t.place({ ...undone, by: call.op, answer: printAnswer({ kind: 'done' }) }));
  if (planted('empty-undo-runs') && first === undefined) return yield* takePlace(t, call);
  if (first === undefined || first.by === call.op) return { kind: 'done' };
  switch (keptIn(first).kind) {
    case 'refused':
      // Refused by itself, or died and undone before: then the undo has an answer to repeat.
      return yield* ownAnswer(t, call);
    case 'begun':
      yield* settled(t.answer(undone, printAnswer(suspended(undone.op, call.op))));
      return yield* takePlace(t, call);
    case 'done':
      if (call.op === 'cancel') yield* takePlaceOfConfirm(t, call);
      return yield* takePlace(t, call);
  }
}

function* ownAnswer(
  t: BarrierTransaction,
  call: BarrierCall,
): Generator<PromiseLike<unknown>, Answer, unknown> {
  const own = yield* settled(t.find(call));
  return own === undefined ? { kind: 'done' } : answerIn(own);
}

/** P6 */
function* takePlaceOfConfirm(
  t: BarrierTransaction,
  call: BarrierCall,
): Generator<PromiseLike<unknown>, void, unknown> {
  const answer = printAnswer(suspended('confirm', 'cancel'));
  const there = yield* settled(t.place({ ...call, op: 'confirm', by: 'cancel', answer }));
  if (there?.by === 'confirm') throw conflict(call, 'was asked to cancel after its confirm');
}

/** P6 */
function* confirm(
  t: BarrierTransaction,
  call: BarrierCall,
): Generator<PromiseLike<unknown>, Answer | undefined, unknown> {
  const tried = yield* settled(t.find({ ...call, op: 'try' }));
  if (tried === undefined) throw conflict(call, 'cannot be confirmed: it was never tried');
  if (tried.by !== 'try') throw conflict(call, 'cannot be confirmed: it was cancelled');
  if (answerIn(tried).kind !== 'done') throw conflict(call, 'cannot be confirmed: it refused its try');
  const known = yield* takePlace(t, call);
  if (known?.kind === 'refused') throw conflict(call, 'was asked to confirm after its cancel');
  return known;
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
  const kept = keptIn(row);
  if (kept.kind !== 'begun') return kept;
  throw conflict(row, `has a ${row.op} that began and did not end`);
}

function keptIn(row: BarrierRow): Kept {
  if (row.answer !== undefined) return parseKept(row.answer);
  throw conflict(
    row,
    `has a ${row.op} without an answer: it runs in this very transaction, or its work committed by itself`,
  );
}

function conflict({ gid, branch }: BarrierCall, what: string): SettleError {
  return new SettleError('barrier_conflict', `branch ${branch} of ${gid} ${what}`, {
    gid,
    next: 'Look at the rows of this gid in settle_barrier, and at the history of the transaction',
  });
}
