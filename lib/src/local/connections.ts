/**
 * Takes connections from the driver for transactions, waits no longer than it may, and knows who has them.
 *
 * - C1 A transaction that waits for a connection that only its own callers could give back is refused at once.
 * - C2 Connections reserved for nested transactions are never given to outermost ones.
 * - C3 A connection that comes after nobody waits for it any more goes back to the pool.
 */
import { messageOf, SettleError } from '../util/errors.ts';
import { LinkedSet, type Place } from '../util/linked-set.ts';
import { isPromiseLike, type MaybePromise } from '../util/maybe-promise.ts';
import type { Connection, Driver } from './driver.ts';
import { inTime } from './in-time.ts';
import type { Timers } from './timers.ts';

/** A transaction, as one that has or wants a connection. */
export class Holder {
  readonly label: string;
  readonly readOnly: boolean;
  /** Those it is within. */
  readonly around: readonly Holder[];
  /** Undefined while it has no connection. */
  held: Held | undefined;

  constructor(label: string, readOnly: boolean, around: readonly Holder[]) {
    this.label = label;
    this.readOnly = readOnly;
    this.around = around;
  }

  /** How many transactions it is within. */
  get depth(): number {
    return this.around.length;
  }
}

interface Held {
  readonly connection: Connection;
  readonly sinceMs: number;
  readonly place: Place<Holder>;
}

export interface ConnectionsSetup {
  readonly timers: Timers;
  readonly reserved: number;
  readonly warn: (cause: unknown) => void;
  /** A connection that a pool opens outlives the transaction it is opened for, and must not run in its context. */
  readonly exit: <T>(work: () => T) => T;
}

/** Milliseconds that a transaction which has ended waits for its connection to be given back. */
export const releaseTimeoutMs = 5_000;

export class Connections {
  readonly #driver: Driver<unknown>;
  readonly #timers: Timers;
  readonly #reserved: number;
  readonly #warn: (cause: unknown) => void;
  readonly #exit: <T>(work: () => T) => T;
  readonly #holders = new LinkedSet<Holder>();
  /** Outermost transactions that wait because of C2. */
  readonly #queue: (() => void)[] = [];
  #outermost = 0;

  constructor(driver: Driver<unknown>, { timers, reserved, warn, exit }: ConnectionsSetup) {
    const { connectionsMax } = driver;
    if (!Number.isInteger(reserved) || reserved < 0 || (reserved > 0 && reserved >= (connectionsMax ?? 0))) {
      throw new SettleError(
        'config_invalid',
        `reserveForNested is ${reserved}, of ${connectionsMax ?? 'an unknown number of'} connections`,
        { next: 'Leave at least one connection to transactions that are not nested' },
      );
    }
    this.#driver = driver;
    this.#timers = timers;
    this.#reserved = reserved;
    this.#warn = warn;
    this.#exit = exit;
  }

  /** Whether transactions hold all connections there can be. */
  get isFull(): boolean {
    return this.#holders.members().length >= (this.#driver.connectionsMax ?? Infinity);
  }

