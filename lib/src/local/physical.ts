/**
 * One transaction on one connection: it takes the connection and begins with the first statement, opens savepoints when
 * something happens in them, and knows how it ended. It owns neither scopes nor their order (scope.ts, turns.ts).
 *
 * - L1 Nothing is sent before the first statement. A transaction without one costs no round trip.
 * - L2 At most one statement is under way on the connection.
 * - L3 After a fault (the connection is lost, the server rolled back, a statement committed) no statement is sent: it
 *   would take effect alone.
 * - L4 It is committed only if the server says so. No answer is `unknown`, never "rolled back".
 * - L5 A connection whose state is not known for sure is not given back to the pool.
 */
import { messageOf, SettleError } from '../util/errors.ts';
import { isPromiseLike, type MaybePromise } from '../util/maybe-promise.ts';
import { CommitPosition, type CommittedAt } from './commit-position.ts';
import type { Connections, Holder } from './connections.ts';
import type { BeginOptions, Failure } from './dialect.ts';
import type { Connection, Driver } from './driver.ts';
import { inTime } from './in-time.ts';
import { CommitUnknown, UnexpectedRollback } from './errors.ts';
import type { Level } from './level.ts';
import type { Reads } from './reads.ts';
import { leavesSessionState } from './statements.ts';
import type { Timer, Timers } from './timers.ts';

/** Milliseconds a statement that was cancelled may take to end, and a COMMIT to be answered. */
export const cancelGraceMs = 5_000;
/** Milliseconds after which a statement is cancelled again: a server that hears of it too early ends nothing. */
export const cancelAgainMs = 250;
export const commitTimeoutMs = 30_000;
/** Milliseconds a ROLLBACK, or the release of a savepoint, may take to be answered, before the connection is given up. */
export const rollbackTimeoutMs = 30_000;

/** A database, with those who hold its connections. */
export interface Source<Client> {
  readonly driver: Driver<Client>;
  readonly connections: Pick<Connections, 'take' | 'give'>;
  readonly timers: Timers;
  /** What is seen there: anything but `strong` is a replica's. */
  readonly reads: Reads;
  /** Is told of what kind of failure a statement, or the COMMIT, met. */
  failed?(kind: Failure['kind']): void;
}

export interface PhysicalSetup {
  readonly source: Source<unknown>;
  /** Under which the connection is known to be held. */
  readonly holder: Holder;
  readonly acquireTimeoutMs: number;
  readonly begin: BeginOptions;
}

type Statement<R> = (connection: Connection) => R;

export class PhysicalTransaction {
  readonly holder: Holder;
  readonly begin: BeginOptions;
  readonly #source: Source<unknown>;
  readonly #acquireTimeoutMs: number;
  #connection: Connection | undefined;
  /** L3 */
  #fault: SettleError | undefined;
  #savepoints = 0;
  /** Who has a statement under way, and who waits for its end. */
  #running: object | undefined;
  #whenQuiet: (() => void)[] | undefined;
  #mayBeReused = true;
  #isBegun = false;

  constructor({ source, holder, acquireTimeoutMs, begin }: PhysicalSetup) {
    this.#source = source;
    this.holder = holder;
    this.#acquireTimeoutMs = acquireTimeoutMs;
    this.begin = begin;
  }

  get label(): string {
    return this.holder.label;
  }

  get reads(): Reads {
    return this.#source.reads;
  }

  get fault(): SettleError | undefined {
    return this.#fault;
  }

  get holdsConnection(): boolean {
    return this.#connection !== undefined;
  }

  get running(): object | undefined {
    return this.#running;
  }

  /** Takes the connection; for drivers that answer at once, before the first statement needs it. */
  async connect(): Promise<void> {
    this.#keep(await this.#source.connections.take(this.holder, this.#acquireTimeoutMs));
  }

