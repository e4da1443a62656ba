/**
 * Takes connections from the driver for transactions, waits no longer than it may, and knows who has them.
 *
 * - C1 A transaction that waits for a connection that only its own callers could give back is refused at once.
 * - C2 Connections reserved for nested transactions are never given to outermost ones.
 * - C3 A connection that comes after nobody waits for it any more goes back to the pool.
 */
import { messageOf, SettleError } from '../util/errors.ts';
import { isPromiseLike, type MaybePromise } from '../util/maybe-promise.ts';
import type { Connection, Driver } from './driver.ts';
import { inTime } from './in-time.ts';
import type { Timers } from './timers.ts';

/** A transaction, as one that has or wants a connection. */
export interface Holder {
  readonly label: string;
  /** How many transactions it is within. */
  readonly depth: number;
  readonly readOnly: boolean;
  /** Those it is within. */
  readonly around: readonly Holder[];
}

export class Connections {
  readonly #driver: Driver<unknown>;
  readonly #timers: Timers;
  readonly #reserved: number;
  readonly #warn: (cause: unknown) => void;
  readonly #holders = new Map<Holder, { readonly sinceMs: number; readonly connection: Connection }>();
  /** Outermost transactions that wait because of C2. */
  readonly #queue: (() => void)[] = [];
  #outermost = 0;

  constructor(driver: Driver<unknown>, timers: Timers, reserved: number, warn: (cause: unknown) => void) {
    const { connectionsMax } = driver;
    if (reserved > 0 && (connectionsMax === undefined || reserved >= connectionsMax)) {
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
  }

  /** Throws `pool_exhausted`, `database_unreachable`, `database_access_denied`. */
  async take(holder: Holder, timeoutMs: number): Promise<Connection> {
    this.#refuseIfHopeless(holder);
    const isCounted = this.#reserved > 0 && holder.depth === 0;
    const waitsUntilMs = this.#timers.now() + timeoutMs;
    if (isCounted) await this.#waitForShare(holder, timeoutMs);
    try {
      const taken = this.#driver.acquire({ readOnly: holder.readOnly });
      const leftMs = isCounted ? waitsUntilMs - this.#timers.now() : timeoutMs;
      const connection = isPromiseLike(taken) ? await this.#wait(taken, leftMs, holder, timeoutMs) : taken;
      this.#holders.set(holder, { sinceMs: this.#timers.now(), connection });
      return connection;
    } catch (error) {
      if (isCounted) this.#leaveShare();
      throw this.#explained(error, holder);
    }
  }

  /** Gives the holder's connection back. Never throws. */
  give(holder: Holder, fate: 'reuse' | 'discard'): MaybePromise<void> {
    const held = this.#holders.get(holder);
    if (held === undefined) return;
    this.#holders.delete(holder);
    if (this.#reserved > 0 && holder.depth === 0) this.#leaveShare();
    return this.#release(held.connection, fate);
  }

  #release(connection: Connection, fate: 'reuse' | 'discard'): MaybePromise<void> {
    try {
      const released = connection.release(fate);
      return isPromiseLike(released) ? released.then(undefined, this.#warn) : undefined;
    } catch (error) {
      this.#warn(error);
    }
  }

  #wait(
    taken: PromiseLike<Connection>,
    leftMs: number,
    holder: Holder,
    timeoutMs: number,
  ): Promise<Connection> {
    const late = (): SettleError => this.#exhausted(holder, `none came within ${timeoutMs} ms`);
    // C3
    const giveBack = (connection: Connection): void => void this.#release(connection, 'reuse');
    return inTime(taken, leftMs, this.#timers, late, giveBack);
  }

  /** C1 */
  #refuseIfHopeless(holder: Holder): void {
    const { connectionsMax } = this.#driver;
    if (connectionsMax === undefined) return;
    const own = holder.around.filter((around) => this.#holders.has(around));
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
    if (this.#holders.size >= connectionsMax) return this.#exhausted(holder, messageOf(error), error);
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
    const held = [...this.#holders].map(
      ([{ label, depth }, { sinceMs }]) => `${label} (depth ${depth}, for ${Math.round(nowMs - sinceMs)} ms)`,
    );
    const size = this.#driver.connectionsMax ?? 'an unknown number of';
    return new SettleError(
      'pool_exhausted',
      `no connection for ${holder.label} at depth ${holder.depth}: ${why}. ` +
        `Transactions hold ${held.length} of ${size} connections: ${held.join(', ') || 'none'}`,
      {
        cause,
        next:
          holder.depth === 0
            ? 'Hold connections for a shorter time, or enlarge the pool'
            : 'Enlarge the pool, set reserveForNested, or use nested instead of requiresNew',
      },
    );
  }
}
