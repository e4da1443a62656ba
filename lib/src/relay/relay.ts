/**
 * A relay: takes messages out of the outbox and to their brokers, at least once each, those of one key in order.
 *
 * Several may run; they share the lanes. What one holds it holds by a lease with a fencing token (`RelayStore`): a relay
 * that hangs for longer can publish once more what it had begun with, and can change nothing in the tables.
 */
import { laneCount } from '../outbox/message.ts';
import { SettleError } from '../util/errors.ts';
import { planted } from '../util/planted-bug.ts';
import { backoffMs, relaySystemClock } from './clock.ts';
import { tellSafely, type RelayEvent, type RelayWarning } from './events.ts';
import { Lane } from './lane.ts';
import { shareOf } from './leases.ts';
import { readRelayOptions, type RelayOptions } from './options.ts';
import { Reader } from './reader.ts';
import { OwnTimers } from './own-timers.ts';
import { randomName } from './random-name.ts';
import type { DeadLetters, LaneToken, OutboxStats, RelayStore } from './store.ts';
import { inTime, timelyStore } from './timely-store.ts';
import { Work } from './work.ts';

export interface Relay {
  readonly name: string;
  /**
   * Takes its share of the lanes, and publishes from then on. Resolves when it has its first lanes, or knows that others have
   * them all. Throws `tables_missing`, `store_newer`, and `unavailable` when the database does not answer; afterwards nothing
   * that happens to the database ends it.
   */
  start(): Promise<void>;
  /**
   * Begins nothing more, waits for what is under way up to `timeoutMs` (default 10,000), writes it down, and gives the lanes
   * back. Messages of which nothing was heard in time come again, maybe twice.
   */
  stop(options?: { readonly timeoutMs?: number }): Promise<void>;
  /** Looks now. */
  wake(): void;
  /**
   * For tests and jobs: publishes what can be published now, and stops. Retries and delays that are not due yet are left. Throws
   * what `start` throws.
   */
  runOnce(): Promise<RelayCount>;
  readonly dead: DeadLetters;
  stats(): Promise<OutboxStats>;
}

export interface RelayCount {
  readonly published: number;
  /** Attempts that failed and are made again. */
  readonly failed: number;
  readonly dead: number;
}

/** Delayed messages moved in one statement, and how often is looked for those of other processes. */
const promoteMax = 1_000;
const promoteEveryMs = 1_000;
/** How often dead letters are looked at that later messages wait for. */
const deadLettersEveryMs = 5_000;
const refillEveryMs = 1_000;
const pruneEveryMs = 60_000;
const pruneMax = 1_000;
const stopTimeoutDefaultMs = 10_000;
const storeAgain = { baseMs: 100, maxMs: 5_000 };
const allLanes = Array.from({ length: laneCount }, (_, lane) => lane);
/** Nothing is published so shortly before the leases run out. */
const leaseMarginMs = 500;

/** Throws `config_invalid`. */
export function createRelay(options: RelayOptions): Relay {
  return new TheRelay(options);
}

type Life =
  | { readonly kind: 'new' }
  | { readonly kind: 'running'; readonly ended: AbortController; readonly whenDone: (() => void) | undefined }
  | { readonly kind: 'stopping'; readonly stopped: Promise<void> }
  | { readonly kind: 'stopped' };

class TheRelay implements Relay {
  readonly name: string;
  readonly dead: DeadLetters;
  readonly #options: RelayOptions;
  readonly #read: ReturnType<typeof readRelayOptions>;
  readonly #clock: OwnTimers;
  readonly #store: RelayStore;
  readonly #random;
  readonly #tell: (event: RelayEvent) => void;
  readonly #lanes = new Map<number, Lane>();
  readonly #timers = new Map<string, () => void>();
  readonly #work: Work;
  readonly #reader: Reader;
  #life: Life = { kind: 'new' };
  /** One round at a time: all have the name of this relay. */
  #round: Promise<unknown> = Promise.resolve();
  /** By the own clock; until then nobody else has its lanes. */
  #leasedUntilMs = Number.NEGATIVE_INFINITY;
  /** The database's clock minus the own one. */
  #clockOffsetMs = 0;
  #heartbeatFailures = 0;
  #beating: Promise<void> | undefined;
  #isPromoting = false;
  /** Given back, or about to be: not its own any more, whatever the store says meanwhile. */
  readonly #releasing = new Set<number>();
  #pollMs: number;
  #whenIdle: (() => void)[] = [];