  /** Throws `pool_exhausted`, `database_unreachable`, `database_access_denied`. */
  async take(holder: Holder, timeoutMs: number): Promise<Connection> {
    this.#refuseIfHopeless(holder);
    const isCounted = this.#reserved > 0 && holder.depth === 0;
    let leftMs = timeoutMs;
    if (isCounted) {
      const beganMs = this.#timers.now();
      await this.#waitForShare(holder, timeoutMs);
      // Whole ones: delays that are alike share a timer.
      leftMs = Math.ceil(timeoutMs - (this.#timers.now() - beganMs));
    }
    try {
      const taken = this.#take(holder, leftMs, timeoutMs);
      const connection = isPromiseLike(taken) ? await taken : taken;
      holder.held = { connection, sinceMs: this.#timers.now(), place: this.#holders.add(holder) };
      return connection;
    } catch (error) {
      if (isCounted) this.#leaveShare();
      throw this.#explained(error, holder);
    }
  }

  /** Gives the holder's connection back. Never throws. */
  give(holder: Holder, fate: 'reuse' | 'discard'): MaybePromise<void> {
    const { held } = holder;
    if (held === undefined) return;
    holder.held = undefined;
    this.#holders.remove(held.place);
    if (this.#reserved > 0 && holder.depth === 0) this.#leaveShare();
    return this.#release(held.connection, fate);
  }

  #take(holder: Holder, leftMs: number, timeoutMs: number): MaybePromise<Connection> {
    // Then nothing has to be waited for, nor opened.
    if (this.#driver.hasIdleConnection === true) return this.#driver.acquire(holder);
    const taken = this.#exit(() => this.#driver.acquire(holder));
    if (!isPromiseLike(taken)) return taken;
    const late = (): SettleError => this.#exhausted(holder, `none came within ${timeoutMs} ms`);
    // C3
    const giveBack = (connection: Connection): void => void this.#release(connection, 'reuse');
    return inTime(taken, leftMs, this.#timers, late, giveBack);
  }

  #release(connection: Connection, fate: 'reuse' | 'discard'): MaybePromise<void> {
    try {
      const released = connection.release(fate);
      if (!isPromiseLike(released)) return undefined;
      const late = (): Error => new Error(`the pool did not take it back within ${releaseTimeoutMs} ms`);
      return inTime(released, releaseTimeoutMs, this.#timers, late).then(undefined, this.#warn);
    } catch (error) {
      this.#warn(error);
    }
  }

  /** C1 */
  #refuseIfHopeless(holder: Holder): void {
    const { connectionsMax } = this.#driver;
    if (connectionsMax === undefined) return;
    if (holder.around.length < connectionsMax) return;
    const own = holder.around.filter((around) => around.held !== undefined);
    if (own.length < connectionsMax) return;
    throw this.#exhausted(holder, 'all of them are held by the transactions it is within, which wait for it');
  }

  /** C2 */
  #waitForShare(holder: Holder, timeoutMs: number): Promise<void> {
    const shareMax = (this.#driver.connectionsMax ?? Infinity) - this.#reserved;
    if (this.#outermost < shareMax) {
      this.#outermost++;
      return Promise.resolve();
    }
    return new Promise((resolve, reject) => {
      const enter = (): void => {
        this.#timers.forget(timer);
        resolve();
      };
      const timer = this.#timers.set(timeoutMs, () => {
        this.#queue.splice(this.#queue.indexOf(enter), 1);
        reject(
          this.#exhausted(
            holder,
            `none came within ${timeoutMs} ms; ${this.#reserved} are reserved for nested ones`,
          ),
        );
      });
      this.#queue.push(enter);
    });
  }

  #leaveShare(): void {
    const next = this.#queue.shift();
    if (next === undefined) this.#outermost--;
    else next();
  }

  #explained(error: unknown, holder: Holder): unknown {
    if (error instanceof SettleError) return error;
    const { connectionsMax = Infinity, dialect, name } = this.#driver;
    // The pool's own limit was shorter than ours.
    if (this.#holders.members().length >= connectionsMax)
      return this.#exhausted(holder, messageOf(error), error);
    if (dialect.deniesAccess(error)) {
      return new SettleError('database_access_denied', `${holder.label}: ${messageOf(error)}`, {
        cause: error,
        next: `Correct user, password and database in the configuration of ${name}`,
      });
    }
    return new SettleError('database_unreachable', `${holder.label}: ${messageOf(error)}`, {
      cause: error,
      next: `See whether the database is up, and whether the address ${name} has is its own`,
    });
  }

  #exhausted(holder: Holder, why: string, cause?: unknown): SettleError {
    const nowMs = this.#timers.now();
    const held = this.#holders.members().map(({ label, depth, held }) => {
      const forMs = Math.round(nowMs - (held?.sinceMs ?? nowMs));
      return `${label} (depth ${depth}, for ${forMs} ms)`;
    });
    const size = this.#driver.connectionsMax ?? 'an unknown number of';
    return new SettleError(
      'pool_exhausted',
      `no connection for ${holder.label} at depth ${holder.depth}: ${why}. ` +
        `Transactions hold ${held.length} of ${size} connections: ${held.join(', ') || 'none'}`,
      {
        cause,
        next: this.#adviceFor(holder, held.length),
      },
    );
  }

  #adviceFor(holder: Holder, held: number): string {
    if (held < (this.#driver.connectionsMax ?? 0)) {
      return 'See who else uses the pool, and whether the database can be reached at all';
    }
    if (holder.depth === 0) return 'Hold connections for a shorter time, or enlarge the pool';
    return 'Enlarge the pool, set reserveForNested, or use nested instead of requiresNew';
  }
}
