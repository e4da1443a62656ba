/**
 * Group commit (D6): everything that is ready goes to the store together; nobody waits for a timer.
 *
 * A few batches of moderate size may be under way at once, so that the store works on one while the answers to another
 * are still being worked through; what comes beyond that gathers for the next. Writes of one transaction never overtake
 * each other all the same: its runner has one under way at a time (R2).
 */
import { assert } from '../util/assert.ts';
import { crashPoint } from '../util/crash-point.ts';
import { isSettleError, messageOf, SettleError } from '../util/errors.ts';
import { planted } from '../util/planted-bug.ts';
import type { Clock, Observer, Store, Write, WriteOutcome } from './ports.ts';
import type { StoreClock } from './store-clock.ts';

/** `unknown`: the store did not say; the write may or may not stand there. */
export type Written = WriteOutcome | { readonly kind: 'unknown'; readonly error: SettleError };

/** Writes in one batch. */
const writesPerBatchMax = 128;
/** Batches under way. */
const batchesMax = 2;

interface Waiting {
  readonly write: Write;
  readonly settle: (written: Written) => void;
}

export class GroupCommit {
  readonly #store: Store;
  readonly #clock: Clock;
  readonly #storeClock: StoreClock;
  readonly #observe: Observer;
  #waiting: Waiting[] = [];
  #gathering = false;
  #underWay = 0;
  #whenIdle: (() => void)[] = [];
  #failure: { readonly error: SettleError; readonly atMs: number } | undefined;

  constructor(store: Store, clock: Clock, storeClock: StoreClock, observe: Observer) {
    this.#store = store;
    this.#clock = clock;
    this.#storeClock = storeClock;
    this.#observe = observe;
  }

  get waiting(): number {
    return this.#waiting.length;
  }

  /** Why a batch failed, unless one has succeeded since. */
  get failure(): SettleError | undefined {
    return this.#failure?.error;
  }

  /** Without work no batch succeeds: a failure as old as this says no more. */
  forgetFailure(olderThanMs: number): void {
    if (this.#failure !== undefined && this.#failure.atMs <= this.#clock.monotonicMs() - olderThanMs)
      this.#failure = undefined;
  }

  write(write: Write, settle: (written: Written) => void): void {
    this.#waiting.push({ write, settle });
    if (this.#gathering || this.#underWay === batchesMax) return;
    this.#gathering = true;
    if (planted('batch-by-timer')) this.#clock.schedule(5, () => this.#flush());
    else this.#clock.afterTurn(() => this.#flush());
  }

  /** Resolves when nothing waits and nothing is under way. */
  async idle(): Promise<void> {
    if (this.#isBusy()) await new Promise<void>((resolve) => this.#whenIdle.push(resolve));
  }

  #isBusy(): boolean {
    return this.#gathering || this.#underWay > 0 || this.#waiting.length > 0;
  }

  #flush(): void {
    this.#gathering = false;
    while (this.#waiting.length > 0 && this.#underWay < batchesMax)
      this.#commit(this.#waiting.splice(0, writesPerBatchMax));
  }

  #commit(group: readonly Waiting[]): void {
    this.#underWay++;
    const startedMs = this.#clock.monotonicMs();
    crashPoint('group-commit.commit', 'before');
    this.#store.commit(group.map(({ write }) => write)).then(
      ({ nowMs, outcomes }) => {
        crashPoint('group-commit.commit', 'after');
        assert(outcomes.length === group.length, 'the store answers every write');
        this.#failure = undefined;
        this.#storeClock.heard(nowMs);
        this.#observe({
          kind: 'commit',
          writes: group.length,
          durationMs: this.#clock.monotonicMs() - startedMs,
        });
        this.#settle(group, (i) => outcomes[planted('one-outcome-for-all') ? 0 : i] as WriteOutcome);
      },
      (error: unknown) => {
        const failure = asUnavailable(error);
        this.#failure = { error: failure, atMs: this.#clock.monotonicMs() };
        this.#observe({ kind: 'alarm', code: 'store_unavailable', message: failure.message });
        this.#settle(group, () => ({ kind: 'unknown', error: failure }));
      },
    );
  }

  #settle(group: readonly Waiting[], outcomeOf: (i: number) => Written): void {
    // What a callback writes in turn joins the next batch.
    crashPoint('group-commit.settle', 'before');
    group.forEach(({ settle }, i) => settle(outcomeOf(i)));
    crashPoint('group-commit.settle', 'after');
    this.#underWay--;
    if (!this.#gathering) this.#flush();
    if (this.#isBusy()) return;
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
