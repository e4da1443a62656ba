/**
 * The verbs of a barrier that runs its own transactions, the same for every database: what is asked of the protocol, and
 * what the caller is told once that is committed. How a transaction is had, committed and given up is the adapter's.
 */
import { parseGid } from '../core/ids.ts';
import { producerBranch } from '../core/message-plan.ts';
import type { Json } from '../util/json.ts';
import type { Answer } from './answer.ts';
import { barrier, begin, type BarrierCall, type BarrierTransaction } from './barrier.ts';
import { tellAnswer } from './kept-answers.ts';
import type { MaybePromise } from './maybe-async.ts';

/** What work may give back: it is kept beside its row. */
export type KeptResult = Json | undefined | void;

export interface Guard<Client> {
  /**
   * Runs `work` for this call at most once, in a transaction of its own, and gives back its result; a repeat gets the same
   * result without running it. Return what this gives you: the handler then tells the coordinator that the answer is kept
   * (`settle-barrier: stored`).
   *
   * `work` has one effect as far as it writes through the client it is given; it must neither begin nor end a transaction,
   * and may be run again after one that was rolled back. One `run` for one call: a second one with the same call is a
   * repeat, whatever its work.
   *
   * Rejects with `Refused` (kept), with what `work` threw (rolled back), with `barrier_conflict`, `limit_exceeded`, or
   * `unavailable` when the transaction could not be begun or committed. All but the first leave nothing behind,
   * save that an `unavailable` commit may have happened.
   */
  run<Call extends BarrierCall, Result extends KeptResult>(
    call: Call,
    work: (client: Client, call: Call) => MaybePromise<Result>,
  ): Promise<Result>;
  /**
   * Writes down, and commits, that an action or try begins; call it before `run` when the work reaches beyond this
   * database. Should it then die half-way, its compensation or cancel runs, instead of taking it for one that never came.
   * Default: not written down. Does nothing for other operations and for a call that was answered.
   *
   * ```ts
   * await guard.begin(call);
   * return guard.run(call, (client) => holdAtTheBank(client, call));
   * ```
   */
  begin(call: BarrierCall): Promise<void>;
  /**
   * The local transaction of a message's producer: what `work` writes commits together with the mark that the check-back
   * looks for. Once a check-back has found no mark, this rejects with `Refused`, and nothing is written.
   * A second call with this gid does not run again.
   */
  prepare<Result extends KeptResult>(
    gid: string,
    work: (client: Client) => MaybePromise<Result>,
  ): Promise<Result>;
  /** The answer to a check-back: fulfils when the producer's local transaction committed, else rejects with `Refused`. */
  check(call: BarrierCall): Promise<undefined>;
}

/** Runs a part in a transaction, and fulfils once that is committed; whatever else comes is an error. */
export type Transact<Client> = <T>(
  part: (t: BarrierTransaction, client: Client) => MaybePromise<T>,
) => Promise<T>;

/** The verbs over a way to have transactions. */
export function guardOver<Client>(transact: Transact<Client>): Guard<Client> {
  /** `asked` is the object the handler knows; the key may be another. */
  async function answer<Result>(
    asked: object,
    key: BarrierCall,
    work: (client: Client) => MaybePromise<KeptResult>,
  ): Promise<Result> {
    const came: Answer = await transact((t, client) => barrier(t, key, () => work(client)));
    // Printed by, and read back for, this very operation.
    return tellAnswer(asked, came) as Result;
  }

  return {
    run: (call, work) => answer(call, keyOf(call), (client) => work(client, call)),
    begin: async (call) => {
      if (call.op === 'action' || call.op === 'try') await transact((t) => begin(t, keyOf(call)));
    },
    prepare: async (gid, work) => {
      const key = { gid: parseGid(gid), branch: producerBranch, op: 'action' } as const;
      return answer(key, key, work);
    },
    check: (call) => answer(call, { ...keyOf(call), op: 'check' }, () => undefined),
  };
}

/** Only what the key consists of: a call carries its payload too. */
export function keyOf({ gid, branch, op }: BarrierCall): BarrierCall {
  return { gid, branch, op };
}
