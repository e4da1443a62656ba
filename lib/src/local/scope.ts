/**
 * One scope: what one call of `run` does within a transaction, from its beginning to its end. It owns its own life and the
 * order of ending; the connection is the physical transaction's, turns and savepoints the level's.
 *
 * - S1 A scope that has ended takes no statement, no hook and no further scope: `scope_ended`, with the place it began.
 * - S2 A scope ends after everything it began has ended. What it began and did not await is waited for; what that goes on
 *   to do comes too late, and makes the level roll back: half of something un-awaited is never committed.
 * - S3 A scope that fails ends every scope within it first.
 * - S4 A joined scope that fails marks its level: the level's owner cannot commit any more, whoever caught the failure.
 * - S5 Hooks that run after the end run outside of every transaction, and before the caller goes on.
 */
import { messageOf, SettleError } from '../util/errors.ts';
import type { LinkedSet, Place as LinkedPlace } from '../util/linked-set.ts';
import type { MaybePromise } from '../util/maybe-promise.ts';
import type { SqlResult, SqlValue } from '../util/sql.ts';
import type { CommittedAt } from './commit-position.ts';
import type { Connection, Driver } from './driver.ts';
import { CommitUnknown, PostCommitError, UnexpectedRollback } from './errors.ts';
import type { CompletionHook, CompletionStatus, Hook, Hooks } from './hooks.ts';
import type { Level } from './level.ts';
import type { PhysicalTransaction } from './physical.ts';
import type { Place, Places } from './place.ts';
import {
  cancelledBy,
  endedBecauseOf,
  flushesWithoutEnd,
  hookFailed,
  leftOpen,
  nestedIsOpen,
  noQuery,
  openForLong,
  scopeEnded,
  tookTooLong,
} from './scope-errors.ts';
import { active, closing, completed, type Ended, type ScopeState } from './scope-state.ts';
import { refuseTransactionControl } from './statements.ts';
import type { Timer, Timers } from './timers.ts';
import type { HandleOptions, JoiningOptions, OpenTransaction, Transaction } from './transaction.ts';
import type { Turns } from './turns.ts';

/** What a scope needs of the manager that made it. */
export interface ScopeHost<Client> {
  readonly timers: Timers;
  readonly places: Places;
  /** Of the transactions that are open. */
  readonly owners: LinkedSet<TransactionScope<Client>>;
  /** The scope the calling code runs in, whatever its transaction. */
  context(): ScopeInTree<Client> | undefined;
  /** Runs a scope within this one. */
  runWithin<T>(
    parent: TransactionScope<Client>,
    work: (t: Transaction<Client>) => T | PromiseLike<T>,
    options: JoiningOptions,
  ): Promise<T>;
  /** Begins a scope within this one that is ended by hand. */
  beginWithin(parent: TransactionScope<Client>, options: HandleOptions): Promise<OpenTransaction<Client>>;
  runHook(parent: TransactionScope<Client>, hook: Hook): Promise<unknown>;
  exit<T>(work: () => T): T;
  /** Tells what reaches no caller. */
  warn(warning: SettleError): void;
}

/** A scope with or without a transaction, as the context of the code in it. */
export interface ScopeInTree<Client> {
  readonly parent: ScopeInTree<Client> | undefined;
  readonly asTransaction: TransactionScope<Client> | undefined;
}

/** How often what a handle holds is flushed, and the hooks run that this registers. */
const flushesMax = 100;

export interface ScopeSetup<Client> {
  readonly label: string;
  readonly role: Transaction<Client>['role'];
  readonly parent: ScopeInTree<Client> | undefined;
  /** Of the database the transaction runs on. */
  readonly driver: Driver<Client>;
  readonly physical: PhysicalTransaction;
  readonly level: Level;
  readonly begunAt: Place | undefined;
  /** Ended by hand: it has no function. */
  readonly isHandle?: boolean;
}

