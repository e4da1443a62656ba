/** Finds out which transaction a call belongs to, begins and ends it, and says who holds the connections. */
import { AsyncLocalStorage } from 'node:async_hooks';
import { messageOf, SettleError } from '../util/errors.ts';
import { LinkedSet } from '../util/linked-set.ts';
import { onAbort } from '../util/on-abort.ts';
import { ambientClient } from './ambient-client.ts';
import { systemClock, timerMsMax } from './clock.ts';
import { Connections, Holder } from './connections.ts';
import type { BeginOptions, Dialect } from './dialect.ts';
import type { Driver } from './driver.ts';
import type { Hook } from './hooks.ts';
import { Level } from './level.ts';
import {
  acquireTimeoutMsDefault,
  checkOptions,
  timeoutMsDefault,
  type RetryOptions,
  type ScopeOptions,
} from './options.ts';
import { cancelGraceMs, PhysicalTransaction, type Source } from './physical.ts';
import { participation } from './propagation.ts';
import { Places, type Place } from './place.ts';
import { includes, planOf, type ReadOptions, type Reads } from './reads.ts';
import { checkReplicas, Replicas, type ReplicaPool } from './replicas.ts';
import { pauseBeforeRetryMs } from './retry.ts';
import { Timers } from './timers.ts';
import { TransactionScope, type ScopeHost, type ScopeInTree } from './scope.ts';
import type { HandleOptions, JoiningOptions, OpenTransaction, Scope, Transaction } from './transaction.ts';
import type {
  OpenWork,
  OutsideOptions,
  ReplicaOptions,
  Transactions,
  TransactionsOptions,
  Work,
} from './transactions.ts';

/**
 * Makes the transactions of one data source: `createTransactions(pgDriver(pool))`. Several data sources are several of
 * them, independent of each other.
 */
export function createTransactions<Client>(
  driver: Driver<Client>,
  options: TransactionsOptions & ReplicaOptions<Client> = {},
): Transactions<Client> {
  return new TransactionManager(driver, options);
}

/** Where code runs that is in no transaction; `parent` is what it suspends. */
class OutsideScope<Client> implements ScopeInTree<Client>, Scope<Client> {
  readonly transaction = undefined;
  readonly asTransaction = undefined;
  readonly client: Client;
  readonly parent: ScopeInTree<Client> | undefined;

  constructor(client: Client, parent: ScopeInTree<Client> | undefined) {
    this.client = client;
    this.parent = parent;
  }
}

class TransactionManager<Client> implements Transactions<Client>, ScopeHost<Client> {
  readonly timers: Timers;
  readonly places: Places;
  readonly db: Client;
  readonly strictDb: Client;
  readonly #frames = new AsyncLocalStorage<ScopeInTree<Client> | undefined>();
  readonly #options: TransactionsOptions;
  readonly #primary: Source<Client>;
  readonly #replicas: Replicas<Client>;
  readonly owners = new LinkedSet<TransactionScope<Client>>();

  constructor(driver: Driver<Client>, options: TransactionsOptions & ReplicaOptions<Client>) {
    checkOptions(options.defaults ?? {});
    this.#options = options;
    this.places = new Places(options.rememberPlaces ?? process.env['NODE_ENV'] !== 'production');
    const { schedule, ...clock } = options.clock ?? systemClock;
    // A timer serves many transactions, and must not run in the context of one of them.
    this.timers = new Timers({
      ...clock,
      schedule: (ms, callback) => this.exit(() => schedule(ms, callback)),
    });
    const { replicas = [], replicaRestMs } = options;
    checkReplicas(driver, replicas);
    this.#primary = { ...this.#poolOf(driver, options.reserveForNested ?? 0), reads: 'strong' };
    this.#replicas = new Replicas(
      replicas.map((replica) => this.#poolOf(replica, 0)),
      { restMs: replicaRestMs, warn: (warning) => this.warn(warning) },
    );
    this.db = ambientClient(
      driver.outside,
      () => this.#frames.getStore()?.asTransaction?.client ?? driver.outside,
    );
    this.strictDb = ambientClient(driver.outside, () => this.required().client);
  }

