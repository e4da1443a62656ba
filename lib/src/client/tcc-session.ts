/**
 * A TCC transaction driven by its initiator: branches are tried one by one, or side by side, by the code of a callback.
 *
 * - I1 The callback returned: commit. Should the answer be lost we do not abort: the decision may have fallen.
 * - I2 The callback threw: abort. When that fails too, both errors reach the caller, and the deadline cancels.
 * - I3 If we die, the deadline cancels what was tried.
 */
import type { Coordinator, WaitOptions } from '../core/coordinator.ts';
import type { Gid } from '../core/ids.ts';
import type { TransactionView } from '../core/patterns.ts';
import type { RetryPolicy } from '../core/retry-policy.ts';
import type { TccBranchDefinition } from '../core/tcc-plan.ts';
import { isRefused, Refused } from '../define/answers.ts';
import { SettleError, isSettleError } from '../util/errors.ts';
import type { Json } from '../util/json.ts';
import { abortAfter } from './local-transaction.ts';
import { hasEnded, outcomeOf, type TransactionOutcome } from './outcome.ts';
import { callSpec, type PayloadWithReferences } from './references.ts';
import { waitForEnd } from './wait.ts';

export interface TccUrlOptions {
  /** Default: a new one. With the gid of one that exists it goes on with that one, if its definition is the same. */
  readonly gid?: string;
  /** Milliseconds from now after which everything is cancelled. Default 60,000. */
  readonly timeoutMs?: number;
  /** Milliseconds one call may take. Default: the coordinator's. */
  readonly callTimeoutMs?: number;
  /** Milliseconds to wait, after the callback returned, until all is confirmed or cancelled. Default 30,000. */
  readonly waitMs?: number;
  readonly signal?: AbortSignal;
}

export interface TccUrlBranch {
  /** The http(s) URL asked to reserve. */
  readonly try: string;
  /** The URL asked to make it real, as often as it takes. */
  readonly confirm: string;
  /** The URL asked to give it back, as often as it takes. */
  readonly cancel: string;
  /** For all three. */
  readonly payload?: Json;
  /** For confirm and cancel, where it differs; members may come {@link from} the branch's own try. */
  readonly settlePayload?: PayloadWithReferences;
  /** How often a try without an answer is repeated before everything is cancelled. Default 4 attempts. */
  readonly retry?: RetryPolicy;
}

export interface TccSession {
  readonly gid: Gid;
  /**
   * Adds a branch and has it tried. Fulfils with the result of the try (`null` when it has none).
   * Throws `Refused` when it refused, and `illegal_action` when the transaction is being cancelled.
   */
  branch(name: string, branch: TccUrlBranch): Promise<Json>;
}

export async function runTcc(
  coordinator: Coordinator,
  gid: Gid,
  name: string,
  callback: (tx: TccSession) => Promise<void> | void,
  options: TccUrlOptions,
): Promise<TransactionOutcome> {
  const { timeoutMs, callTimeoutMs, waitMs = 0, signal } = options;
  const patient: WaitOptions = signal === undefined ? {} : { signal };
  await coordinator.submit({
    gid,
    definition: {
      pattern: 'tcc',
      name,
      ...(timeoutMs === undefined ? {} : { timeoutMs }),
      ...(callTimeoutMs === undefined ? {} : { callTimeoutMs }),
    },
    ...patient,
  });
  try {
    await callback({ gid, branch: (branch, how) => tryBranch(coordinator, gid, branch, how, patient) });
    signal?.throwIfAborted();
  } catch (error) {
    const aborted = await abortAfter(coordinator, gid, error, waitMs);
    if (isRefused(error)) return outcomeOf(aborted);
    throw error;
  }
  return confirm(coordinator, gid, { waitMs, ...patient });
}

async function tryBranch(
  coordinator: Coordinator,
  gid: Gid,
  name: string,
  how: TccUrlBranch,
  patient: WaitOptions,
): Promise<Json> {
  const definition = branchDefinition(name, how);
  for (;;) {
    patient.signal?.throwIfAborted();
    // A repeat of the very same registration only waits on.
    const view = await coordinator.register(gid, [definition], { ...patient, waitMs: 30_000 });
    const branch = view.branches.find((other) => other.branch === name);
    if (branch?.status === 'refused') throw new Refused(branch.reason ?? `${name} refused`);
    if (view.status !== 'trying') throw beingCancelled(view);
    if (branch?.status === 'done') return branch.result ?? null;
  }
}

function branchDefinition(name: string, branch: TccUrlBranch): TccBranchDefinition {
  const { try: tried, confirm: confirmed, cancel, payload, settlePayload, retry } = branch;
  return {
    name,
    try: callSpec(tried, payload),
    // Without a payload of their own, core gives them that of the try.
    confirm: callSpec(confirmed, settlePayload),
    cancel: callSpec(cancel, settlePayload),
    ...(retry === undefined ? {} : { retry }),
  };
}

/** I1. That the deadline was quicker is an outcome, not an error. */
async function confirm(
  coordinator: Coordinator,
  gid: Gid,
  options: WaitOptions,
): Promise<TransactionOutcome> {
  try {
    return outcomeOf(await waitForEnd(coordinator, (wait) => coordinator.commit(gid, wait), options));
  } catch (error) {
    if (!isSettleError(error) || error.code !== 'illegal_action') throw error;
    const view = await waitForEnd(coordinator, (wait) => coordinator.get(gid, wait), options);
    if (view.status === 'cancelling' || hasEnded(view)) return outcomeOf(view);
    throw error;
  }
}

function beingCancelled({ gid, status, reason }: TransactionView): SettleError {
  return new SettleError(
    'illegal_action',
    `no branch can be added to ${gid}, it is ${status}: ${reason ?? ''}`,
    {
      gid,
      next: 'Leave the callback; what was tried is being cancelled',
    },
  );
}