export class TransactionScope<Client> implements OpenTransaction<Client>, ScopeInTree<Client> {
  readonly label: string;
  readonly role: Transaction<Client>['role'];
  readonly parent: ScopeInTree<Client> | undefined;
  readonly driver: Driver<Client>;
  readonly physical: PhysicalTransaction;
  readonly level: Level;
  readonly #host: ScopeHost<Client>;
  readonly #begunAt: Place | undefined;
  readonly #isHandle: boolean;
  readonly #beganAtMs: number;
  /** Of an owner, among those that are open. */
  readonly #place: LinkedPlace<TransactionScope<Client>> | undefined;
  #state: ScopeState = active;
  #children: Set<TransactionScope<Client>> | undefined;
  #statements = 0;
  #whenIdle: (() => void) | undefined;
  /** A nested scope has the turn of its parent's level while it lives. */
  #holdsTurn = false;
  #client: Client | undefined;
  #timer: Timer | undefined;
  #forgetSignal: (() => void) | undefined;
  #rejectRun: ((error: unknown) => void) | undefined;
  #rollingBack: Promise<void> | undefined;
  /** The part of that before its hooks. */
  #undoing: Promise<void> | undefined;
  #abortedBy: SettleError | undefined;
  /** Its RELEASE or COMMIT, once that is sent: from then on the server decides, and it is heard out. */
  #settling: Promise<void> | undefined;

  constructor(host: ScopeHost<Client>, setup: ScopeSetup<Client>) {
    this.#host = host;
    this.label = setup.label;
    this.role = setup.role;
    this.parent = setup.parent;
    this.driver = setup.driver;
    this.physical = setup.physical;
    this.level = setup.level;
    this.#begunAt = setup.begunAt;
    this.#isHandle = setup.isHandle ?? false;
    this.#beganAtMs = host.timers.now();
    if (setup.role === 'owner') this.#place = host.owners.add(this);
    else this.#siblings()?.add(this);
  }

  get transaction(): Transaction<Client> {
    return this;
  }

  get asTransaction(): TransactionScope<Client> {
    return this;
  }

  get isActive(): boolean {
    return this.#state.kind === 'active';
  }

  get hasEnded(): boolean {
    return this.#state.kind === 'ended';
  }

  get isRollbackOnly(): boolean {
    return this.level.rollbackOnly !== undefined || this.physical.fault !== undefined;
  }

  get client(): Client {
    this.#innermost().refuseUnlessActive();
    const joined = this.role === 'joined' ? this.parent?.asTransaction : undefined;
    if (joined !== undefined && this.driver.holding !== undefined) return joined.client;
    this.#client ??= this.#makeClient();
    return this.#client;
  }

  setRollbackOnly(reason?: unknown): void {
    this.#innermost().refuseUnlessActive();
    if (this.role === 'joined') {
      const cause = reason ?? new Error(`${this.label} called setRollbackOnly()`);
      this.level.mark({ kind: 'failed', cause });
    } else this.level.mark({ kind: 'asked' });
  }

  onBeforeCommit(hook: Hook): void {
    this.#hooks.beforeCommit(hook);
  }

  onAfterCommit(hook: Hook): void {
    this.#hooks.after('committed', hook);
  }

  onAfterRollback(hook: Hook): void {
    this.#hooks.after('rolled-back', hook);
  }

  onCompletion(hook: CompletionHook): void {
    this.#hooks.after('any', hook);
  }

  async query(sql: string, values: readonly SqlValue[] = []): Promise<SqlResult> {
    const scope = this.#innermost();
    const statement = (connection: Connection): MaybePromise<SqlResult> => {
      if (connection.query === undefined) throw noQuery(this.driver.name);
      return connection.query(sql, values);
    };
    if (this.driver.answers === 'at-once') return await scope.#statementNow(statement, sql);
    return await scope.#statement(async (connection) => await statement(connection), sql);
  }

  run<T>(work: (t: Transaction<Client>) => T | PromiseLike<T>, options: JoiningOptions = {}): Promise<T> {
    return this.#host.runWithin(this.#innermost(), work, options);
  }

  begin(options: HandleOptions = {}): Promise<OpenTransaction<Client>> {
    return this.#host.beginWithin(this.#innermost(), options);
  }

  /** Fails the scope when the time is up, or the signal aborts; before that, tells of one that is open for long. */
  limit(timeoutMs: number, signal: AbortSignal | undefined, warnAfterMs = Infinity): void {
    if (warnAfterMs < timeoutMs) this.#warnLater(warnAfterMs, timeoutMs);
    else if (timeoutMs !== Infinity) this.#endLater(timeoutMs, timeoutMs);
    if (signal === undefined) return;
    const onAbort = (): void => void this.abort(cancelledBy(this.label, signal));
    if (signal.aborted) onAbort();
    else {
      signal.addEventListener('abort', onAbort, { once: true });
      this.#forgetSignal = () => signal.removeEventListener('abort', onAbort);
    }
  }