  #keep(connection: Connection): Connection {
    if (this.#fault !== undefined) {
      // It was given up while it waited.
      void this.#source.connections.give(this.holder, 'reuse');
      throw this.#fault;
    }
    this.#connection = connection;
    return connection;
  }

  /** Runs one statement in a level whose turn the caller has (L2). */
  async run<T>(by: object, level: Level, statement: Statement<PromiseLike<T>>, text?: string): Promise<T> {
    this.#refuseAfterFault();
    this.#running = by;
    try {
      const connection =
        this.#connection ??
        this.#keep(await this.#source.connections.take(this.holder, this.#acquireTimeoutMs));
      for (let next = toOpen(level); next !== undefined; next = toOpen(level)) {
        for (const sql of this.#messagesToOpen(next)) await connection.execute(sql);
        next.isOpen = true;
      }
      // Whoever waits for the end of the statement does not want it begun.
      if (this.#whenQuiet !== undefined) throw endedEarly(this.label, 'its statement was sent');
      this.#look(text);
      const result = await statement(connection);
      this.#checkAfter();
      return result;
    } catch (error) {
      await this.#connection?.hearOut?.(error);
      throw this.#failed(level, error);
    } finally {
      this.#quiet();
    }
  }

  /** The same without a promise. */
  runNow<T>(by: object, level: Level, statement: Statement<T>, text?: string): T {
    this.#refuseAfterFault();
    this.#running = by;
    try {
      const connection = this.#connection;
      if (connection === undefined)
        throw new Error('a driver that answers at once is connected at the beginning');
      for (let next = toOpen(level); next !== undefined; next = toOpen(level)) {
        for (const sql of this.#messagesToOpen(next)) mustBeNow(connection.execute(sql));
        next.isOpen = true;
      }
      this.#look(text);
      const result = statement(connection);
      this.#checkAfter();
      return result;
    } catch (error) {
      throw this.#failed(level, error);
    } finally {
      this.#quiet();
    }
  }

  /** Gives up the savepoint's name; what happened in it is part of its parent. Throws when the server refuses. */
  async release(level: Level): Promise<void> {
    if (level.savepoint === undefined || this.#connection === undefined) return;
    await this.#answered(this.#connection, `release savepoint ${level.savepoint}`);
  }

  /** Whether the server refuses everything in the level but its rollback. Where it does not say so, a failure says it. */
  refuses(level: Level): boolean {
    const status = this.#connection?.status?.();
    if (status !== undefined) return status === 'failed';
    const { dialect } = this.#source.driver;
    const { firstFailure } = level;
    if (!dialect.refusesAfterFailure || firstFailure === undefined) return false;
    return dialect.failureOf(firstFailure.error).kind !== 'unclear';
  }

  /** Undoes what happened in the savepoint. When that cannot be done, the whole transaction is at fault. */
  async rollbackTo(level: Level): Promise<void> {
    if (level.savepoint === undefined || this.#connection === undefined || this.#fault !== undefined) return;
    try {
      await this.#answered(this.#connection, `rollback to savepoint ${level.savepoint}`);
      await this.#answered(this.#connection, `release savepoint ${level.savepoint}`);
    } catch (error) {
      this.#fault ??= aborted(this.label, 'its savepoint could not be rolled back', error);
    }
  }

  /**
   * L4. Resolves when it is committed, with where the log stood then if `wantsToken`. Throws `UnexpectedRollback` when the
   * server rolled back instead, `CommitUnknown` when nobody knows, and the server's error when it refused. In each case the
   * connection is given back.
   */
  async commit(level: Level, wantsToken: boolean): Promise<CommittedAt | undefined> {
    const connection = this.#connection;
    if (connection === undefined) return undefined;
    if (!this.#isBegun) {
      await this.#giveBack('reuse');
      return undefined;
    }
    // On a replica nothing can have been written.
    const isAsked = wantsToken && this.reads === 'strong';
    const position = isAsked ? await this.#position(level, connection) : undefined;
    let tag: string | undefined;
    try {
      const answer = connection.execute('commit');
      const late = (): Error => new Error(`no answer within ${commitTimeoutMs} ms`);
      tag = isPromiseLike(answer) ? await inTime(answer, commitTimeoutMs, this.#source.timers, late) : answer;
    } catch (error) {
      const { kind } = this.#source.driver.dialect.failureOf(error);
      if (kind === 'connection-lost' || kind === 'unclear') {
        this.#source.failed?.('connection-lost');
        await this.#giveBack('discard');
        throw new CommitUnknown(this.label, error);
      }
      // SQLite leaves a transaction open whose COMMIT it refused.
      await this.rollback();
      throw error;
    }
    const isOpenStill = connection.status?.() !== undefined && connection.status() !== 'none';
    // PostgreSQL answers so to the COMMIT of a transaction in which a statement failed.
    const isRolledBack = tag === 'ROLLBACK';
    const committedAt = position === undefined || isRolledBack ? undefined : await position.after();
    const givenBack = this.#giveBack(isOpenStill || committedAt?.doubt !== undefined ? 'discard' : 'reuse');
    if (isPromiseLike(givenBack)) await givenBack;
    if (isRolledBack) throw new UnexpectedRollback(this.label, level.firstFailure?.error ?? serverRolledBack);
    return committedAt;
  }

  /** Waits for the statement under way, cancelling it where asked, then rolls everything back. Never throws. */
  async rollback(): Promise<void> {
    const connection = this.#connection;
    if (connection === undefined) {
      // One that is waited for still goes back as soon as it comes.
      this.#fault ??= endedEarly(this.label, 'it had a connection');
      return;
    }
    if (!this.#isBegun) return await this.#giveBack(this.#fault === undefined ? 'reuse' : 'discard');
    if (this.#fault?.code === 'connection_lost') return await this.#giveBack('discard');
    try {
      await this.#answered(connection, 'rollback');
    } catch {
      // What is not committed is rolled back with its connection.
      return await this.#giveBack('discard');
    }
    await this.#giveBack('reuse');
  }

  /**
   * Resolves when none of those `whose` statements is under way: cancels it on the server, and gives the connection up when
   * even that does not end it.
   */
  async quieten(whose: (by: object) => boolean): Promise<void> {
    if (this.#running === undefined || !whose(this.#running)) return;
    if (this.#connection === undefined) {
      // It waits for one.
      this.#fault ??= endedEarly(this.label, 'it had a connection');
      return;
    }
    const quiet = new Promise<void>((resolve) => void (this.#whenQuiet ??= []).push(resolve));
    const { timers } = this.#source;
    let isOver = false;
    let again: Timer | undefined;
    const cancel = async (): Promise<void> => {
      await this.#cancel();
      // One at a time: each may take a connection of its own, of a server that has none to spare.
      if (!isOver) again = timers.set(cancelAgainMs, () => void cancel());
    };
    void cancel();
    try {
      const late = (): Error => new Error(`it goes on after ${cancelGraceMs} ms`);
      await inTime(quiet, cancelGraceMs, timers, late);
    } catch (error) {
      this.#fault ??= aborted(this.label, 'its statement could not be cancelled', error);
      await this.#giveBack('discard');
    } finally {
      isOver = true;
      if (again !== undefined) timers.forget(again);
    }
  }

  async #cancel(): Promise<void> {
    try {
      await this.#connection?.cancel?.();
    } catch {
      // Whether it was heard shows in the statement.
    }
  }

  /** Runs a statement that no server takes long for. Without an answer in time, the connection is given up. */
  async #answered(connection: Connection, sql: string): Promise<void> {
    const answer = connection.execute(sql);
    if (!isPromiseLike(answer)) return;
    const late = (): SettleError => {
      const error = aborted(this.label, `no answer to ${sql} within ${rollbackTimeoutMs} ms`, undefined);
      this.#fault ??= error;
      void this.#giveBack('discard');
      return error;
    };
    await inTime(answer, rollbackTimeoutMs, this.#source.timers, late);
  }

  /** Whether the transaction itself is open, whatever the level in it. */
  #isOpen({ isOpen, parent }: Level): boolean {
    return isOpen || (parent !== undefined && this.#isOpen(parent));
  }

  #messagesToOpen(level: Level): readonly string[] {
    this.#isBegun = true;
    if (level.parent === undefined) return this.#source.driver.dialect.begin(this.begin);
    level.savepoint = `settle_${++this.#savepoints}`;
    return [`savepoint ${level.savepoint}`];
  }

  #look(text: string | undefined): void {
    if (text === undefined || !leavesSessionState(text, this.#source.driver.dialect.name)) return;
    this.#mayBeReused = false;
  }

  #refuseAfterFault(): void {
    if (this.#fault === undefined) return;
    throw aborted(this.label, 'no statement can be part of it any more', this.#fault);
  }

  /** DDL on MySQL commits, and so does a COMMIT that somebody hid from us. */
  #checkAfter(): void {
    if (this.#connection?.status?.() !== 'none') return;
    this.#fault = implicitCommit(this.label);
    throw this.#fault;
  }

  /** Where that cannot be asked, nothing is committed. */
  async #position(level: Level, connection: Connection): Promise<CommitPosition> {
    const { driver, timers } = this.#source;
    try {
      const position = new CommitPosition(this.label, driver, connection, timers);
      await position.before();
      return position;
    } catch (error) {
      const failure = this.#failed(level, error);
      await this.rollback();
      throw failure;
    }
  }

  #failed(level: Level, error: unknown): unknown {
    level.firstFailure ??= { error };
    if (error === this.#fault) return error;
    const { kind, endsTransaction } = this.#source.driver.dialect.failureOf(error);
    this.#source.failed?.(kind);
    if (!this.#isBegun) {
      // There was no connection to be lost.
      this.#fault ??= aborted(this.label, messageOf(error), error);
      return error;
    }
    if (kind === 'connection-lost') {
      this.#fault ??= new SettleError('connection_lost', `${this.label}: ${messageOf(error)}`, {
        cause: error,
        next: 'Run the transaction again: nothing of it is committed',
      });
      return this.#fault;
    }
    if (!this.#isOpen(level)) {
      // Half of a BEGIN may hold for the next transaction, as the isolation of MySQL does.
      this.#mayBeReused = false;
      this.#fault ??= aborted(this.label, messageOf(error), error);
      return error;
    }
    const isGone = this.#connection?.status?.() === 'none';
    if (isGone && !endsTransaction && this.#source.driver.dialect.commitsBefore(error)) {
      this.#fault ??= implicitCommit(this.label, error);
      return this.#fault;
    }
    // An error, and no transaction any more: the server rolled back all of it.
    if (endsTransaction || isGone) this.#fault ??= aborted(this.label, messageOf(error), error);
    // Without its savepoint, nothing after it would be where it belongs.
    if (!level.isOpen) this.#fault ??= aborted(this.label, messageOf(error), error);
    return error;
  }

  #quiet(): void {
    this.#running = undefined;
    const waiting = this.#whenQuiet;
    if (waiting === undefined) return;
    this.#whenQuiet = undefined;
    for (const resolve of waiting) resolve();
  }

  /** L5 */
  #giveBack(fate: 'reuse' | 'discard'): MaybePromise<void> {
    const connection = this.#connection;
    if (connection === undefined) return;
    this.#connection = undefined;
    const how = this.#mayBeReused ? fate : 'discard';
    const reset = how === 'reuse' ? this.#source.driver.dialect.reset?.(this.begin) : undefined;
    if (reset === undefined || reset.length === 0) return this.#source.connections.give(this.holder, how);
    return this.#resetAndRelease(connection, reset);
  }

  async #resetAndRelease(connection: Connection, reset: readonly string[]): Promise<void> {
    try {
      for (const sql of reset) await connection.execute(sql);
    } catch {
      return await this.#source.connections.give(this.holder, 'discard');
    }
    await this.#source.connections.give(this.holder, 'reuse');
  }
}

/** The outermost level that is not open yet. A parent's turn is held by its child, so nobody else opens it. */
function toOpen(level: Level): Level | undefined {
  if (level.isOpen) return undefined;
  return (level.parent && toOpen(level.parent)) ?? level;
}

const serverRolledBack = new Error('the server answered ROLLBACK to COMMIT');

function endedEarly(label: string, what: string): SettleError {
  return new SettleError('scope_ended', `${label} was ended before ${what}`, {
    next: 'Await everything inside the function of the scope',
  });
}

function aborted(label: string, why: string, cause: unknown): SettleError {
  return new SettleError('transaction_aborted', `${label}: ${why}`, {
    cause,
    next: 'Run the transaction again from its beginning',
  });
}

function implicitCommit(label: string, cause?: unknown): SettleError {
  return new SettleError(
    'implicit_commit',
    `${label}: a statement ended the transaction; what came before it is committed`,
    { cause, next: 'Run DDL and transaction statements outside of transactions' },
  );
}

function mustBeNow(value: unknown): void {
  if (isPromiseLike(value)) throw new Error('a driver that answers at once gave a promise');
}
