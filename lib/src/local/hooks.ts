import { SettleError } from '../util/errors.ts';
import { isPromiseLike } from '../util/maybe-promise.ts';
import { inTime } from './in-time.ts';
import type { ReadToken } from './read-token.ts';
import type { Timers } from './timers.ts';

/** How a transaction ended. `unknown`: the answer to its COMMIT was lost. */
export type CompletionStatus = 'committed' | 'rolled-back' | 'unknown';

export type Hook = () => unknown;
export type CompletionHook = (status: CompletionStatus) => unknown;
export type TokenHook = (token: ReadToken) => unknown;

/** Of one transaction or savepoint. A loop that registers hooks from hooks meets it soon. */
export const hooksMax = 10_000;

/** Milliseconds for which a hook that runs after the end is waited for; then it has failed, and the next one's turn comes. */
export const hookTimeoutMs = 60_000;

/**
 * What is to be done around the end of a transaction, in the order it was asked for. Belongs to the transaction or the
 * savepoint it was registered in: goes up with a savepoint that is released, and ends with one that is rolled back.
 */
export class Hooks {
  // Most transactions have none.
  #before: Hook[] | undefined;
  #after: { readonly on: CompletionStatus | 'any'; readonly hook: CompletionHook }[] | undefined;
  #token: TokenHook[] | undefined;

  beforeCommit(hook: Hook): void {
    this.#before ??= [];
    refuseMore(this.#before.length);
    this.#before.push(hook);
  }

  after(on: CompletionStatus | 'any', hook: CompletionHook): void {
    this.#after ??= [];
    refuseMore(this.#after.length);
    this.#after.push({ on, hook });
  }

  token(hook: TokenHook): void {
    this.#token ??= [];
    refuseMore(this.#token.length);
    this.#token.push(hook);
  }

  /** Takes over those of a savepoint that was released. */
  adopt(released: Hooks): void {
    // Without the limit, which they were held to before: what is released cannot be refused any more.
    this.#before = joined(this.#before, released.#before);
    this.#after = joined(this.#after, released.#after);
    this.#token = joined(this.#token, released.#token);
    released.forget();
  }

  /** None of them is of any use any more. */
  forget(): void {
    this.#before = this.#after = this.#token = undefined;
  }

  /** Each in its order, and those that they register. The first that throws ends it: a veto. */
  async runBeforeCommit(run: (hook: Hook) => Promise<unknown>): Promise<void> {
    // The list grows while hooks register further ones; every one counts towards the limit.
    for (const hook of this.#before ?? []) await run(hook);
    this.#before = undefined;
  }

  /** Every one of them, one after the other; gives back what they threw. */
  async runAfter(status: CompletionStatus, timers: Timers, token?: ReadToken): Promise<readonly unknown[]> {
    const errors: unknown[] = [];
    const run = async (hook: Hook): Promise<void> => {
      try {
        const done = hook();
        if (isPromiseLike(done)) await inTime(done, hookTimeoutMs, timers, hookTooLong);
      } catch (error) {
        errors.push(error);
      }
    };
    const [due, wanting] = [this.#after ?? [], this.#token ?? []];
    this.#after = this.#token = undefined;
    // The others may want to hand the token on. Of them, those for one outcome come before those for any.
    if (token !== undefined) for (const hook of wanting) await run(() => hook(token));
    for (const wanted of [status, 'any'] as const) {
      for (const { on, hook } of due) if (on === wanted) await run(() => hook(status));
    }
    return errors;
  }

  get hasBeforeCommit(): boolean {
    return this.#before !== undefined;
  }

  get wantsToken(): boolean {
    return this.#token !== undefined;
  }

  get hasAfter(): boolean {
    return this.#after !== undefined || this.wantsToken;
  }
}

/** In the list of its own, which may be run through right now. */
function joined<T>(own: T[] | undefined, further: T[] | undefined): T[] | undefined {
  if (own === undefined || further === undefined) return own ?? further;
  for (const hook of further) own.push(hook);
  return own;
}

function refuseMore(count: number): void {
  if (count < hooksMax) return;
  throw new SettleError('limit_exceeded', `more than ${hooksMax} hooks of one kind in one transaction`, {
    next: 'Register one hook for the whole list instead of one for each',
  });
}

function hookTooLong(): SettleError {
  return new SettleError('hook_failed', `a hook is not done after ${hookTimeoutMs} ms, and goes on alone`, {
    next: 'Start what takes long with exit(), and do not wait for it in the hook',
  });
}
