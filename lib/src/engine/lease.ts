/**
 * This coordinator's lease in the store: proof to the others that it lives, and the epoch of all its writes.
 * Losing it is safe at any time: a write under a lost epoch fails (D4). Keeping it only spares needless takeovers.
 */
import { crashPoint } from '../util/crash-point.ts';
import { messageOf } from '../util/errors.ts';
import { planted } from '../util/planted-bug.ts';
import { periodic, type Periodic } from './periodic.ts';
import type { Clock, Company, Observer, Store } from './ports.ts';
import type { StoreClock } from './store-clock.ts';

export interface LeaseWorld {
  readonly store: Pick<Store, 'join' | 'renew' | 'leave' | 'commit'>;
  readonly clock: Clock;
  readonly storeClock: StoreClock;
  readonly observe: Observer;
  readonly coordinator: string;
  readonly cluster: string;
  readonly leaseMs: number;
  /** The epoch is another one now; whatever was owned under the old one is not ours any more. */
  lost(): void;
  /** How many transactions are driven here. */
  driving(): number;
  /** The store said what the others drive. */
  heardOfOthers(others: Company): void;
  /** The lease lives again after a time in which it may have run out. */
  revived(): void;
  /** Moves what is driven here under this epoch to the present one. True while there is any left. */
  moveFrom(epoch: number): boolean;
}

export class LeaseKeeper {
  readonly #world: LeaseWorld;
  #epoch = 0;
  /** On the monotonic clock, counted from before the store was asked: never later than the store's own idea of it. */
  #livesUntilMs = 0;
  /** The last renewal had no answer. */
  #isUnheard = false;
  /** Something may land in the store as ours that nobody here knows of. */
  #inDoubt = false;
  /** The epoch before, kept alive until nothing here is driven under it, though for no longer than one lease. */
  #retiring: { readonly epoch: number; readonly untilMs: number } | undefined;
  #renewal: Periodic | undefined;

  constructor(world: LeaseWorld) {
    this.#world = world;
  }

  get epoch(): number {
    return this.#epoch;
  }

  isLive(): boolean {
    return this.#world.clock.monotonicMs() < this.#livesUntilMs || planted('call-after-the-lease');
  }

  /**
   * The store did not say what became of a claim or an insert, and nobody here will find out: what it made ours, now or
   * later, nobody would drive for as long as this epoch lives. So the epoch is given up for a new one: once it has ended,
   * whatever it owns may be claimed.
   */
  doubt(): void {
    this.#inDoubt = true;
  }

  async start(): Promise<void> {
    await this.#join();
    const { clock, leaseMs } = this.#world;
    this.#renewal = periodic(clock, leaseMs / 3, () => this.#renew());
  }

  /** Never rejects: a lease that the store does not end runs out by itself. */
  async stop(): Promise<void> {
    const { store, observe } = this.#world;
    this.#livesUntilMs = 0;
    await this.#renewal?.stop();
    try {
      crashPoint('lease.leave', 'before');
      if (this.#retiring !== undefined) await store.leave(this.#retiring.epoch);
      await store.leave(this.#epoch);
      crashPoint('lease.leave', 'after');
    } catch (error) {
      observe({
        kind: 'alarm',
        code: 'store_unavailable',
        message: `the lease was not ended: ${messageOf(error)}`,
      });
    }
  }

  async #join(): Promise<void> {
    const { store, clock, storeClock, coordinator, cluster, leaseMs } = this.#world;
    const askedMs = clock.monotonicMs();
    crashPoint('lease.join', 'before');
    const lease = await store.join(coordinator, leaseMs, cluster);
    crashPoint('lease.join', 'after');
    this.#epoch = lease.epoch;
    this.#livesUntilMs = askedMs + leaseMs;
    storeClock.heard(lease.nowMs);
  }

  async #renew(): Promise<'again' | 'later'> {
    const { store, clock, storeClock, leaseMs, observe } = this.#world;
    try {
      // Renewals that arrive while their answers do not would keep the others from what this one may not drive.
      if (this.#isUnheard) storeClock.heard((await store.commit([])).nowMs);
      this.#isUnheard = true;
      const askedMs = clock.monotonicMs();
      crashPoint('lease.renew', 'before');
      const renewal = await store.renew(this.#epoch, leaseMs, this.#world.driving());
      crashPoint('lease.renew', 'after');
      this.#isUnheard = false;
      storeClock.heard(renewal.nowMs);
      if (renewal.kind === 'lost') await this.#rejoin();
      else {
        // It may have run out only while this renewal was under way.
        const wasLive = this.isLive();
        this.#livesUntilMs = askedMs + leaseMs;
        if (!wasLive) this.#world.revived();
        this.#world.heardOfOthers(renewal.others);
        await this.#retire();
      }
    } catch (error) {
      observe({
        kind: 'alarm',
        code: 'store_unavailable',
        message: `the lease was not renewed: ${messageOf(error)}`,
      });
    }
    return 'later';
  }

  /** What is driven here moves to the new epoch by a write; then the old one ends. */
  async #retire(): Promise<void> {
    const { store, clock, leaseMs } = this.#world;
    if (this.#retiring === undefined) {
      if (!this.#inDoubt) return;
      const epoch = this.#epoch;
      await this.#join();
      this.#inDoubt = false;
      this.#retiring = { epoch, untilMs: clock.monotonicMs() + leaseMs };
    }
    const { epoch, untilMs } = this.#retiring;
    if (this.#world.moveFrom(epoch) && clock.monotonicMs() < untilMs) {
      await store.renew(epoch, leaseMs);
    } else {
      await store.leave(epoch);
      this.#retiring = undefined;
    }
  }

  async #rejoin(): Promise<void> {
    const message = `epoch ${this.#epoch} was taken over; this coordinator starts again with nothing`;
    this.#world.observe({ kind: 'alarm', code: 'lease_lost', message });
    this.#livesUntilMs = 0;
    this.#world.lost();
    await this.#join();
    this.#world.revived();
  }
}
