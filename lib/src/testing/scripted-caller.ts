import type { BranchCall, BranchCaller, CallReply } from '../engine/ports.ts';
import type { Json } from '../util/json.ts';
import { onAbort } from '../util/on-abort.ts';

type Answer = CallReply | Promise<CallReply>;

/** Participants that answer as told: `done` unless a script for `<branch>/<op>` says otherwise. */
export class ScriptedCaller implements BranchCaller {
  readonly calls: BranchCall[] = [];
  readonly #scripts = new Map<string, (call: BranchCall, nth: number) => Answer>();
  readonly #counts = new Map<string, number>();

  /** Answers the nth call (from 1) of this branch and op. */
  on(branchAndOp: string, script: (call: BranchCall, nth: number) => Answer): this {
    this.#scripts.set(branchAndOp, script);
    return this;
  }

  async call(call: BranchCall, signal: AbortSignal): Promise<CallReply> {
    this.calls.push(call);
    const key = `${call.branch}/${call.op}`;
    const nth = (this.#counts.get(key) ?? 0) + 1;
    this.#counts.set(key, nth);
    const aborted = new Promise<CallReply>((resolve) => {
      onAbort(signal, () => resolve(unknown('aborted')));
    });
    return Promise.race([this.#scripts.get(key)?.(call, nth) ?? done(), aborted]);
  }

  destinationOf(address: string): string {
    return address.split('/')[0] ?? address;
  }

  whyNotAllowed(address: string): string | undefined {
    return address.startsWith('forbidden') ? 'it is not on the list' : undefined;
  }

  /** The calls so far, as `<branch>/<op>` in the order they left. */
  get story(): readonly string[] {
    return this.calls.map(({ branch, op }) => `${branch}/${op}`);
  }
}

export function done(result?: Json, repeatable: 'repeatable' | 'not repeatable' = 'repeatable'): CallReply {
  const outcome = result === undefined ? ({ kind: 'done' } as const) : ({ kind: 'done', result } as const);
  return { outcome, repeatable: repeatable === 'repeatable' };
}

export function refused(reason = 'no'): CallReply {
  return { outcome: { kind: 'refused', reason }, repeatable: true };
}

export function ongoing(retryAfterMs?: number): CallReply {
  return {
    outcome: retryAfterMs === undefined ? { kind: 'ongoing' } : { kind: 'ongoing', retryAfterMs },
    repeatable: false,
  };
}

export function unknown(reason = 'no answer'): CallReply {
  return { outcome: { kind: 'unknown', reason }, repeatable: false };
}

export function misconfigured(reason = '404'): CallReply {
  return { outcome: { kind: 'unknown', reason, misconfigured: true }, repeatable: false };
}

/** Never answers, unless the call is aborted. */
export function silence(): Promise<CallReply> {
  return new Promise(() => undefined);
}
