/**
 * Group commit (D6): everything that is ready goes down in one batch; what arrives meanwhile goes with the next.
 * Nobody waits for a timer. One batch is under way at a time, so a write never overtakes an earlier one.
 */
import { assert } from '../util/assert.ts';
import { isSettleError, messageOf, SettleError } from '../util/errors.ts';
import type { PlantedBugs } from './planted-bugs.ts';
import { batchMax, type Clock, type Observer, type Store, type Write, type WriteOutcome } from './ports.ts';
import type { StoreClock } from './store-clock.ts';

/** `unknown`: the store did not say; the write may or may not stand there. */
export type Written = WriteOutcome | { readonly kind: 'unknown'; readonly error: SettleError };

interface Waiting {
  readonly write: Write;
  readonly settle: (written: Written) => void;
}

export class GroupCommit {
  readonly #store: Store;
  readonly #clock: Clock;
  readonly #storeClock: StoreClock;
  readonly #observe: Observer;
  readonly #bugs: PlantedBugs;
  #waiting: Waiting[] = [];
  #state: 'idle' | 'gathering' | 'committing' = 'idle';
  #whenIdle: (() => void)[] = [];

  constructor(store: Store, clock: Clock, storeClock: StoreClock, observe: Observer, bugs: PlantedBugs) {
    this.#store = store;
    this.#clock = clock;
    this.#storeClock = storeClock;
    this.#observe = observe;
    this.#bugs = bugs;
  }

  get waiting(): number {
    return this.#waiting.length;
  }

  write(write: Write, settle: (written: Written) => void): void {
    this.#waiting.push({ write, settle });
    if (this.#state !== 'idle') return;
    this.#state = 'gathering';
    if (this.#bugs.has('batch-by-timer')) this.#clock.schedule(5, () => this.#flush());
    else this.#clock.afterTurn(() => this.#flush());
  }

  /** Resolves when nothing waits and nothing is under way. */
  async idle(): Promise<void> {
    if (this.#state !== 'idle') await new Promise<void>((resolve) => this.#whenIdle.push(resolve));
  }

  #flush(): void {
    this.#state = 'committing';
    const group = this.#waiting.splice(0, batchMax);
    const startedMs = this.#clock.monotonicMs();
    this.#store.commit(group.map(({ write }) => write)).then(
      ({ nowMs, outcomes }) => {
        assert(outcomes.length === group.length, 'the store answers every write');
        this.#storeClock.heard(nowMs);
        this.#observe({ kind: 'commit', writes: group.length, durationMs: this.#clock.monotonicMs() - startedMs });
        this.#settle(group, (i) => outcomes[i] as WriteOutcome);
      },
      (error: unknown) => {
        const failure = asUnavailable(error);
        this.#observe({ kind: 'alarm', code: 'store_unavailable', message: failure.message });
        this.#settle(group, () => ({ kind: 'unknown', error: failure }));
      },
    );
  }

  #settle(group: readonly Waiting[], outcomeOf: (i: number) => Written): void {
    // What a callback writes in turn joins the next batch.
    group.forEach(({ settle }, i) => settle(outcomeOf(i)));
    if (this.#waiting.length > 0) return this.#flush();
    this.#state = 'idle';
    for (const resolve of this.#whenIdle.splice(0)) resolve();
  }
}

function asUnavailable(error: unknown): SettleError {
  if (isSettleError(error)) return error;
  return new SettleError('unavailable', `the store failed: ${messageOf(error)}`, {
    cause: error,
    next: 'Nothing was acknowledged; ask again with the same gid',
    retryAfterMs: 1_000,
  });
}
