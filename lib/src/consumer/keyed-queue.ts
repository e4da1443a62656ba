/**
 * What consumers of brokers share: messages that wait for their turn, and those at work.
 *
 * - Q1 Of one key one item is at work at a time, in the order they were pushed. Items without a key wait for nobody.
 * - Q2 At most `concurrency` items are at work, and at most `itemsMax` are here at all: `room` is the backpressure.
 * - Q3 What has not begun can be taken back, by `withdraw` and by `drain`: nothing is lost between two lists.
 * - Q4 `run` that rejects is a defect: nothing begins any more, and `room` and `drain` reject with what it was.
 */
import { systemClock, timerMsMax, type Clock } from '../local/clock.ts';
import { SettleError } from '../util/errors.ts';

export interface KeyedQueueOptions<Item> {
  /** Undefined: in any order. */
  readonly keyOf: (item: Item) => string | undefined;
  /**
   * Does the work of one item, and should end soon after the signal aborts. Must not reject (Q4). The next item of the same
   * key begins only after it; what must not follow has to be withdrawn before it resolves.
   */
  readonly run: (item: Item, signal: AbortSignal) => Promise<void>;
  /** Items at work at a time, from 1 on. Default: 16. */
  readonly concurrency?: number;
  /** Items at work and waiting, at least `concurrency`. Default: 16 for each that can be at work. */
  readonly itemsMax?: number;
  /** Default: the system's. */
  readonly clock?: Clock;
}

/** What `drain` leaves behind. */
export interface Undone<Item> {
  /** Never begun, in the order they were pushed. */
  readonly waiting: readonly Item[];
  /** Begun, and not done in time: their signal has aborted, and they may go on. */
  readonly running: readonly Item[];
}

export const concurrencyDefault = 16;
export const itemsPerTurnDefault = 16;
export const drainTimeoutMsDefault = 10_000;

/** Milliseconds for which work is waited for after its signal has aborted, so that it can roll back what it holds. */
export const abortGraceMs = 1_000;

interface Waiting<Item> {
  readonly item: Item;
  readonly key: string | undefined;
  readonly number: number;
}

/** `taking`: takes and begins items. `closed`: begins no more. `failed`: one of them rejected. */
type State = { readonly kind: 'taking' | 'closed' } | { readonly kind: 'failed'; readonly error: unknown };

export class KeyedQueue<Item> {
  readonly #options: KeyedQueueOptions<Item>;
  readonly #concurrency: number;
  readonly #itemsMax: number;
  readonly #clock: Clock;
  readonly #aborting = new AbortController();
  readonly #running = new Set<Item>();
  /** Could begin now, if there was a turn. */
  #ready: Waiting<Item>[] = [];
  /** By key, those behind the one that is ready or at work. */
  readonly #behind = new Map<string, Waiting<Item>[]>();
  #behindCount = 0;
  #pushed = 0;
  #state: State = { kind: 'taking' };
  /** Called at every change that somebody may wait for. */
  #listeners: (() => void)[] = [];

  /** Throws `config_invalid` for limits that are none. */
  constructor(options: KeyedQueueOptions<Item>) {
    const { concurrency = concurrencyDefault, itemsMax = concurrency * itemsPerTurnDefault } = options;
    checkCount('concurrency', concurrency, 1);
    checkCount('itemsMax', itemsMax, concurrency);
    this.#options = options;
    this.#concurrency = concurrency;
    this.#itemsMax = itemsMax;
    this.#clock = options.clock ?? systemClock;
  }

  /** Items at work and waiting. */
  get size(): number {
    return this.#running.size + this.#ready.length + this.#behindCount;
  }

  /** How many more items can be pushed now. */
  get free(): number {
    return this.#state.kind === 'taking' ? this.#itemsMax - this.size : 0;
  }

  /** Resolves with how many more items can be pushed, once that is one at least; with 0 when the queue is closed. */
  async room(): Promise<number> {
    await this.#until(() => this.#state.kind !== 'taking' || this.free > 0);
    this.#throwFailure();
    return this.free;
  }

