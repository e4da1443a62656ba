/**
 * The one store that all coordinators share, as each of them reaches it: the real memory store behind a faulty line.
 *
 * - H1 What is acknowledged has been applied; what fails may or may not have been, or will be later.
 * - H2 Every write is recorded when the store carries it out, whether or not anybody hears of it.
 * - H3 Its clock is the only one that decides (D5).
 */
import type { Gid } from '../../../lib/src/core/ids.ts';
import type { Lease, Store, StoredTransaction, Write, WriteOutcome } from '../../../lib/src/engine/ports.ts';
import { memoryStore } from '../../../lib/src/store/memory/index.ts';
import { SettleError } from '../../../lib/src/util/errors.ts';
import { storeEpochMs } from '../history.ts';
import type { Network } from './network.ts';
import type { Process } from './process.ts';
import { stream, type Rng } from './random.ts';
import type { Recorder } from './recorder.ts';
import type { Schedule } from './schedule.ts';
import type { Weather } from './weather.ts';

export interface StoreWorld {
  readonly seed: number;
  readonly schedule: Schedule;
  readonly network: Network;
  readonly weather: Weather;
  readonly recorder: Recorder;
}

/** How long a coordinator waits for the store before it gives a request up. */
const patienceMs = 3_000;

type StoreRequest = 'commit' | 'load' | 'list' | 'join' | 'renew' | 'leave' | 'claim' | 'prune';

/** What the line and the store make of one request. */
interface Fate {
  /** Undefined: it never reaches the store. */
  readonly applyMs: number | undefined;
  /** Undefined: no answer comes. */
  readonly answerMs: number | undefined;
  /** When the coordinator is told that it failed; the answer, if it comes first, counts. */
  readonly failMs: number;
}

export class SharedStore {
  /** `down`: every request fails. Raised and lowered by faults. */
  down = 0;
  readonly #world: StoreWorld;
  #memory: Store;
  readonly #rows = new Map<Gid, StoredTransaction>();
  readonly #leases = new Map<number, number>();
  readonly #fate: Rng;
  readonly #crash: Rng;
  #atMs: number | undefined;
  readonly #rewindable: boolean;
  readonly #log: { readonly atMs: number; readonly run: (store: Store) => Promise<unknown> }[] = [];

  /** `rewindable`: it keeps what it takes to {@link loseLast}. */
  constructor(world: StoreWorld, rewindable = false) {
    this.#rewindable = rewindable;
    this.#world = world;
    this.#memory = this.#empty();
    this.#fate = stream(world.seed, 'store');
    this.#crash = stream(world.seed, 'store/crash');
  }

  nowMs(): number {
    return this.#atMs ?? Math.floor(storeEpochMs + this.#world.schedule.now);
  }

  /** What it holds: for taps and checkers, never for coordinators. */
  row(gid: Gid): StoredTransaction | undefined {
    return this.#rows.get(gid);
  }