  #warnLater(warnAfterMs: number, timeoutMs: number): void {
    this.#timer = this.#host.timers.set(warnAfterMs, () => {
      this.#host.warn(openForLong(this.label, warnAfterMs, this.describe()));
      if (timeoutMs !== Infinity) this.#endLater(timeoutMs - warnAfterMs, timeoutMs);
    });
  }

  #endLater(delayMs: number, timeoutMs: number): void {
    this.#timer = this.#host.timers.set(delayMs, () => void this.abort(tookTooLong(this.label, timeoutMs)));
  }

  /** Waits for the turn of its parent's level: siblings with savepoints come one after the other. */
  async enter(): Promise<void> {
    const { parent } = this.level;
    if (parent === undefined) return;
    if (this.isActive && parent.turns.tryTake()) this.#holdsTurn = true;
    else await this.outcomeOf(() => this.#waitForTurn(parent.turns));
    if (this.hasEnded) throw this.#endedError();
    const { rollbackOnly, firstFailure } = parent;
    if (rollbackOnly !== undefined || this.physical.fault !== undefined || this.physical.refuses(parent)) {
      const cause =
        this.physical.fault ?? (rollbackOnly === undefined ? firstFailure?.error : causeOf(rollbackOnly));
      const error = new UnexpectedRollback(this.label, cause);
      await this.#rollBack(error);
      throw error;
    }
  }

  async #waitForTurn(turns: Turns): Promise<void> {
    await turns.take();
    if (this.hasEnded) turns.give();
    else this.#holdsTurn = true;
  }

  /** What the function of the scope comes to, or why the scope was ended while it ran. */
  outcomeOf<T>(work: () => T | PromiseLike<T>): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      if (this.#state.kind === 'ended') throw this.#endedError();
      this.#rejectRun = reject;
      Promise.resolve(work()).then(resolve, reject);
    });
  }

  /** Throws `scope_ended` (S1). */
  refuseUnlessActive(): void {
    if (this.#state.kind === 'active') return;
    // S2: what was not awaited goes on, and would be done in half.
    const error = this.#endedError();
    if (this.#state.kind === 'closing') this.level.mark({ kind: 'failed', cause: error });
    throw error;
  }

  /** Ends it well. Throws when it cannot be: then everything is rolled back, unless the error says otherwise. */
  async complete(result?: unknown): Promise<void> {
    if (this.hasEnded) await this.#throwIfAborted();
    this.refuseUnlessActive();
    this.#state = closing;
    if (this.#isBusy) await this.#drained();
    if (this.hasEnded) await this.#throwIfAborted();
    if (this.driver.holding !== undefined) await this.#flush();
    if (this.role === 'joined') return this.#end(completed);
    if (this.role === 'owner' && this.level.hooks.hasBeforeCommit) await this.#runBeforeCommit();
    const surprise = this.#surprise();
    if (surprise !== undefined || this.level.rollbackOnly !== undefined) {
      await this.#rollBack(surprise ?? causeOf(this.level.rollbackOnly));
      if (surprise !== undefined) throw surprise;
      return;
    }
    this.#settling = this.role === 'nested' ? this.#release() : this.#commit(result);
    await this.#settling;
  }

  /** Ends it badly, on its own account: an error left its function. Gives back what the caller is to get. */
  async failWith(error: unknown): Promise<unknown> {
    await this.#rollBack(error);
    // Ended from outside before that, it says why.
    return this.#state.kind === 'ended' && this.#state.reason.kind === 'failed'
      ? this.#state.reason.error
      : error;
  }

  /** Ends it from outside, with its function still running. Resolves when nothing of it can happen any more. */
  async abort(error: SettleError): Promise<void> {
    const end = this.#endUnderWay();
    if (end !== undefined) return await end;
    this.#abortedBy = error;
    const reject = this.#rejectRun;
    await this.#rollBack(error);
    reject?.(error);
  }

  async done(): Promise<void> {
    // Said twice, it is no half of anything: it does not roll back.
    if (!this.isActive) throw this.#abortedBy ?? this.#endedError();
    await this.complete();
  }

  async fail(reason?: unknown): Promise<void> {
    const end = this.#endUnderWay();
    if (end !== undefined) return await end;
    await this.#rollBack(reason ?? new Error(`${this.label} was ended without done()`));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.fail();
  }

  /**
   * What a statement of it would be part of now: where something belongs that is kept with the transaction and written later.
   * Throws `scope_ended`.
   */
  get levelNow(): Level {
    const scope = this.#innermost();
    scope.refuseUnlessActive();
    return scope.level;
  }

  /** Whether it is known already that it cannot be committed: what is written now would be for nothing. */
  get isDoomed(): boolean {
    return this.isRollbackOnly || this.physical.refuses(this.level);
  }

  /** Whether this scope lies in the other one, or is it. */
  isWithin(other: unknown): boolean {
    return this === other || (this.parent?.asTransaction?.isWithin(other) ?? false);
  }

  /** This scope, or the one within it, that made the client. */
  findByClient(client: Client): TransactionScope<Client> | undefined {
    if (this.#client === client) return this;
    for (const child of this.#children ?? []) {
      const found = child.findByClient(client);
      if (found !== undefined) return found;
    }
    return undefined;
  }

  /** One line for each scope of the tree below. */
  describe(depth = 0): string[] {
    const ageMs = Math.round(this.#host.timers.now() - this.#beganAtMs);
    const what = [`${this.label} (${this.role}, ${this.#state.kind}`, `${ageMs} ms`];
    if (this.role === 'owner')
      what.push(this.physical.holdsConnection ? 'has a connection' : 'has no connection');
    if (this.physical.running === this) what.push('a statement runs');
    if (this.isRollbackOnly) what.push('rollback only');
    const line = `${'  '.repeat(depth)}${what.join(', ')}) begun ${this.#begunPlace}`;
    return [line, ...[...(this.#children ?? [])].flatMap((child) => child.describe(depth + 1))];
  }

  /** Runs a statement of the handle of this scope, as part of the innermost scope that calls it. */
  #statement<T>(statement: (connection: Connection) => PromiseLike<T>, text: string | undefined): Promise<T> {
    try {
      this.refuseUnlessActive();
      if (text !== undefined) refuseTransactionControl(text, this.label);
    } catch (error) {
      // oxlint-disable-next-line typescript/prefer-promise-reject-errors -- handed on as it was thrown
      return Promise.reject(error);
    }
    this.#statements++;
    return this.#perform(statement, text);
  }

  async #perform<T>(
    statement: (connection: Connection) => PromiseLike<T>,
    text: string | undefined,
  ): Promise<T> {
    const { turns } = this.level;
    try {
      if (!turns.tryTake()) await turns.take();
      try {
        if (this.hasEnded) throw this.#endedError();
        return await this.physical.run(this, this.level, statement, text);
      } finally {
        turns.give();
      }
    } finally {
      this.#statements--;
      this.#tellIfIdle();
    }
  }

  #statementNow<T>(statement: (connection: Connection) => T, text: string | undefined): T {
    this.refuseUnlessActive();
    if (text !== undefined) refuseTransactionControl(text, this.label);
    const { turns } = this.level;
    if (!turns.tryTake()) {
      throw nestedIsOpen(this.label);
    }
    try {
      return this.physical.runNow(this, this.level, statement, text);
    } finally {
      turns.give();
    }
  }

  #makeClient(): Client {
    return this.driver.client({
      run: (statement, text) => this.#innermost().#statement(statement, text),
      runNow: (statement, text) => this.#innermost().#statementNow(statement, text),
      nested: (work) => this.run((t) => work(t.client), { propagation: 'nested' }),
      afterCommit: (hook) => this.onAfterCommit(hook),
    });
  }

  /**
   * The innermost active scope of this transaction that the calling code runs in, if that lies within this scope; else this
   * scope. A nested scope has the turn: a statement made within it with an outer handle would wait for it for ever.
   */
  #innermost(): TransactionScope<Client> {
    let found: TransactionScope<Client> | undefined;
    for (let at = this.#host.context(); at !== undefined; at = at.parent) {
      if (at === this) return found ?? this;
      const scope = at.asTransaction;
      if (found === undefined && scope?.physical === this.physical && scope.isActive) found = scope;
    }
    return this;
  }

  get #hooks(): Hooks {
    // While hooks run before the commit, only their own scopes are active.
    const scope = this.isActive ? this : this.#innermost();
    scope.refuseUnlessActive();
    return scope.level.hooks;
  }

  get #isBusy(): boolean {
    return this.#statements > 0 || (this.#children?.size ?? 0) > 0;
  }

  /** S2 */
  async #drained(): Promise<void> {
    while (this.#isBusy && !this.hasEnded) {
      if (this.#isUnderWay) {
        await new Promise<void>((resolve) => {
          this.#whenIdle = resolve;
        });
      }
      // What goes on after that which was not awaited shows itself now, and is refused.
      await this.#host.timers.turn();
      if (!this.#isUnderWay) await this.#endHandles();
    }
  }

  /** Whether anything goes on in it, which a handle that is merely open is not: nobody may ever end that. */
  get #isUnderWay(): boolean {
    if (this.#statements > 0) return true;
    for (const child of this.#children ?? []) if (!child.#isHandle || child.#isUnderWay) return true;
    return false;
  }

  async #endHandles(): Promise<void> {
    for (const child of this.#children ?? []) {
      const error = leftOpen(child.label, this.label, child.#begunPlace);
      this.level.mark({ kind: 'failed', cause: error });
      await child.abort(error);
    }
  }

  #tellIfIdle(): void {
    if (this.#whenIdle !== undefined && (this.hasEnded || !this.#isUnderWay)) {
      this.#whenIdle();
      this.#whenIdle = undefined;
    }
    const around = this.#isHandle ? this.parent?.asTransaction : undefined;
    if (around !== undefined) around.#tellIfIdle();
  }

  /** As a hook of its own, whose statements are let through although the function of the scope has returned. */
  async #flush(): Promise<void> {
    const { holding } = this.driver;
    const client = this.#client;
    if (holding?.flush === undefined || client === undefined || this.isRollbackOnly) return;
    try {
      await this.#host.runHook(this, () => holding.flush?.(client));
    } catch (error) {
      throw await this.failWith(error);
    }
    if (this.hasEnded) await this.#throwIfAborted();
  }

  /** The end that is too late to change, to be waited for, without its hooks; undefined while there is none. */
  #endUnderWay(): Promise<void> | undefined {
    if (this.#state.kind === 'ended') return this.#undoing ?? Promise.resolve();
    // Its error goes to whoever ended the scope so.
    return this.#settling?.catch(() => {});
  }

  /** It may have been ended from outside at any moment that something was awaited. */
  async #throwIfAborted(): Promise<void> {
    if (this.#state.kind !== 'ended' || this.#state.reason.kind === 'completed') return;
    const { error } = this.#state.reason;
    await this.#rollingBack;
    throw error;
  }

  async #runBeforeCommit(): Promise<void> {
    try {
      const { hooks } = this.level;
      for (let round = 1; hooks.hasBeforeCommit; round++) {
        if (round > flushesMax) throw flushesWithoutEnd(this.label);
        await hooks.runBeforeCommit((hook) => this.#host.runHook(this, hook));
        // What is flushed may register further ones.
        if (this.driver.holding !== undefined) await this.#flush();
      }
    } catch (error) {
      throw await this.failWith(error);
    }
    if (this.hasEnded) await this.#throwIfAborted();
  }

  async #release(): Promise<void> {
    try {
      await this.physical.release(this.level);
    } catch (error) {
      const why = new UnexpectedRollback(this.label, this.level.firstFailure?.error ?? error);
      await this.#rollBack(why);
      throw why;
    }
    this.level.parent?.hooks.adopt(this.level.hooks);
    this.level.fate = 'released';
    this.#end(completed);
  }

  async #commit(result: unknown): Promise<void> {
    // From here on the server decides: no deadline of ours may end it any more.
    this.#forget();
    const { hooks } = this.level;
    let committedAt: CommittedAt | undefined;
    try {
      committedAt = await this.physical.commit(this.level, hooks.wantsToken);
    } catch (error) {
      this.#end({ kind: 'failed', error });
      await this.#runAfterHooks(error instanceof CommitUnknown ? 'unknown' : 'rolled-back');
      throw error;
    }
    this.#end(completed);
    if (committedAt?.doubt !== undefined) this.#host.warn(committedAt.doubt);
    if (!hooks.hasAfter) return;
    const errors = await this.#host.exit(() =>
      hooks.runAfter('committed', this.#host.timers, committedAt?.token),
    );
    if (errors.length > 0) throw new PostCommitError(this.label, errors, result);
  }

  /** Why a level whose function returned has to be rolled back, where nobody asked for that. */
  #surprise(): SettleError | undefined {
    const { fault } = this.physical;
    if (fault?.code === 'implicit_commit') return fault;
    if (fault !== undefined) return new UnexpectedRollback(this.label, fault);
    const { rollbackOnly, firstFailure } = this.level;
    if (rollbackOnly?.kind === 'failed') return new UnexpectedRollback(this.label, rollbackOnly.cause);
    if (!this.physical.refuses(this.level)) return undefined;
    return new UnexpectedRollback(this.label, firstFailure?.error ?? new Error('a statement failed'));
  }

  #rollBack(error: unknown): Promise<void> {
    this.#rollingBack ??= this.#rollBackOnce(error);
    return this.#rollingBack;
  }

  async #rollBackOnce(error: unknown): Promise<void> {
    this.#state = { kind: 'ended', reason: { kind: 'failed', error } };
    this.#tellIfIdle();
    // S3. First all are told, so that none of them begins anything while others end.
    const children = [...(this.#children ?? [])];
    const ends = children.map((child) => child.abort(endedBecauseOf(child.label, this.label, error)));
    this.#undoing = this.#undo(error, children);
    await this.#undoing;
    // S5, theirs first. However long hooks take, they hold no connection.
    for (const end of ends) await end;
    if (this.role === 'joined') return;
    await this.#runAfterHooks(this.physical.fault?.code === 'implicit_commit' ? 'unknown' : 'rolled-back');
    this.level.hooks.forget();
  }

  async #undo(error: unknown, children: readonly TransactionScope<Client>[]): Promise<void> {
    for (const child of children) await child.#endUnderWay();
    await this.physical.quieten((by) => by instanceof TransactionScope && by.isWithin(this));
    switch (this.role) {
      case 'joined':
        this.level.mark({ kind: 'failed', cause: error });
        break;
      case 'nested': {
        this.level.fate = 'undone';
        await this.physical.rollbackTo(this.level);
        const { fault } = this.physical;
        if (fault !== undefined) this.level.parent?.mark({ kind: 'failed', cause: fault });
        break;
      }
      case 'owner':
        await this.physical.rollback();
        break;
    }
    this.#end({ kind: 'failed', error });
  }

  /** Hooks that fail after a rollback must not hide why there was one. */
  async #runAfterHooks(status: CompletionStatus): Promise<void> {
    if (!this.level.hooks.hasAfter) return;
    const errors = await this.#host.exit(() => this.level.hooks.runAfter(status, this.#host.timers));
    for (const cause of errors) {
      this.#host.warn(hookFailed(this.label, status, messageOf(cause), cause));
    }
  }

  #end(reason: Ended): void {
    this.#state = { kind: 'ended', reason };
    this.#forget();
    if (this.#client !== undefined) this.driver.holding?.end(this.#client, reason.kind);
    this.#client = undefined;
    this.#rejectRun = undefined;
    if (this.#holdsTurn) {
      this.#holdsTurn = false;
      this.level.parent?.turns.give();
    }
    if (this.#place !== undefined) return this.#host.owners.remove(this.#place);
    const around = this.parent?.asTransaction;
    if (around === undefined) return;
    around.#children?.delete(this);
    around.#tellIfIdle();
  }

  #forget(): void {
    if (this.#timer !== undefined) this.#host.timers.forget(this.#timer);
    this.#forgetSignal?.();
    this.#forgetSignal = undefined;
  }

  #siblings(): Set<TransactionScope<Client>> | undefined {
    const around = this.parent?.asTransaction;
    if (around === undefined) return undefined;
    around.#children ??= new Set();
    return around.#children;
  }

  #endedError(): SettleError {
    return scopeEnded(this.label, this.#state, this.#begunPlace);
  }

  get #begunPlace(): string {
    return this.#host.places.tell(this.#begunAt);
  }
}

/**
 * A transaction as the rest of this library sees it, which keeps something with it. Throws `config_invalid` for one of another
 * copy of this library.
 */
export function scopeOf<Client>(t: Transaction<Client>): TransactionScope<Client> {
  if (isScope(t)) return t;
  throw new SettleError('config_invalid', 'the transaction is of another copy of this library', {
    next: 'Install one version of settle, and import it in one way',
  });
}

function isScope<Client>(t: Transaction<Client>): t is TransactionScope<Client> {
  return t instanceof TransactionScope;
}

function causeOf(reason: Level['rollbackOnly']): unknown {
  return reason?.kind === 'failed' ? reason.cause : new Error('setRollbackOnly() was called');
}