  constructor(options: RelayOptions) {
    const read = readRelayOptions(options);
    const { random = Math.random } = options;
    const clock = new OwnTimers(options.clock ?? relaySystemClock);
    const store = timelyStore(options.store, clock, read.limits.leaseTtlMs);
    this.name = options.name ?? randomName();
    this.#options = options;
    this.#read = read;
    this.#clock = clock;
    this.#store = store;
    this.#random = random;
    this.#tell = tellSafely(options.onEvent);
    this.#pollMs = read.limits.pollMinMs;
    this.dead = {
      list: (query, page) => store.dead.list(query, page),
      purge: (query, limit) => store.dead.purge(query, limit),
      replay: async (query, limit) => {
        const replayed = await store.dead.replay(query, limit);
        this.#readFromStart();
        this.#lookForDeadLetters();
        this.#pump();
        return replayed;
      },
    };
    const { ordering = 'per-key', onDead = 'skip', publishers } = options;
    this.#work = new Work({
      ...read,
      store,
      publishers,
      ordering,
      onDead,
      clock,
      random,
      mayPublish: () =>
        clock.now() < this.#leasedUntilMs - leaseMarginMs &&
        (ordering !== 'global' || this.#lanes.size === laneCount),
      lost: (lane) => {
        this.#warn('lease_lost', new Error(`lane ${lane.lane} belongs to another relay now`));
        this.#forget([lane]);
      },
      changed: () => this.#pump(),
      postponed: (delayMs) => this.#promoteIn(delayMs),
      tell: this.#tell,
    });
    this.#reader = new Reader({
      store,
      clock,
      limits: read.limits,
      isMerged: ordering === 'global',
      lanes: () => this.#lanes.values(),
      nowMs: () => clock.now() + this.#clockOffsetMs,
      work: this.#work,
      done: (found) => this.#haveRead(found),
      failed: (error) => this.#warn('store_unavailable', error),
      random,
    });
  }

  async start(): Promise<void> {
    await this.#begin(undefined);
    if (this.#life.kind !== 'running') return;
    const { ended } = this.#life;
    for (const source of this.#options.wake ?? []) {
      const warn = (error: Error): void => this.#warn('wake', error);
      const wake = (): Promise<void> => {
        const isRead = this.#reader.whenRead();
        this.wake();
        return isRead;
      };
      // Its absence costs time alone, so nothing waits for it.
      const start = async (): Promise<void> => await source.start(wake, { signal: ended.signal, warn });
      start().catch((error: unknown) => warn(errorOf(error)));
    }
  }

  async runOnce(): Promise<RelayCount> {
    if (this.#life.kind === 'running' || this.#life.kind === 'stopping') throw this.#startedBefore();
    const count = this.#round.then(() => new TheRelay({ ...this.#options, name: this.name }).#once());
    this.#round = count.catch(() => undefined);
    return await count;
  }

  async #once(): Promise<RelayCount> {
    const done = Promise.withResolvers<undefined>();
    await this.#begin(() => done.resolve(undefined));
    await done.promise;
    await this.stop();
    const { published, failed, dead } = this.#work;
    return { published, failed, dead };
  }

  stop({ timeoutMs = stopTimeoutDefaultMs }: { readonly timeoutMs?: number } = {}): Promise<void> {
    if (this.#life.kind === 'stopping') return this.#life.stopped;
    if (this.#life.kind !== 'running') return Promise.resolve();
    const { ended } = this.#life;
    const stopped = this.#stop(timeoutMs);
    this.#life = { kind: 'stopping', stopped };
    ended.abort();
    return stopped;
  }

  wake(): void {
    if (this.#life.kind !== 'running') return;
    this.#pollMs = this.#read.limits.pollMinMs;
    this.#look();
  }

  stats(): Promise<OutboxStats> {
    return this.#options.store.stats();
  }

  // ---- life

  #startedBefore(): SettleError {
    return new SettleError('illegal_action', `the relay ${this.name} was started before`, {
      next: 'Create another one',
    });
  }

  async #begin(whenDone: (() => void) | undefined): Promise<void> {
    if (this.#life.kind !== 'new') throw this.#startedBefore();
    this.#life = { kind: 'running', ended: new AbortController(), whenDone };
    try {
      await this.#beat();
    } catch (error) {
      this.#forgetTimers();
      if (this.#isRunning) this.#life = { kind: 'new' };
      throw error;
    }
    if (!this.#isRunning) return;
    this.#heartbeatIn(this.#read.limits.leaseTtlMs / 3);
    this.#repeat('dead-letters', deadLettersEveryMs, () => this.#lookForDeadLetters());
    this.#repeat('refill', refillEveryMs, () => {
      this.#work.refill();
      this.#pump();
    });
    this.#repeat('prune', pruneEveryMs, () => this.#prune());
    this.#promoteNow();
    this.#pollIn();
    this.#pump();
  }

  get #isRunning(): boolean {
    return this.#life.kind === 'running';
  }

  async #stop(timeoutMs: number): Promise<void> {
    this.#work.stop();
    // Its lanes stay its own until it has ended what is under way.
    const forget = this.#clock.schedule(timeoutMs, () => this.#work.abort());
    await new Promise<void>((resolve) => {
      const giveUp = this.#clock.schedule(timeoutMs + stopGraceMs, resolve);
      this.#whenIdle.push(() => {
        giveUp();
        resolve();
      });
      this.#tellIfIdle();
    });
    forget();
    this.#life = { kind: 'stopped' };
    // What it asks for now would be taken after it has left.
    await inTime(this.#clock, Promise.resolve(this.#beating), stopGraceMs).catch(() => undefined);
    this.#forget([...this.#lanes.values()]);
    await inTime(this.#clock, this.#store.leave(this.name), stopGraceMs).catch((error: unknown) =>
      this.#warn('store_unavailable', error),
    );
    this.#clock.end();
  }

  // ---- lanes

  #beat(): Promise<void> {
    const beating = this.#heartbeat();
    this.#beating = beating;
    return beating;
  }

  async #heartbeat(): Promise<void> {
    const { ordering = 'per-key' } = this.#options;
    const { leaseTtlMs } = this.#read.limits;
    const askedMs = this.#clock.now();
    const view = await this.#store.heartbeat(this.name, leaseTtlMs);
    this.#clockOffsetMs = view.nowMs - this.#clock.now();
    this.#leasedUntilMs = askedMs + leaseTtlMs;
    this.#heartbeatFailures = 0;
    this.#timer('lease', this.#leasedUntilMs - leaseMarginMs - this.#clock.now(), () =>
      this.#leaseHasEnded(),
    );
    const held = new Map(view.held.map((lane) => [lane.lane, lane.token]));
    this.#forget([...this.#lanes.values()].filter(({ lane, token }) => held.get(lane) !== token));
    // Those of a claim whose answer was lost, or of a relay that had this name before.
    const unknown = view.held.filter(({ lane }) => !this.#lanes.has(lane) && !this.#releasing.has(lane));
    // One that stops keeps what it has until it is done, and takes nothing new.
    const share = this.#isRunning ? shareOf(view, ordering, this.#random) : { take: [], surplus: 0 };
    const { length } = share.take;
    const claimed = length === 0 ? [] : await this.#store.claim(this.name, leaseTtlMs, share.take);
    const gained = [...unknown.map((lane) => ({ ...lane, abandoned: true })), ...claimed];
    // Before anything is read that may stand behind one.
    if (gained.length > 0) await this.#findDeadLetters();
    for (const { lane, token, abandoned } of gained) {
      this.#lanes.set(lane, new Lane({ lane, token }, abandoned, this.#clock.now()));
    }
    if (gained.length > 0) this.#tellLanes(gained.length, 0);
    const mine = [...this.#lanes.values()];
    const leaving = mine.filter(({ state }) => state === 'leaving').length;
    const surplus = mine
      .filter(({ state }) => state === 'held')
      .slice(0, Math.max(0, share.surplus - leaving));
    for (const lane of surplus) this.#work.drain(lane);
    this.#pump();
  }

  #heartbeatIn(delayMs: number): void {
    this.#timer('heartbeat', delayMs, () => {
      this.#beat().then(
        () => this.#heartbeatIn(this.#read.limits.leaseTtlMs / 3),
        (error: unknown) => {
          this.#warn('store_unavailable', error);
          const delay = backoffMs(++this.#heartbeatFailures, storeAgain, this.#random);
          this.#heartbeatIn(Math.min(delay, this.#read.limits.leaseTtlMs / 3));
        },
      );
    });
  }

  /** Others may have its lanes by now, and publish what comes next. */
  #leaseHasEnded(): void {
    this.#warn('lease_lost', new Error('the leases ran out before the database answered'));
    this.#work.abort();
    this.#forget([...this.#lanes.values()]);
  }

  /** Gives back lanes that leave and have nothing under way any more. */
  async #release(): Promise<void> {
    const ended = [...this.#lanes.values()].filter(
      ({ state, rows }) => state === 'leaving' && rows.size === 0,
    );
    if (ended.length === 0) return;
    const tokens: LaneToken[] = ended.map(({ lane, token }) => ({ lane, token }));
    this.#forget(ended);
    for (const { lane } of tokens) this.#releasing.add(lane);
    try {
      await this.#store.release(this.name, tokens);
    } finally {
      // One that had begun before may still show them as its own.
      await this.#beating?.catch(() => undefined);
      for (const { lane } of tokens) this.#releasing.delete(lane);
    }
  }

  #forget(lanes: readonly Lane[]): void {
    if (lanes.length === 0) return;
    for (const lane of lanes) {
      this.#work.leave(lane);
      if (this.#lanes.get(lane.lane) === lane) this.#lanes.delete(lane.lane);
    }
    this.#tellLanes(0, lanes.length);
  }

  #tellLanes(gained: number, lost: number): void {
    this.#tell({ kind: 'lanes', held: this.#lanes.size, gained, lost });
  }

  // ---- looking

  /** Something may be there. */
  #look(): void {
    const nowMs = this.#clock.now();
    for (const lane of this.#lanes.values()) {
      if (planted('cursor-by-sequence')) lane.isAtEnd = false;
      else lane.look(nowMs);
    }
    this.#reader.isDirty = true;
    this.#pump();
  }

  #pump(): void {
    this.#work.dispatch();
    if (this.#life.kind === 'running') {
      this.#reader.read();
      if ([...this.#lanes.values()].some(({ state, rows }) => state === 'leaving' && rows.size === 0)) {
        this.#release().catch((error: unknown) => this.#warn('store_unavailable', error));
      }
      this.#checkIdle();
    }
    this.#tellIfIdle();
  }

  #haveRead(found: number): void {
    const { pollMinMs, pollMaxMs } = this.#read.limits;
    this.#pollMs = found > 0 ? pollMinMs : Math.min(pollMaxMs, this.#pollMs * 2);
    this.#pump();
  }

  #pollIn(): void {
    this.#timer('poll', this.#pollMs, () => {
      this.#look();
      this.#pollIn();
    });
  }

  #checkIdle(): void {
    if (this.#life.kind !== 'running' || this.#life.whenDone === undefined) return;
    if (this.#work.isIdle && this.#reader.isIdle && !this.#isPromoting) this.#life.whenDone();
  }

  #tellIfIdle(): void {
    if (!this.#work.isIdle || this.#reader.isReading) return;
    for (const tell of this.#whenIdle.splice(0)) tell();
  }

  // ---- what is done now and then

  #promoteIn(delayMs: number): void {
    if (this.#isRunning) this.#timer('promote-soon', Math.max(1, delayMs), () => this.#promoteNow());
  }

  #promoteNow(): void {
    this.#promote().catch((error: unknown) => this.#warn('store_unavailable', error));
  }

  async #promote(): Promise<void> {
    if (this.#isPromoting) return;
    this.#isPromoting = true;
    try {
      for (;;) {
        const { moved, nextInMs } = await this.#store.promote(promoteMax);
        if (moved > 0) this.#look();
        if (moved === promoteMax) continue;
        if (this.#isRunning) {
          // What is due and does not move is in the hands of somebody else.
          const soonMs = moved === 0 && nextInMs === 0 ? this.#read.limits.pollMinMs : 1;
          this.#timer('promote', Math.max(soonMs, Math.min(nextInMs ?? promoteEveryMs, promoteEveryMs)), () =>
            this.#promoteNow(),
          );
        }
        return;
      }
    } catch (error) {
      if (this.#isRunning) this.#timer('promote', promoteEveryMs, () => this.#promoteNow());
      throw error;
    } finally {
      this.#isPromoting = false;
    }
  }

  #lookForDeadLetters(): void {
    this.#findDeadLetters().catch((error: unknown) => this.#warn('store_unavailable', error));
  }

  async #findDeadLetters(): Promise<void> {
    if (this.#options.onDead !== 'block-key') return;
    const found = this.#work.looksForDeadLetters();
    // Of all lanes, so that it does not matter which are its own when the answer comes.
    if (found(await this.#store.blockedKeys(allLanes))) this.#readFromStart();
    this.#pump();
  }

  /** What was replayed is back where it stood, behind every cursor. */
  #readFromStart(): void {
    for (const lane of this.#lanes.values()) lane.rereadFrom(1n, lane);
  }

  #prune(): void {
    const dedupOlderThanMs = this.#read.limits.dedupRetentionMs;
    this.#store
      .prune({ dedupOlderThanMs, limit: pruneMax })
      .catch((error: unknown) => this.#warn('store_unavailable', error));
  }

  // ---- timers

  /** One of each name: a later one takes the place of an earlier. */
  #timer(name: string, delayMs: number, callback: () => void): void {
    this.#timers.get(name)?.();
    if (this.#life.kind === 'stopped') return;
    const forget = this.#clock.schedule(Math.max(1, Math.ceil(delayMs)), () => {
      this.#timers.delete(name);
      callback();
    });
    this.#timers.set(name, forget);
  }

  #repeat(name: string, everyMs: number, callback: () => void): void {
    this.#timer(name, everyMs, () => {
      callback();
      this.#repeat(name, everyMs, callback);
    });
  }

  #forgetTimers(): void {
    for (const forget of this.#timers.values()) forget();
    this.#timers.clear();
  }

  #warn(code: RelayWarning, error: unknown): void {
    this.#tell({ kind: 'warning', code, error: errorOf(error) });
  }
}

/** Beyond the time of a stop: for publishers that end after their signal, and for each of the last statements. */
const stopGraceMs = 2_000;

function errorOf(error: unknown): Error {
  return error instanceof Error ? error : new Error(String(error));
}
