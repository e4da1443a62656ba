/**
 * Lets reads run on replicas. It owns which one is asked, how long it is waited for, and what happens when it fails; the
 * transaction itself is the manager's.
 *
 * - R1 A read never fails because of a replica: the primary does it then.
 * - R2 A replica is waited for before the transaction begins there: a snapshot taken earlier stays as old as it is.
 * - R3 A function that has begun on a replica runs again if that transaction was interrupted, once, on the primary.
 * - R4 A replica that failed is left alone for a while, and one that is behind is asked for a while, but not waited for.
 * - R5 Whoever is to know hears of it, once in a while.
 */
import { isSettleError, messageOf, SettleError, type ErrorCode } from '../util/errors.ts';
import { isPromiseLike, type MaybePromise } from '../util/maybe-promise.ts';
import { askingOf } from './commit-position.ts';
import type { Connections, Holder } from './connections.ts';
import type { Failure } from './dialect.ts';
import type { Connection, Driver } from './driver.ts';
import { inTime } from './in-time.ts';
import { checkMs } from './options.ts';
import type { Source } from './physical.ts';
import type { Reads, ReplicaPlan } from './reads.ts';
import { positionQuestions, replicaQuestion, replicaStateOf, type ReplicaState } from './replication.ts';
import type { Timers } from './timers.ts';

/** R4, R5 */
const replicaRestMsDefault = 5_000;
/** Milliseconds a server may wait before it answers; nobody may want to know any more by then. */
const questionMsMax = 1_000;
/** Milliseconds an answer may take beyond that. */
const answerMsMax = 1_000;
/** Milliseconds a connection may take to come. A read that has less says nothing about the replica. */
const connectMsMax = 500;
/** Milliseconds between questions to a server that does not wait itself; doubles each time. */
const pauseMsMin = 2;
const pauseMsMax = 50;

/** A replica, with those who hold its connections. */
export interface ReplicaPool<Client> {
  readonly driver: Driver<Client>;
  readonly connections: Connections;
  readonly timers: Timers;
}

export interface ReplicaPolicy {
  readonly restMs: number | undefined;
  readonly warn: (warning: SettleError) => void;
}

export class Replicas<Client> {
  readonly #replicas: readonly Replica<Client>[];
  readonly #restMs: number;
  readonly #warn: (warning: SettleError) => void;
  #reads = 0;

  constructor(pools: readonly ReplicaPool<Client>[], { restMs = replicaRestMsDefault, warn }: ReplicaPolicy) {
    checkMs('replicaRestMs', restMs);
    this.#replicas = pools.map((pool, at) => new Replica(pool, `${at + 1} of ${pools.length}`));
    this.#restMs = restMs;
    this.#warn = warn;
  }

  /** Runs a read on the replica whose turn it is, on the next one if that is not ready, and else on the primary. */
  async read<T>(
    plan: ReplicaPlan,
    onReplica: (source: Source<Client>) => Promise<T>,
    onPrimary: () => Promise<T>,
  ): Promise<T> {
    let leftMs = plan.waitMs;
    for (const replica of this.#inTurn()) {
      const attempt = new Attempt(replica, plan, leftMs);
      try {
        return await onReplica(attempt);
      } catch (error) {
        leftMs = attempt.end();
        const skipped = attempt.skippedBy(error);
        if (skipped === undefined) throw error;
        this.#note(replica, skipped);
        if (skipped.hasBegun) break;
      }
      if (leftMs === 0) break;
    }
    return await onPrimary();
  }

  *#inTurn(): Generator<Replica<Client>> {
    const first = this.#reads++;
    for (let n = 0; n < this.#replicas.length; n++) {
      const replica = this.#replicas[(first + n) % this.#replicas.length];
      if (replica?.isResting === false) yield replica;
    }
  }

  #note(replica: Replica<Client>, { why, cause }: Skipped): void {
    const { driver, name } = replica;
    const nowMs = replica.timers.now();
    const laterMs = nowMs + this.#restMs;
    if (why === 'gone') replica.restsUntilMs = laterMs;
    if (why === 'behind') replica.isOnlyAskedUntilMs = laterMs;
    replica.skipped++;
    if (nowMs < replica.isUntoldUntilMs) return;
    const count = replica.skipped === 1 ? 'a read' : `${replica.skipped} reads`;
    replica.isUntoldUntilMs = laterMs;
    replica.skipped = 0;
    const what = `${count} did not run on replica ${name} (${driver.name}): ${messageOf(cause)}`;
    this.#warn(new SettleError('replica_skipped', what, { cause, next: nextAfter[why] }));
  }
}

type Why = 'gone' | 'busy' | 'behind' | 'conflict';

const nextAfter: Record<Why, string> = {
  gone: 'See whether the replica is up; it is left alone for a while',
  busy: 'Enlarge its pool, read less at a time, or raise waitMs',
  behind: 'See how far it is behind; for a while it is asked, but not waited for',
  conflict: 'Nothing, unless it goes on: then read for a shorter time, or let the replica wait longer',
};

/** Why a read did not come out of a replica. */
interface Skipped {
  readonly why: Why;
  readonly cause: unknown;
  /** Whether the function ran already. */
  readonly hasBegun: boolean;
}

class Replica<Client> {
  readonly name: string;
  readonly driver: Driver<Client>;
  readonly connections: Connections;
  readonly timers: Timers;
  restsUntilMs = -Infinity;
  isOnlyAskedUntilMs = -Infinity;
  isUntoldUntilMs = -Infinity;
  /** Reads, since it was told of last. */
  skipped = 0;

  constructor({ driver, connections, timers }: ReplicaPool<Client>, name: string) {
    this.name = name;
    this.driver = driver;
    this.connections = connections;
    this.timers = timers;
  }