  run<T>(work: Work<T, Client>, options?: JoiningOptions): Promise<T>;
  run<T>(work: OpenWork<T, Client>, options: OutsideOptions): Promise<T>;
  run<T>(work: Work<T, Client> | OpenWork<T, Client>, options: ScopeOptions = {}): Promise<T> {
    return this.#run(this.#frames.getStore(), work as AnyWork<T, Client>, options, this.places.here(1));
  }

  read<T>(work: Work<T, Client>, options: ReadOptions = {}): Promise<T> {
    return this.#read(this.#frames.getStore(), work as AnyWork<T, Client>, options, this.places.here(1));
  }

  wrap<This, Args extends unknown[], T>(
    work: (this: This, ...args: Args) => T | PromiseLike<T>,
    options: ScopeOptions = {},
  ): (this: This, ...args: Args) => Promise<T> {
    checkOptions(options);
    const labelled: ScopeOptions = { label: work.name, ...options };
    const run = (call: () => T | PromiseLike<T>): Promise<T> =>
      this.#run(this.#frames.getStore(), call, labelled, this.places.here(2));
    return function wrapped(this: This, ...args: Args) {
      return run(() => work.apply(this, args));
    };
  }

  begin(options: HandleOptions = {}): Promise<OpenTransaction<Client>> {
    return this.#begin(this.#frames.getStore(), options, this.places.here(1));
  }