  rows(): readonly StoredTransaction[] {
    return [...this.#rows.values()];
  }

  /** Epochs whose lease has neither ended nor run out. */
  liveLeases(): readonly number[] {
    return [...this.#leases].flatMap(([epoch, untilMs]) => (untilMs > this.nowMs() ? [epoch] : []));
  }

  /** The store as one incarnation of a coordinator sees it. `place`: where it stands in the network. */
  for(process: Process, place: string, crash: () => void): Store & { readonly epoch: () => number } {
    let epoch = 0;
    /** Writes whose fate this coordinator was not told. */
    const unheard = new Map<Gid, Write>();
    const coordinator = process.name;
    const ask = <T>(request: StoreRequest, run: (store: Store) => Promise<T>): Promise<T> =>
      this.#ask(process, place, request, crash, run);
    return {
      epoch: () => epoch,
      commit: (batch) =>
        ask('commit', (store) => this.#commit(store, coordinator, epoch, batch)).then(
          (reply) => {
            for (const record of reply.records) record.answered = true;
            return reply;
          },
          (error: unknown) => {
            for (const write of batch) unheard.set(write.gid, write);
            throw error;
          },
        ),
      load: async (gid) => {
        const stored = await ask('load', (store) => store.load(gid));
        const write = unheard.get(gid);
        if (write !== undefined) {
          const stands = stored?.progress === write.progress;
          this.#world.recorder.sometimes(`engine: read back, and it ${stands ? 'stands' : 'does not stand'}`);
        }
        unheard.delete(gid);
        return stored;
      },
      list: (query) => ask('list', (store) => store.list(query)),
      join: async (...asked) => {
        const lease = await ask('join', (store) => this.#join(store, coordinator, ...asked));
        if (epoch !== 0) this.#world.recorder.sometimes('engine: an epoch was given up for a new one');
        epoch = lease.epoch;
        return lease;
      },
      renew: (which, ttlMs, driving) =>
        ask('renew', (store) => this.#renew(store, coordinator, which, ttlMs, driving)),
      leave: (which) => ask('leave', (store) => this.#leave(store, coordinator, which)),
      claim: (which, limit) => ask('claim', (store) => this.#claim(store, coordinator, which, limit)),
      prune: (policy) => ask('prune', (store) => store.prune(policy)),
      close: () => Promise.resolve(),
    };
  }

  /** For negative controls only: the last of what was acknowledged is gone, as on a standby that lagged behind. */
  loseLast(count: number): void {
    void this.#rewind(count);
  }

  async #rewind(count: number): Promise<void> {
    this.#log.splice(Math.max(0, this.#log.length - count));
    this.#memory = this.#empty();
    for (const { atMs, run } of this.#log) {
      this.#atMs = atMs;
      await run(this.#memory);
    }
    this.#atMs = undefined;
    for (const gid of this.#rows.keys()) {
      const stored = await this.#memory.load(gid);
      if (stored === undefined) this.#rows.delete(gid);
      else this.#rows.set(gid, stored);
    }
  }

  // ---- the line

  #ask<T>(
    process: Process,
    place: string,
    request: StoreRequest,
    crash: () => void,
    run: (store: Store) => Promise<T>,
  ): Promise<T> {
    return new Promise((resolve, reject) => {
      process.tell(() => {
        if (this.#crashes(request)) return crash();
        const { applyMs, answerMs, failMs } = this.#fateOf(place, request);
        const { schedule } = this.#world;
        if (applyMs !== undefined) {
          schedule.after(applyMs, () => {
            run(this.#memory).then(
              (value) => {
                if (answerMs === undefined) return;
                schedule.after(answerMs, () => process.tell(() => resolve(value)));
              },
              (error: unknown) => reject(error as Error),
            );
          });
        }
        if (applyMs !== undefined && answerMs !== undefined && applyMs + answerMs < failMs) {
          // After the answer, so that a crash right after the write is met too.
          if (this.#crashes(request)) schedule.after(applyMs, crash);
          return;
        }
        schedule.after(failMs, () => process.tell(() => reject(unavailable(request))));
      });
    });
  }

  #crashes(request: StoreRequest): boolean {
    const { crashAtWrite } = this.#world.weather;
    if (crashAtWrite === 0 || request !== 'commit' || !this.#crash.chance(crashAtWrite)) return false;
    this.#world.recorder.sometimes('fault: coordinator-crash-at-write');
    return true;
  }

  #fateOf(place: string, request: StoreRequest): Fate {
    const { network, weather, recorder } = this.#world;
    const applyMs = 0.3 + this.#fate.next() * 2;
    const answerMs = 0.2 + this.#fate.next();
    const quickMs = applyMs + answerMs + 5;
    const met = (what: string): void => recorder.sometimes(`store: ${what}`);
    if (this.down > 0) {
      met(`down at ${request}`);
      return {
        applyMs: undefined,
        answerMs: undefined,
        failMs: this.#fate.chance(0.7) ? quickMs : patienceMs,
      };
    }
    if (network.isCut(place, 'store')) {
      met('request cut');
      return { applyMs: undefined, answerMs: undefined, failMs: patienceMs };
    }
    if (network.isCut('store', place)) {
      met('answer cut');
      return { applyMs, answerMs: undefined, failMs: patienceMs };
    }
    if (weather.storeConflict > 0 && this.#fate.chance(weather.storeConflict)) {
      met('conflict');
      return { applyMs: undefined, answerMs: undefined, failMs: quickMs };
    }
    if (weather.storeLostReply > 0 && this.#fate.chance(weather.storeLostReply)) {
      const applied = this.#fate.chance(0.5);
      met(applied ? 'lost after it was applied' : 'lost before it was applied');
      const failMs = this.#fate.chance(0.5) ? quickMs : patienceMs;
      return { applyMs: applied ? applyMs : undefined, answerMs: undefined, failMs };
    }
    if (weather.storeLate > 0 && this.#fate.chance(weather.storeLate)) {
      met('applied after it was given up');
      const failMs = this.#fate.chance(0.5) ? quickMs : patienceMs;
      return { applyMs: failMs + this.#fate.next() * 8_000, answerMs: undefined, failMs };
    }
    if (weather.storeStall > 0 && this.#fate.chance(weather.storeStall)) {
      met('stalled');
      return { applyMs: this.#fate.next() * 5_000, answerMs, failMs: patienceMs };
    }
    return { applyMs, answerMs, failMs: patienceMs };
  }

  // ---- the store itself; all of it happens at one moment, when the request is carried out

  #empty(): Store {
    return memoryStore({ nowMs: () => this.nowMs() });
  }

  #logged<T>(run: (store: Store) => Promise<T>, store: Store): Promise<T> {
    if (this.#rewindable) this.#log.push({ atMs: this.nowMs(), run });
    return run(store);
  }

  async #commit(store: Store, coordinator: string, writerEpoch: number, batch: readonly Write[]) {
    const nowMs = this.nowMs();
    // One by one, and all before anything else runs: so each has a row before and a row after.
    const parts = batch.map((write) => ({
      write,
      committed: this.#logged((store) => store.commit([write]), store),
      loaded: store.load(write.gid),
    }));
    const outcomes: WriteOutcome[] = [];
    const records = [];
    for (const { write, committed, loaded } of parts) {
      const [outcome] = (await committed).outcomes;
      if (outcome === undefined) throw new Error('the memory store answers every write');
      outcomes.push(outcome);
      const before = this.#rows.get(write.gid);
      const after = await loaded;
      if (after !== undefined) this.#rows.set(write.gid, after);
      records.push(
        this.#world.recorder.write({
          kind: write.kind,
          gid: write.gid,
          coordinator,
          writerEpoch,
          expected: write.kind === 'update' ? { revision: write.revision, epoch: write.epoch } : undefined,
          outcome: outcome.kind,
          before,
          after,
          answered: false,
        }),
      );
      this.#notice(write, outcome);
    }
    return { nowMs, outcomes, records };
  }

  #notice(write: Write, outcome: WriteOutcome): void {
    const { recorder } = this.#world;
    if (outcome.kind === 'exists') recorder.sometimes('engine: insert met one that exists');
    if (outcome.kind === 'lost') recorder.sometimes('engine: a stale write was refused');
    if (write.kind === 'update' && outcome.kind === 'written') {
      if (write.nextEpoch === 0) recorder.sometimes('engine: given back');
      else if (write.epoch === 0) recorder.sometimes('engine: taken up for a request');
      else if (write.nextEpoch !== write.epoch) recorder.sometimes('engine: taken over for a request');
    }
  }

  async #join(store: Store, coordinator: string, ...asked: Parameters<Store['join']>): Promise<Lease> {
    const lease = await this.#logged((store) => store.join(...asked), store);
    this.#granted('joined', coordinator, lease.epoch, lease.nowMs + asked[1]);
    return lease;
  }

  async #renew(store: Store, coordinator: string, epoch: number, ttlMs: number, driving?: number) {
    const renewal = await this.#logged((store) => store.renew(epoch, ttlMs, driving), store);
    if (renewal.kind === 'renewed') this.#granted('renewed', coordinator, epoch, renewal.nowMs + ttlMs);
    else this.#world.recorder.lease({ kind: 'lost', coordinator, epoch, untilMs: undefined });
    return renewal;
  }

  async #leave(store: Store, coordinator: string, epoch: number): Promise<void> {
    await this.#logged((store) => store.leave(epoch), store);
    this.#leases.delete(epoch);
    this.#world.recorder.lease({ kind: 'left', coordinator, epoch, untilMs: undefined });
  }

  async #claim(store: Store, coordinator: string, epoch: number, limit: number) {
    const claimed = await this.#logged((store) => store.claim(epoch, limit), store);
    for (const { claimedFrom, ...after } of claimed) {
      const before = this.#rows.get(after.gid);
      this.#rows.set(after.gid, after);
      const expected = before === undefined ? undefined : { revision: before.revision, epoch: claimedFrom };
      const { recorder } = this.#world;
      recorder.write({
        kind: 'claim',
        gid: after.gid,
        coordinator,
        writerEpoch: epoch,
        expected,
        outcome: 'written',
        before,
        after,
        answered: false,
      });
      recorder.sometimes(
        claimedFrom === 0 ? 'engine: claimed what was given back' : 'engine: claimed from a lapsed lease',
      );
    }
    return claimed;
  }

  #granted(kind: 'joined' | 'renewed', coordinator: string, epoch: number, untilMs: number): void {
    this.#leases.set(epoch, untilMs);
    this.#world.recorder.lease({ kind, coordinator, epoch, untilMs });
  }
}

function unavailable(request: StoreRequest): SettleError {
  return new SettleError('unavailable', `the store gave no answer to ${request}`, { retryAfterMs: 500 });
}
