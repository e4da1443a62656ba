/**
 * Brings into memory what is due and nobody drives, and lets the others on the same store have what is too much here.
 *
 * Owns: which transactions came from the store, and the claim under way. Does not own: how much is too much
 * (fair-share.ts), what is driven (runner.ts), those that a request brings in (engine.ts).
 *
 * - V1 No more come in at once than there is room for, and room is left for new ones.
 * - V2 A claim that the store may have carried out unheard costs the epoch (lease.ts, `doubt`): nobody would drive it.
 * - V3 Whoever adopts a transaction for a request waits for the claim under way, which may bring the same one.
 */
import type { Gid } from '../core/ids.ts';
import type { ChurningMap } from '../util/churning-map.ts';
import { crashPoint } from '../util/crash-point.ts';
import { FairShare } from './fair-share.ts';
import { guarded, periodic, type Periodic } from './periodic.ts';
import type { ClaimedTransaction, Company, Store, StoredTransaction } from './ports.ts';
import { Runner, type RunnerWorld } from './runner.ts';

/** How long one that this version cannot read is left to others, before it is looked at again. */
const unreadablePauseMs = 60_000;

export class Recovery {
  readonly #world: RunnerWorld;
  readonly #store: Pick<Store, 'claim'>;
  readonly #runners: ChurningMap<Gid, Runner>;
  /** Those in memory that came from the store. */
  readonly #recovered = new Set<Runner>();
  readonly #fairShare = new FairShare();
  #claiming: Promise<unknown> | undefined;
  #claims: Periodic | undefined;

  constructor(world: RunnerWorld, store: Pick<Store, 'claim'>, runners: ChurningMap<Gid, Runner>) {
    this.#world = world;
    this.#store = store;
    this.#runners = runners;
  }

  start(): void {
    const { clock, limits, observe } = this.#world;
    this.#claims = periodic(clock, limits.claimEveryMs, () => guarded(observe, 'claim', () => this.#claim()));
  }

  async stop(): Promise<void> {
    await this.#claims?.stop();
  }

  /** Looks at once: there may be something to take over. */
  nudge(): void {
    this.#claims?.nudge();
  }

  /** A claim under way, with all that it brings into memory. */
  get claiming(): Promise<unknown> | undefined {
    return this.#claiming;
  }

  /** It is in memory no more. */
  left(runner: Runner): void {
    // There is room again for what waits to be recovered.
    const half = Math.floor(this.#world.limits.recoveringMax / 2);
    if (this.#recovered.delete(runner) && this.#recovered.size === half) this.nudge();
  }

  /** What the others drive: lets them have what is too much for us, as far as it can wait. */
  heardOfOthers(others: Company): void {
    const { clock, limits } = this.#world;
    if (this.#fairShare.heard(others) === 'fewer') this.nudge();
    let excess = Math.min(this.#fairShare.excess(this.#runners.size), limits.offerBatch);
    if (!this.#world.mayCall() || excess <= 0) return;
    for (const runner of this.#runners.values()) {
      if (!runner.offer()) continue;
      const { residentMs, claimEveryMs } = limits;
      this.#fairShare.gave(clock.monotonicMs() + residentMs + claimEveryMs);
      if (--excess === 0) return;
    }
  }

  async #claim(): Promise<'again' | 'later'> {
    const { clock, limits } = this.#world;
    const { claimBatch, recoveringMax, transactionsMax } = limits;
    const room = Math.min(
      claimBatch,
      recoveringMax - this.#recovered.size,
      transactionsMax - this.#runners.size,
    );
    if (room <= 0 || !this.#world.mayCall() || this.#fairShare.yields(clock.monotonicMs())) return 'later';
    crashPoint('engine.claim', 'before');
    const claiming = this.#store.claim(this.#world.epoch(), room).then((claimed) => {
      crashPoint('engine.claim', 'after');
      for (const stored of claimed) this.#takeOver(stored);
      return claimed.length;
    });
    claiming.catch(() => this.#world.doubt());
    // Whoever waits for it asks the store afresh; that it failed is told by `guarded`.
    this.#claiming = claiming.catch(() => undefined).finally(() => (this.#claiming = undefined));
    return (await claiming) === room ? 'again' : 'later';
  }

  #takeOver(stored: ClaimedTransaction): void {
    crashPoint('engine.take-over', 'before');
    const runner = Runner.resume(this.#world, stored, { claimed: true, complete: stored.claimedFrom === 0 });
    if (runner === undefined) return this.#putBack(stored);
    // One that is here rests on an older revision.
    this.#runners.get(stored.gid)?.lose();
    this.#runners.set(stored.gid, runner);
    this.#recovered.add(runner);
    runner.pump();
    crashPoint('engine.take-over', 'after');
  }

  /** D8: as it was, for a coordinator that can read it; it would be out of reach while ours lives. */
  #putBack({ gid, status, stuck, progress, revision, epoch }: StoredTransaction): void {
    const dueAtMs = this.#world.storeClock.nowMs() + unreadablePauseMs;
    this.#world.writes.write(
      { kind: 'update', gid, status, stuck, progress, dueAtMs, revision, epoch, nextEpoch: 0 },
      ({ kind }) => {
        if (kind === 'unknown') this.#world.doubt();
      },
    );
  }
}