  async #begin(
    parent: ScopeInTree<Client> | undefined,
    options: HandleOptions,
    begunAt: Place | undefined,
  ): Promise<OpenTransaction<Client>> {
    checkOptions(options);
    const setup: Setup = { label: labelOf(options, undefined), begunAt, isHandle: true };
    const kind = participation(options.propagation ?? 'required', parent?.asTransaction !== undefined);
    if (kind === 'missing') throw missing(setup.label);
    if (kind === 'outside' || kind === 'forbidden') {
      throw new SettleError('config_invalid', `begin() cannot have propagation ${options.propagation}`, {
        next: 'Use run(), or one of required, requiresNew, nested and mandatory',
      });
    }
    const scope = this.#scopeFor(kind, parent, options, setup);
    await this.#enter(scope);
    return scope;
  }

  current(): Transaction<Client> | undefined {
    return this.#frames.getStore()?.asTransaction;
  }

  required(): Transaction<Client> {
    const current = this.current();
    if (current === undefined) throw missing('the ambient client');
    return current;
  }

  get database(): Dialect['name'] {
    return this.#primary.driver.dialect.name;
  }

  of(client: Client): Transaction<Client> {
    if (client === this.db || client === this.strictDb) return this.required();
    for (const owner of this.owners.members()) {
      const scope = owner.findByClient(client);
      if (scope !== undefined) return scope;
    }
    const { name } = this.#primary.driver;
    throw new SettleError(
      'foreign_client',
      `the client is of no open transaction of this data source (${name})`,
      {
        next: 'Pass the client that run() gave, or tx.db, while its transaction is open',
      },
    );
  }

  exit<T>(work: () => T): T {
    return this.#frames.run(undefined, work);
  }

  describe(): string {
    return this.owners
      .members()
      .toReversed()
      .flatMap((scope) => scope.describe())
      .join('\n');
  }

  context(): ScopeInTree<Client> | undefined {
    return this.#frames.getStore();
  }

  runWithin<T>(parent: TransactionScope<Client>, work: Work<T, Client>, options: JoiningOptions): Promise<T> {
    return this.#run(parent, work as AnyWork<T, Client>, options, this.places.here(2));
  }

  beginWithin(parent: TransactionScope<Client>, options: HandleOptions): Promise<OpenTransaction<Client>> {
    return this.#begin(parent, options, this.places.here(2));
  }

  async runHook(parent: TransactionScope<Client>, hook: Hook): Promise<unknown> {
    const label = `${parent.label} before commit`;
    return await this.#runIn(
      this.#participant('joined', parent, { label, begunAt: this.places.here(2) }),
      hook,
      {},
    );
  }

  warn(warning: SettleError): void {
    const { onWarning } = this.#options;
    try {
      if (onWarning !== undefined) return onWarning(warning);
    } catch (cause) {
      // Who listens badly must not change how transactions end.
      const what = `onWarning failed: ${messageOf(cause)}`;
      process.emitWarning(new SettleError('internal', what, { cause, next: 'Catch what can fail in it' }));
    }
    process.emitWarning(warning);
  }

  #run<T>(
    parent: ScopeInTree<Client> | undefined,
    work: AnyWork<T, Client>,
    options: ScopeOptions,
    begunAt: Place | undefined,
  ): Promise<T> {
    try {
      return this.#started(parent, work, options, { label: labelOf(options, work.name), begunAt });
    } catch (error) {
      // oxlint-disable-next-line typescript/prefer-promise-reject-errors -- handed on as it was thrown
      return Promise.reject(error);
    }
  }

  #started<T>(
    parent: ScopeInTree<Client> | undefined,
    work: AnyWork<T, Client>,
    options: ScopeOptions,
    setup: Setup,
  ): Promise<T> {
    checkOptions(options);
    const kind = participation(options.propagation ?? 'required', parent?.asTransaction !== undefined);
    switch (kind) {
      case 'begin': {
        const retry = options.retry ?? this.#options.defaults?.retry;
        if (retry !== undefined) return this.#runWithRetry(retry, parent, work, options, setup);
        return this.#runIn(this.#scopeFor(kind, parent, options, setup), work, options);
      }
      case 'join':
      case 'savepoint':
        return this.#runIn(this.#scopeFor(kind, parent, options, setup), work, options);
      case 'outside': {
        if (options.onToken !== undefined) throw noToken(setup.label);
        const outside = new OutsideScope(this.#primary.driver.outside, parent);
        return this.#frames.run(outside, awaited, work, outside);
      }
      case 'missing':
        throw missing(setup.label);
      case 'forbidden':
        throw new SettleError('transaction_forbidden', `${setup.label} must not run in a transaction`, {
          next: 'Call it outside of the transaction, or use propagation notSupported',
        });
    }
  }

  async #read<T>(
    parent: ScopeInTree<Client> | undefined,
    work: AnyWork<T, Client>,
    { reads, forUpdate = false, waitMs, ...options }: ReadOptions,
    begunAt: Place | undefined,
  ): Promise<T> {
    const asked: ScopeOptions = { ...options, label: labelOf(options, work.name), readOnly: !forUpdate };
    checkOptions(asked);
    const isolation = options.isolation ?? this.#options.defaults?.isolation;
    const plan = planOf({ reads, forUpdate, waitMs, isolation }, this.#primary.driver.dialect);
    const onPrimary = (): Promise<T> => this.#run(parent, work, asked, begunAt);
    const around = parent?.asTransaction;
    if (around !== undefined) refuseOlder(asked, reads, around.physical);
    if (around !== undefined || plan.kind === 'primary') return await onPrimary();
    const onReplica = (source: Source<Client>): Promise<T> => {
      const scope = this.#owner(source, parent, asked, { label: labelOf(asked, undefined), begunAt });
      // Nothing of the function runs before its connection is there.
      return this.#runIn(scope, (t) => scope.physical.connect().then(() => work(t)), asked);
    };
    return await this.#replicas.read(plan, onReplica, onPrimary);
  }

  /** Only who began the transaction can begin it again. */
  async #runWithRetry<T>(
    retry: RetryOptions,
    parent: ScopeInTree<Client> | undefined,
    work: AnyWork<T, Client>,
    options: ScopeOptions,
    setup: Setup,
  ): Promise<T> {
    const { random = Math.random } = this.#options;
    for (let attempt = 1; ; attempt++) {
      try {
        return await this.#runIn(this.#scopeFor('begin', parent, options, setup), work, options);
      } catch (error) {
        const pauseMs = pauseBeforeRetryMs(error, attempt, retry, this.#primary.driver.dialect, random);
        if (pauseMs === undefined || options.signal?.aborted === true) throw error;
        await this.#pause(Math.ceil(pauseMs), options.signal);
      }
    }
  }

  /** Keeps the process alive: somebody waits for the transaction, and nothing else may be under way. */
  async #pause(ms: number, signal: AbortSignal | undefined): Promise<void> {
    const alive = setInterval(() => {}, timerMsMax);
    await new Promise<void>((resolve) => {
      const timer = this.timers.set(ms, () => {
        forget?.();
        resolve();
      });
      const forget =
        signal &&
        onAbort(signal, () => {
          this.timers.forget(timer);
          resolve();
        });
    });
    clearInterval(alive);
  }

  async #runIn<T>(
    scope: TransactionScope<Client>,
    work: AnyWork<T, Client>,
    options: ScopeOptions,
  ): Promise<T> {
    let result: T;
    try {
      if (mustWait(scope)) await this.#enter(scope);
      result = await scope.outcomeOf(() => this.#frames.run(scope, awaited, work, scope));
    } catch (error) {
      const failure = scope.hasEnded ? { error } : whyRollBack(error, options.rollbackOn);
      if (failure !== undefined) throw await scope.failWith(failure.error);
      await scope.complete();
      throw error;
    }
    await scope.complete(result);
    return result;
  }

  async #enter(scope: TransactionScope<Client>): Promise<void> {
    try {
      if (scope.role === 'nested') await scope.enter();
      if (scope.role === 'owner' && scope.driver.answers === 'at-once')
        await scope.outcomeOf(() => scope.physical.connect());
    } catch (error) {
      throw await scope.failWith(error);
    }
  }

  #scopeFor(
    kind: 'begin' | 'join' | 'savepoint',
    parent: ScopeInTree<Client> | undefined,
    options: ScopeOptions,
    setup: Setup,
  ): TransactionScope<Client> {
    const around = parent?.asTransaction;
    if (kind === 'begin' || around === undefined) return this.#owner(this.#primary, parent, options, setup);
    around.refuseUnlessActive();
    refuseConflict(setup.label, options, around.physical);
    if (kind === 'savepoint' && !around.driver.dialect.savepoints) {
      throw new SettleError(
        'savepoints_unsupported',
        `${setup.label}: ${around.driver.name} has no savepoints`,
        {
          next: 'Use propagation required, or requiresNew where it may commit alone',
        },
      );
    }
    const scope = this.#participant(kind === 'savepoint' ? 'nested' : 'joined', around, setup);
    const { timeoutMs = Infinity, signal, onToken } = options;
    if (onToken !== undefined) scope.level.hooks.token(onToken);
    if (timeoutMs !== Infinity || signal !== undefined) scope.limit(timeoutMs, signal);
    return scope;
  }

  #participant(
    role: 'joined' | 'nested',
    parent: TransactionScope<Client>,
    setup: Setup,
  ): TransactionScope<Client> {
    const level = role === 'nested' ? new Level(parent.level) : parent.level;
    const { driver, physical } = parent;
    return new TransactionScope(this, { ...setup, role, parent, driver, physical, level });
  }

  #owner(
    source: Source<Client>,
    parent: ScopeInTree<Client> | undefined,
    options: ScopeOptions,
    { label, begunAt }: Setup,
  ): TransactionScope<Client> {
    const { defaults = {}, warnAfterMs = warnAfterMsDefault } = this.#options;
    const { isolation = defaults.isolation, readOnly = false, signal, onToken } = options;
    const { timeoutMs = defaults.timeoutMs ?? timeoutMsDefault } = options;
    const { acquireTimeoutMs = defaults.acquireTimeoutMs ?? acquireTimeoutMsDefault } = options;
    // Only for when we cannot end it any more: ours comes first, and says what it is.
    const graceMs = Math.ceil(options.timeoutMs ?? defaults.timeoutMs ?? Infinity) + cancelGraceMs;
    const serverTimeoutMs = graceMs <= timerMsMax ? graceMs : undefined;
    const holder = new Holder(label, readOnly, transactionsAround(parent));
    const begin: BeginOptions = { isolation, readOnly, serverTimeoutMs };
    const physical = new PhysicalTransaction({ source, holder, acquireTimeoutMs, begin });
    const { driver } = source;
    const level = new Level(undefined);
    if (onToken !== undefined) level.hooks.token(onToken);
    const scope = new TransactionScope<Client>(this, {
      label,
      role: 'owner',
      parent,
      driver,
      physical,
      level,
      begunAt,
    });
    scope.limit(timeoutMs, signal, warnAfterMs);
    return scope;
  }

  #poolOf(driver: Driver<Client>, reserved: number): ReplicaPool<Client> {
    const warn = (cause: unknown): void =>
      this.warn(
        new SettleError('internal', `a connection could not be given back: ${messageOf(cause)}`, { cause }),
      );
    const { timers } = this;
    const connections = new Connections(driver, { timers, reserved, warn, exit: (work) => this.exit(work) });
    return { driver, connections, timers };
  }
}