  get isResting(): boolean {
    return this.timers.now() < this.restsUntilMs;
  }

  get isOnlyAsked(): boolean {
    return this.timers.now() < this.isOnlyAskedUntilMs;
  }
}

/** One read on one replica. A connection that is taken from it is where the plan wants it. */
class Attempt<Client> implements Source<Client> {
  readonly driver: Driver<Client>;
  readonly connections: Source<Client>['connections'];
  readonly timers: Timers;
  readonly reads: Reads;
  readonly #replica: Replica<Client>;
  readonly #plan: ReplicaPlan;
  readonly #waitMs: number;
  #untilMs: number;
  #skipped: Skipped | undefined;

  constructor(replica: Replica<Client>, plan: ReplicaPlan, waitMs: number) {
    const { driver, connections, timers } = replica;
    this.driver = driver;
    this.connections = {
      take: (holder) => this.#take(holder),
      give: (holder, fate) => connections.give(holder, fate),
    };
    this.timers = timers;
    this.reads = plan.reads;
    this.#replica = replica;
    this.#plan = plan;
    this.#waitMs = waitMs;
    this.#untilMs = timers.now() + waitMs;
  }

  /** Waits for nothing any more. Gives back how many whole milliseconds were left. */
  end(): number {
    const leftMs = Math.floor(this.#leftMs);
    this.#untilMs = -Infinity;
    return leftMs;
  }

  get #leftMs(): number {
    return Math.max(0, this.#untilMs - this.timers.now());
  }

  failed(kind: Failure['kind']): void {
    const why = interruptions[kind];
    if (why !== undefined) this.#skipped ??= { why, cause: undefined, hasBegun: true };
  }

  /** Undefined when the error is none of the replica's. */
  skippedBy(error: unknown): Skipped | undefined {
    if (this.#skipped === undefined) return undefined;
    if (this.#skipped.hasBegun) {
      return isSettleError(error) && final.has(error.code) ? undefined : { ...this.#skipped, cause: error };
    }
    // Otherwise it was ended from outside while it waited.
    return this.#skipped.cause === error ? this.#skipped : undefined;
  }

  async #take(holder: Holder): Promise<Connection> {
    const { connections } = this.#replica;
    let connection: Connection;
    try {
      connection = await connections.take(holder, this.#waitMs);
    } catch (cause) {
      const isSlow = isLate(cause) && this.#waitMs < connectMsMax;
      throw this.#skip(connections.isFull || isSlow ? 'busy' : 'gone', cause);
    }
    await this.#waitFor(connection, holder);
    return connection;
  }

  /** R2 */
  async #waitFor(connection: Connection, holder: Holder): Promise<void> {
    const { connections } = this.#replica;
    let state: ReplicaState;
    try {
      state = await this.#stateOf(connection);
    } catch (cause) {
      await connections.give(holder, 'discard');
      throw isSettleError(cause) ? cause : this.#skip('gone', cause);
    }
    if (state === 'reached') return;
    await connections.give(holder, 'reuse');
    throw this.#skip('behind', new Error(state === 'behind' ? notInTime : followsAnother));
  }

  async #stateOf(connection: Connection): Promise<ReplicaState> {
    const { position } = this.#plan;
    if (position === undefined) return 'reached';
    const ask = askingOf(this.driver, connection);
    const { isOnlyAsked } = this.#replica;
    for (let pauseMs = pauseMsMin; ; pauseMs = Math.min(pauseMs * 2, pauseMsMax)) {
      const waitMs = isOnlyAsked ? 0 : Math.min(Math.ceil(this.#leftMs), questionMsMax);
      const answer = ask(replicaQuestion(position, waitMs));
      const state = replicaStateOf(await this.#inTime(answer, waitMs + answerMsMax));
      const leftMs = isOnlyAsked ? 0 : Math.ceil(this.#leftMs);
      if (state !== 'behind' || leftMs === 0) return state;
      await new Promise<void>((resolve) => void this.timers.set(Math.min(pauseMs, leftMs), resolve));
    }
  }

  async #inTime(answer: MaybePromise<unknown>, limitMs: number): Promise<unknown> {
    if (!isPromiseLike(answer)) return answer;
    return await inTime(answer, limitMs, this.timers, () => new Error(`no answer within ${limitMs} ms`));
  }

  #skip(why: Why, cause: unknown): unknown {
    this.#skipped = { why, cause, hasBegun: false };
    return cause;
  }
}

/** R3: what a transaction that only reads is not to blame for. */
const interruptions: Partial<Record<Failure['kind'], Why>> = {
  serialization: 'conflict',
  deadlock: 'conflict',
  'connection-lost': 'gone',
};

/** It read all it wanted, or nobody wants it any more. */
const final = new Set<ErrorCode>(['post_commit_failed', 'transaction_timeout', 'transaction_cancelled']);

function isLate(error: unknown): boolean {
  return isSettleError(error) && error.code === 'pool_exhausted';
}

const notInTime = 'it did not come in time to where the token is';
const followsAnother = 'it follows another primary than the one that gave the token';

/** Throws `config_invalid` for drivers that cannot be replicas of this primary. */
export function checkReplicas(primary: Driver<unknown>, replicas: readonly Driver<unknown>[]): void {
  const { dialect, name } = primary;
  for (const replica of replicas) {
    if (replica.dialect.name === dialect.name && positionQuestions(dialect) !== undefined) continue;
    throw new SettleError(
      'config_invalid',
      `a replica by ${replica.name} (${replica.dialect.name}) cannot follow ${name} (${dialect.name})`,
      { next: 'Use a driver for the same PostgreSQL, MariaDB or MySQL as its primary' },
    );
  }
}
