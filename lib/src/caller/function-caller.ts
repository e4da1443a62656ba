import { isOngoing, isRefused } from '../define/answers.ts';
import type { FunctionCall, FunctionRegistry, RegisteredFunction } from '../define/functions.ts';
import type { BranchCall, BranchCaller, CallReply, Clock } from '../engine/ports.ts';
import { phaseOf } from '../wire/classify.ts';
import type { Outcome } from '../core/outcome.ts';
import { messageOf } from '../util/errors.ts';
import { onAbort } from '../util/on-abort.ts';
import type { Json } from '../util/json.ts';

export interface FunctionCallerOptions {
  /** Ends the calls whose time is up. */
  readonly clock: Pick<Clock, 'schedule'>;
}

/**
 * Calls functions of this process, at addresses `fn:<definition>/<branch>/<op>`.
 *
 * A function that does not end within its time is unknown; it is told by its `signal`, and what it still does cannot be
 * stopped from here. An answer is `repeatable` when the function was declared idempotent. A `Refused` in phase 2 is
 * unknown.
 */
export function functionCaller(registry: FunctionRegistry, { clock }: FunctionCallerOptions): BranchCaller {
  return {
    call: (call, signal) => {
      const entry = registry.get(call.address);
      return entry === undefined
        ? Promise.resolve(notRegistered(call.address))
        : new Attempt(call, entry).run(clock, signal);
    },
    // One step that hangs or fails slows down itself, not its neighbours.
    destinationOf: (address) => address.slice(0, address.lastIndexOf('/')),
    whyNotAllowed: (address) => (registry.has(address) ? undefined : whyNotRegistered(address)),
  };
}

/** One call of one function: it settles once, with the function's answer, at its deadline, or when it is given up. */
class Attempt {
  private readonly call: BranchCall;
  private readonly entry: RegisteredFunction;
  private controller: AbortController | undefined;
  private settle: (reply: CallReply) => void = () => undefined;

  constructor(call: BranchCall, entry: RegisteredFunction) {
    this.call = call;
    this.entry = entry;
  }

  run(clock: Pick<Clock, 'schedule'>, signal: AbortSignal): Promise<CallReply> {
    if (signal.aborted) return Promise.resolve(unknown('the caller gave up'));
    return new Promise((resolve) => {
      const cancelDeadline = clock.schedule(this.call.timeoutMs, () =>
        this.giveUp(`no answer within ${this.call.timeoutMs} ms`),
      );
      const forgetSignal = onAbort(signal, () => this.giveUp('the caller gave up'));
      this.settle = (reply) => {
        cancelDeadline();
        forgetSignal();
        resolve(reply);
      };
      this.start();
    });
  }

  private start(): void {
    let answer: Promise<Json | undefined>;
    try {
      answer = this.entry.call(this.functionCall());
    } catch (error) {
      // A function that is not async may throw at once.
      return this.settle(this.failed(error));
    }
    answer.then(
      (result) =>
        this.settle({
          outcome: result === undefined ? { kind: 'done' } : { kind: 'done', result },
          repeatable: this.entry.idempotent,
        }),
      (error: unknown) => this.settle(this.failed(error)),
    );
  }

  private failed(error: unknown): CallReply {
    const outcome = meaningOf(error, this.call);
    return { outcome, repeatable: this.entry.idempotent && outcome.kind === 'refused' };
  }

  private giveUp(reason: string): void {
    this.controller?.abort(new Error(reason));
    this.settle(unknown(reason));
  }

  private functionCall(): FunctionCall {
    const { gid, branch, op, attempt, payload } = this.call;
    const signal = (): AbortSignal => (this.controller ??= new AbortController()).signal;
    return {
      gid,
      branch,
      op,
      attempt,
      payload,
      // Few functions look at it, and making one costs more than the rest of the call.
      get signal() {
        return signal();
      },
    };
  }
}

function meaningOf(error: unknown, { op }: BranchCall): Outcome {
  if (isRefused(error)) {
    return phaseOf(op) === 1
      ? { kind: 'refused', reason: error.reason }
      : {
          kind: 'unknown',
          reason: `refused ${op}, which follows a decision: ${error.reason}`,
          contrary: true,
        };
  }
  if (isOngoing(error)) {
    const { retryAfterMs } = error;
    return retryAfterMs === undefined ? { kind: 'ongoing' } : { kind: 'ongoing', retryAfterMs };
  }
  return { kind: 'unknown', reason: messageOf(error) };
}

function notRegistered(address: string): CallReply {
  return {
    outcome: { kind: 'unknown', reason: whyNotRegistered(address), misconfigured: true },
    repeatable: false,
  };
}

function whyNotRegistered(address: string): string {
  return `no function is registered for ${address}; open the coordinator with its definition`;
}

function unknown(reason: string): CallReply {
  return { outcome: { kind: 'unknown', reason }, repeatable: false };
}