interface Setup {
  readonly label: string;
  readonly begunAt: Place | undefined;
  /** Default: false. */
  readonly isHandle?: boolean;
}

type AnyWork<T, Client> = (
  t: (TransactionScope<Client> & Scope<Client>) | OutsideScope<Client>,
) => T | PromiseLike<T>;

/** A query that runs when it is awaited (Knex, Drizzle) has to be awaited in the scope whose function returned it. */
function awaited<S, T>(work: (scope: S) => T | PromiseLike<T>, scope: S): Promise<T> {
  return Promise.resolve(work(scope));
}

const warnAfterMsDefault = 30_000;

/** Why the error rolls back; undefined when it does not. */
function whyRollBack(error: unknown, rollbackOn: ScopeOptions['rollbackOn']): { error: unknown } | undefined {
  try {
    return rollbackOn?.(error) === false ? undefined : { error };
  } catch (own) {
    return { error: new AggregateError([error, own], `rollbackOn failed: ${messageOf(own)}`) };
  }
}

/** For its turn, or for a connection: a driver that answers at once cannot wait for one later. */
function mustWait<Client>({ role, driver }: TransactionScope<Client>): boolean {
  return role === 'nested' || (role === 'owner' && driver.answers === 'at-once');
}

/** The transactions that are suspended or open around a scope, each once. */
function transactionsAround<Client>(parent: ScopeInTree<Client> | undefined): readonly Holder[] {
  if (parent === undefined) return [];
  const around = new Set<Holder>();
  for (let at: ScopeInTree<Client> | undefined = parent; at !== undefined; at = at.parent) {
    const { asTransaction } = at;
    if (asTransaction !== undefined) around.add(asTransaction.physical.holder);
  }
  return [...around];
}

