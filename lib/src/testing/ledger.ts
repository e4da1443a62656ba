/** Participants with an honest barrier, and a ledger of what truly happened at them: what tests of outcomes judge by. */
import { onAbort } from '../util/on-abort.ts';
import type { Op } from '../core/outcome.ts';
import type { BranchCall, BranchCaller, CallReply, Clock } from '../engine/ports.ts';
import { done, ongoing, refused, unknown } from './scripted-caller.ts';

/**
 * What becomes of one call.
 * - `lost`: it never arrives. `unanswered`: it is done, but nobody hears. `late`: it arrives only after the caller gave up.
 * - `ongoing`: not yet. `refuse`: the business says no, if it has not said yes before.
 */
export type Fate = 'done' | 'refuse' | 'lost' | 'unanswered' | 'late' | 'ongoing';

/** What stands at a branch now. */
export type Standing = 'nothing' | 'made' | 'undone' | 'confirmed';

interface Entry {
  standing: Standing;
  /** The barrier: the answer to each op, given again to every repeat. */
  readonly answers: Map<Op, CallReply>;
}

export class Ledger implements BranchCaller {
  readonly calls: BranchCall[] = [];
  /** What no order of calls may ever bring about. */
  readonly violations: string[] = [];
  /** How often each business function ran, by `gid/branch/op`. */
  readonly effects = new Map<string, number>();
  /** Decides about every call; `nth` counts those of this gid, branch and op from 1. */
  fate: (call: BranchCall, nth: number) => Fate = () => 'done';
  readonly #clock: Clock;
  readonly #entries = new Map<string, Map<string, Entry>>();
  readonly #counts = new Map<string, number>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  async call(call: BranchCall, signal: AbortSignal): Promise<CallReply> {
    this.calls.push(call);
    const key = `${call.gid}/${call.branch}/${call.op}`;
    const nth = (this.#counts.get(key) ?? 0) + 1;
    this.#counts.set(key, nth);
    const fate = this.fate(call, nth);
    switch (fate) {
      case 'ongoing':
        return ongoing();
      case 'done':
        return this.#handle(call, 'agree');
      case 'refuse':
        return this.#handle(call, 'refuse');
      case 'unanswered':
        this.#handle(call, 'agree');
        return unknown('connection reset');
      case 'late':
        this.#clock.schedule(call.timeoutMs + 500, () => void this.#handle(call, 'agree'));
        return this.#silence(call, signal);
      case 'lost':
        return this.#silence(call, signal);
    }
  }

  destinationOf(address: string): string {
    return address;
  }

  whyNotAllowed(): undefined {
    return undefined;
  }

  /** What stands at each branch that was ever reached. */
  of(gid: string): Readonly<Record<string, Standing>> {
    const branches = this.#entries.get(gid) ?? new Map<string, Entry>();
    return Object.fromEntries([...branches].map(([branch, { standing }]) => [branch, standing]));
  }

  #silence(call: BranchCall, signal: AbortSignal): Promise<CallReply> {
    return new Promise((resolve) => {
      const cancel = this.#clock.schedule(call.timeoutMs, () => resolve(unknown('timeout')));
      const aborted = (): void => {
        cancel();
        resolve(unknown('aborted'));
      };
      onAbort(signal, aborted);
    });
  }

  /** The participant's own local transaction: barrier and business in one. */
  #handle(call: BranchCall, business: 'agree' | 'refuse'): CallReply {
    const entry = this.#entry(call);
    const before = entry.answers.get(call.op);
    if (before !== undefined) return before;
    const answer = this.#first(call, entry, business);
    entry.answers.set(call.op, answer);
    return answer;
  }

  #first(call: BranchCall, entry: Entry, business: 'agree' | 'refuse'): CallReply {
    const { op } = call;
    if (op === 'check') return business === 'agree' ? done() : refused('rolled back');
    if (op === 'action' || op === 'try') {
      if (entry.answers.has('compensate') || entry.answers.has('cancel'))
        return refused('undone before it came');
      if (business === 'refuse') return refused('no');
      return this.#run(call, entry, 'made');
    }
    const made = entry.standing === 'made';
    if (op === 'confirm') {
      if (!made) this.#violated(call, `confirmed what is ${entry.standing}`);
      return this.#run(call, entry, 'confirmed');
    }
    if (entry.standing === 'confirmed') this.#violated(call, 'undid what is confirmed');
    return made ? this.#run(call, entry, 'undone') : done();
  }

  #run(call: BranchCall, entry: Entry, standing: Standing): CallReply {
    const key = `${call.gid}/${call.branch}/${call.op}`;
    const count = (this.effects.get(key) ?? 0) + 1;
    this.effects.set(key, count);
    if (count > 1) this.#violated(call, `ran ${count} times`);
    entry.standing = standing;
    return done({ branch: call.branch });
  }

  #violated({ gid, branch, op }: BranchCall, what: string): void {
    this.violations.push(`${gid}/${branch}/${op} ${what}`);
  }

  #entry({ gid, branch }: BranchCall): Entry {
    const branches = this.#entries.get(gid) ?? new Map<string, Entry>();
    this.#entries.set(gid, branches);
    const entry = branches.get(branch) ?? { standing: 'nothing', answers: new Map() };
    branches.set(branch, entry);
    return entry;
  }
}
