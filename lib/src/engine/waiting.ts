/**
 * Who waits for a transaction: until what was said of it is durable, until it has ended, or until the time is over.
 *
 * Owns: the waits and their limits, and reading the state of what is not driven here. Does not own: what is driven, and
 * who may decide (engine.ts).
 */
import { waitMaxMs, type WaitOptions } from '../core/coordinator.ts';
import type { Gid } from '../core/ids.ts';
import { isTerminal, type State, type TransactionView } from '../core/patterns.ts';
import { SettleError } from '../util/errors.ts';
import type { Clock, Store, StoredTransaction } from './ports.ts';
import { viewOf } from './read-stored.ts';
import { leaseLost } from './refusals.ts';
import type { Runner } from './runner.ts';

/** How often a coordinator asks the store about a transaction that another one drives, while a client waits. */
const pollMs = 100;

export class Waiting {
  readonly #clock: Clock;
  readonly #store: Pick<Store, 'load'>;
  readonly #isRunning: () => boolean;

  /** `isRunning`: false ends every wait that only time would end. */
  constructor(clock: Clock, store: Pick<Store, 'load'>, isRunning: () => boolean) {
    this.#clock = clock;
    this.#store = store;
    this.#isRunning = isRunning;
  }

  /** Resolves once everything told to the runner is durable (D1, D2). */
  async durable(runner: Runner): Promise<void> {
    await this.settled(runner);
    if (runner.standing === 'lost') throw leaseLost(runner.gid);
  }

  async settled(runner: Runner): Promise<void> {
    await new Promise<void>((resolve) => {
      if (runner.isSettled) return resolve();
      const stop = runner.watch(() => {
        if (!runner.isSettled) return;
        stop();
        resolve();
      });
    });
  }

  /** The transaction once it has ended, or as it is when the wait is over. */
  ended(runner: Runner, options: WaitOptions, detail?: 'history'): Promise<TransactionView> {
    return this.until(runner, options, () => false, detail);
  }

  async until(
    runner: Runner,
    { waitMs = 0, signal }: WaitOptions,
    enough: () => boolean,
    detail?: 'history',
  ): Promise<TransactionView> {
    const over = (): boolean => runner.standing !== 'owned' || enough();
    const startedMs = this.#clock.monotonicMs();
    const limitMs = Math.min(waitMs, waitMaxMs);
    if (limitMs > 0 && !over() && signal?.aborted !== true) {
      await new Promise<void>((resolve) => {
        const done = (): void => {
          stop();
          cancel();
          signal?.removeEventListener('abort', done);
          resolve();
        };
        const stop = runner.watch(() => {
          if (over()) done();
        });
        const cancel = this.#clock.schedule(limitMs, done);
        signal?.addEventListener('abort', done, { once: true });
      });
    }
    if (runner.standing === 'owned' || runner.standing === 'ended') return runner.view(detail);
    const leftMs = limitMs - (this.#clock.monotonicMs() - startedMs);
    return this.poll(runner.gid, signal === undefined ? { waitMs: leftMs } : { waitMs: leftMs, signal });
  }

  /** The transaction from the store: it has ended, or somebody else drives it. */
  async poll(gid: Gid, { waitMs = 0, signal }: WaitOptions): Promise<TransactionView> {
    const untilMs = this.#clock.monotonicMs() + Math.min(waitMs, waitMaxMs);
    for (;;) {
      const view = viewOf(await this.mustLoad(gid));
      const leftMs = untilMs - this.#clock.monotonicMs();
      const isOver = leftMs <= 0 || signal?.aborted === true || !this.#isRunning();
      if (isOver || isTerminal({ kind: view.status } as State)) return view;
      await this.#pause(Math.min(pollMs, leftMs));
    }
  }

  /**
   * Whoever takes a transaction over tells its owner nothing: before its state is told as the present one, the store says
   * whether it still is. Only where somebody asks once more; what follows from a write of ours is known to stand (D7).
   */
  async catchUp(runner: Runner): Promise<void> {
    if (runner.standing === 'owned') runner.learn(await this.mustLoad(runner.gid));
  }

  async mustLoad(gid: Gid): Promise<StoredTransaction> {
    const stored = await this.#store.load(gid);
    if (stored !== undefined) return stored;
    throw new SettleError('transaction_not_found', `there is no transaction ${gid}`, {
      gid,
      next: 'Check the gid; finished transactions are deleted after the retention time',
    });
  }

  #pause(ms: number): Promise<void> {
    return new Promise<void>((resolve) => void this.#clock.schedule(ms, resolve));
  }
}