function refuseConflict(
  label: string,
  { isolation, readOnly }: ScopeOptions,
  { begin, label: owner }: PhysicalTransaction,
): void {
  if (isolation !== undefined && isolation !== begin.isolation) {
    const has = begin.isolation ?? "the database's default";
    throw conflict(label, `asks for isolation ${isolation}, but ${owner} began with ${has}`);
  }
  if (readOnly === false && begin.readOnly)
    throw conflict(label, `wants to write, but ${owner} began read-only`);
}

/** What a replica has is not enough for a read that says aloud that it wants more. */
function refuseOlder(
  { label = '' }: ScopeOptions,
  asked: Reads | undefined,
  { reads, label: owner }: PhysicalTransaction,
): void {
  if (asked === undefined || includes(reads, asked)) return;
  throw conflict(label, `asks for newer data than ${owner} is sure to see, which reads on a replica`);
}

function noToken(label: string): SettleError {
  return new SettleError('option_conflict', `${label} runs outside of every transaction, and gets no token`, {
    next: 'Use propagation required, or leave out onToken',
  });
}

function conflict(label: string, what: string): SettleError {
  return new SettleError('option_conflict', `${label} ${what}`, {
    next: 'Say it where the transaction begins, or use propagation requiresNew',
  });
}

function missing(label: string): SettleError {
  return new SettleError('transaction_required', `${label} needs a transaction, and runs in none`, {
    next: 'Call it inside run()',
  });
}

function labelOf({ label }: ScopeOptions, name: string | undefined): string {
  return label ?? (name === undefined || name === '' ? 'transaction' : name);
}