  /** Adds an item behind the others of its key. Throws `limit_exceeded` when there is no room, `shutting_down` when closed. */
  push(item: Item): void {
    if (this.#state.kind !== 'taking')
      throw new SettleError('shutting_down', 'the queue takes no more items');
    if (this.free < 1) {
      throw new SettleError('limit_exceeded', `the queue holds ${this.#itemsMax} items already`, {
        next: 'Wait for room()',
      });
    }
    const key = this.#options.keyOf(item);
    const waiting: Waiting<Item> = { item, key, number: this.#pushed++ };
    const behind = key === undefined ? undefined : this.#behind.get(key);
    if (behind === undefined) {
      if (key !== undefined) this.#behind.set(key, []);
      this.#ready.push(waiting);
    } else {
      behind.push(waiting);
      this.#behindCount++;
    }
    this.#begin();
  }

  /** Takes out those that have not begun and are chosen, in the order they were pushed. */
  withdraw(chosen: (item: Item) => boolean): readonly Item[] {
    const out: Waiting<Item>[] = [];
    const keep = (waiting: Waiting<Item>): boolean => {
      if (!chosen(waiting.item)) return true;
      out.push(waiting);
      return false;
    };
    const headless: string[] = [];
    this.#ready = this.#ready.filter((waiting) => {
      const stays = keep(waiting);
      if (!stays && waiting.key !== undefined) headless.push(waiting.key);
      return stays;
    });
    for (const [key, behind] of this.#behind) {
      const kept = behind.filter(keep);
      this.#behindCount -= behind.length - kept.length;
      this.#behind.set(key, kept);
    }
    for (const key of headless) this.#readyNext(key);
    this.#begin();
    this.#tell();
    return out.toSorted((a, b) => a.number - b.number).map(({ item }) => item);
  }

  /** Begins no more, and ends the work of those that have begun as far as they heed their signal. */
  abort(reason?: unknown): void {
    this.#close();
    this.#aborting.abort(reason);
  }

  /**
   * Begins no more, waits up to `timeoutMs` for those at work, then aborts them and waits `abortGraceMs` more. Gives back what
   * is not done; nobody is waited for twice. Rejects with what a `run` rejected with (Q4).
   */
  async drain(timeoutMs: number = drainTimeoutMsDefault): Promise<Undone<Item>> {
    this.#close();
    const waiting = this.withdraw(() => true);
    if (!(await this.#idleWithin(timeoutMs))) {
      this.#aborting.abort(new SettleError('shutting_down', 'the time to finish is up'));
      await this.#idleWithin(abortGraceMs);
    }
    this.#throwFailure();
    return { waiting, running: [...this.#running] };
  }

  #begin(): void {
    while (this.#state.kind === 'taking' && this.#running.size < this.#concurrency) {
      const next = this.#ready.shift();
      if (next === undefined) return;
      this.#running.add(next.item);
      void this.#work(next);
    }
  }

  async #work({ item, key }: Waiting<Item>): Promise<void> {
    try {
      await this.#options.run(item, this.#aborting.signal);
    } catch (error) {
      if (this.#state.kind !== 'failed') this.#state = { kind: 'failed', error };
    }
    this.#running.delete(item);
    if (key !== undefined) this.#readyNext(key);
    this.#begin();
    this.#tell();
  }

  /** The one that was ready or at work is gone: the turn of the next of this key. */
  #readyNext(key: string): void {
    const next = this.#behind.get(key)?.shift();
    if (next === undefined) {
      this.#behind.delete(key);
      return;
    }
    this.#behindCount--;
    this.#ready.push(next);
  }

  #close(): void {
    if (this.#state.kind === 'taking') this.#state = { kind: 'closed' };
    this.#tell();
  }

  #throwFailure(): void {
    if (this.#state.kind === 'failed') throw this.#state.error;
  }

  #tell(): void {
    const listeners = this.#listeners;
    this.#listeners = [];
    for (const listener of listeners) listener();
  }

  async #until(isSo: () => boolean): Promise<void> {
    while (!isSo()) await new Promise<void>((resolve) => this.#listeners.push(resolve));
  }

  /** Whether nobody is at work, now or within that time. Keeps the process alive meanwhile. */
  async #idleWithin(ms: number): Promise<boolean> {
    const alive = setInterval(() => {}, timerMsMax);
    let isLate = false;
    const forget = this.#clock.schedule(ms, () => {
      isLate = true;
      this.#tell();
    });
    await this.#until(() => isLate || this.#running.size === 0);
    forget();
    clearInterval(alive);
    return this.#running.size === 0;
  }
}

function checkCount(name: string, value: number, min: number): void {
  if (Number.isSafeInteger(value) && value >= min) return;
  throw new SettleError('config_invalid', `${name} is ${value}, not a whole number from ${min} on`);
}
