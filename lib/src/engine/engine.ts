/**
 * The engine: one loop for all patterns over the ports, and the `Coordinator` facade in front of it.
 *
 * Owns: the verbs, admission, who owns a transaction, start and stop. A `Runner` drives each transaction, `Recovery`
 * brings in what nobody drives, `Waiting` serves those who wait, `GroupCommit` writes, `LeaseKeeper` keeps the right to.
 *
 * The durability rules, cited wherever they are kept:
 * - D1 A submit is acknowledged only after its record is durable.
 * - D2 A decision is durable before any call that depends on it is sent.
 * - D3 An answer is written before what rests on it is sent, unless a repeat is known to give the same answer.
 * - D4 Every write is a compare-and-set on (gid, revision, epoch of the owner). Never read-then-write.
 * - D5 Only the store's clock decides deadlines and leases; inside the process only monotonic intervals count.
 * - D6 All writes that are ready go down in one group commit; nobody waits for a timer to fill a batch.
 * - D7 The happy path of a transaction reads nothing back from the store.
 * - D8 What cannot be read is left untouched and alarmed; it never stops the loop.
 * - D9 Detached work is counted and drained at a stop; everything has a named limit (limits.ts).
 */
import { pageMax, submitManyMax } from '../core/coordinator.ts';
import type {
  ActionRequest,
  Coordinator,
  SubmitOutcome,
  SubmitRequest,
  TransactionPage,
  TransactionQuery,
  WaitOptions,
} from '../core/coordinator.ts';
import { isBranchName, type Gid } from '../core/ids.ts';
import { whyIllegalHere } from '../core/legal.ts';
import { planOf, type Plan, type TransactionView } from '../core/patterns.ts';
import type { Event } from '../core/protocol.ts';
import { specsOf, untried } from '../core/tcc.ts';
import { planTccBranches, type TccBranchDefinition } from '../core/tcc-plan.ts';
import { assert } from '../util/assert.ts';
import { ChurningMap } from '../util/churning-map.ts';
import { crashPoint } from '../util/crash-point.ts';
import { SettleError } from '../util/errors.ts';
import { planted } from '../util/planted-bug.ts';
import { addressesOf, addressesOfBranches } from './addresses.ts';
import { Destinations } from './destinations.ts';
import { GroupCommit, type Written } from './group-commit.ts';
import { LeaseKeeper } from './lease.ts';
import { engineLimits, type EngineLimits } from './limits.ts';
import { guarded, periodic, type Periodic } from './periodic.ts';
import { clusterDefault } from './ports.ts';
import type { BranchCaller, Clock, Ids, Observer, Random, Store, StoredTransaction } from './ports.ts';
import { readStored } from './read-stored.ts';
import { Recovery } from './recovery.ts';
import {
  asSettleError,
  differenceOf,
  illegal,
  isGoingBack,
  leaseLost,
  refuseOther,
  unreadable,
  whyNotForgotten,
} from './refusals.ts';
import { Runner, type RunnerWorld } from './runner.ts';
import { StoreClock } from './store-clock.ts';
import { Waiting } from './waiting.ts';

export interface EngineOptions {
  readonly store: Store;
  readonly caller: BranchCaller;
  readonly clock: Clock;
  readonly random: Random;
  readonly ids: Ids;
  readonly observe?: Observer;
  readonly limits?: Partial<EngineLimits>;
  /** What this coordinator calls itself in the store. */
  readonly coordinator?: string;
  /** Whose transactions the store holds; it refuses every other. Default {@link clusterDefault}. */
  readonly cluster?: string;
}

export interface Engine extends Coordinator {
  /** Takes a lease and starts to recover. Rejects when the store cannot be used. */
  start(): Promise<void>;
  /** Refuses new work, waits for calls under way up to `drainMs`, hands everything over, ends the lease. */
  stop(): Promise<void>;
  /** Whether it takes new work now, and if not, why. */
  readiness(): { readonly kind: 'ready' } | { readonly kind: 'not-ready'; readonly reason: string };
  /** Unfinished transactions in memory, and writes that wait for the store. */
  load(): { readonly transactions: number; readonly writesWaiting: number };
}

/** Makes an engine that has not started. It never closes the store it was given. */
export function createEngine(options: EngineOptions): Engine {
  return new TheEngine(options);
}

/** Takeovers by which a decision is tried to be made, before its client hears `lease_lost`. */
const decideAttemptsMax = 3;

class TheEngine implements Engine {
  readonly #store: Store;
  readonly #clock: Clock;
  readonly #ids: Ids;
  readonly #observe: Observer;
  readonly #limits: EngineLimits;
  readonly #caller: BranchCaller;
  readonly #storeClock: StoreClock;
  readonly #writes: GroupCommit;
  readonly #lease: LeaseKeeper;
  readonly #world: RunnerWorld;
  readonly #runners = new ChurningMap<Gid, Runner>();
  readonly #callsEnd = new AbortController();
  readonly #adopting = new Map<Gid, Promise<Runner>>();
  #stopping: Promise<void> | undefined;
  #phase: 'new' | 'running' | 'draining' | 'stopped' = 'new';
  readonly #recovery: Recovery;
  readonly #waiting: Waiting;
  #prunes: Periodic | undefined;

  constructor(options: EngineOptions) {
    const {
      store,
      caller,
      clock,
      random,
      ids,
      coordinator = 'coordinator',
      cluster = clusterDefault,
    } = options;
    const observe = harmless(options.observe ?? (() => undefined));
    this.#store = store;
    if (cluster === '')
      throw new SettleError('config_invalid', 'the name of the cluster is empty', {
        next: 'Name it, or leave it out',
      });
    this.#clock = clock;
    this.#ids = ids;
    this.#observe = observe;
    this.#caller = caller;
    this.#limits = { ...engineLimits, ...options.limits };
    this.#storeClock = new StoreClock(clock);
    this.#writes = new GroupCommit(store, clock, this.#storeClock, observe);
    this.#lease = new LeaseKeeper({
      store,
      clock,
      storeClock: this.#storeClock,
      observe,
      coordinator,
      cluster,
      leaseMs: this.#limits.leaseMs,
      lost: () => [...this.#runners.values()].forEach((runner) => runner.lose()),
      revived: () => {
        for (const runner of this.#runners.values()) runner.pump();
        this.#recovery.nudge();
      },
      driving: () => this.#runners.size,
      heardOfOthers: (others) => {
        // The lease could be written; but that needs no room on a disk that is full.
        this.#writes.forgetFailure(this.#limits.leaseMs);
        this.#recovery.heardOfOthers(others);
      },
      moveFrom: (epoch) => [...this.#runners.values()].filter((runner) => runner.moveFrom(epoch)).length > 0,
    });
    this.#world = {
      clock,
      storeClock: this.#storeClock,
      random,
      store,
      writes: this.#writes,
      caller,
      destinations: new Destinations(clock, observe, this.#limits),
      observe,
      limits: this.#limits,
      callsEnd: this.#callsEnd.signal,
      epoch: () => this.#lease.epoch,
      mayCall: () => this.#phase === 'running' && this.#lease.isLive(),
      left: (runner) => {
        if (this.#runners.get(runner.gid) === runner) this.#runners.delete(runner.gid);
        this.#recovery.left(runner);
      },
      doubt: () => this.#lease.doubt(),
    };
    this.#recovery = new Recovery(this.#world, store, this.#runners);
    this.#waiting = new Waiting(clock, store, () => this.#phase === 'running');
  }

  async start(): Promise<void> {
    assert(this.#phase === 'new', 'an engine starts once');
    await this.#lease.start();
    this.#phase = 'running';
    this.#recovery.start();
    this.#prunes = periodic(this.#clock, this.#limits.pruneEveryMs, () =>
      guarded(this.#observe, 'prune', () => this.#prune()),
    );
  }

  async stop(): Promise<void> {
    if (this.#phase === 'new') return;
    await (this.#stopping ??= this.#stop());
  }

  async #stop(): Promise<void> {
    this.#phase = 'draining';
    const background = Promise.all([this.#recovery.stop(), this.#prunes?.stop()]);
    crashPoint('engine.drain', 'before');
    await this.#drained();
    crashPoint('engine.drain', 'after');
    this.#callsEnd.abort();
    // A store that does not answer holds nobody up: what it has not taken is claimed from us once our lease ends.
    const untilMs = this.#clock.monotonicMs() + this.#limits.drainMs;
    crashPoint('engine.hand-over', 'before');
    await this.#handedOver(untilMs);
    crashPoint('engine.hand-over', 'after');
    await this.#endsBefore(untilMs, Promise.all([background, this.#writes.idle()]));
    this.#phase = 'stopped';
    for (const runner of this.#runners.values()) runner.lose();
    this.#world.destinations.close();
    await this.#endsBefore(untilMs, this.#lease.stop());
  }

  readiness(): { readonly kind: 'ready' } | { readonly kind: 'not-ready'; readonly reason: string } {
    if (this.#phase !== 'running') return { kind: 'not-ready', reason: `the coordinator is ${this.#phase}` };
    if (!this.#lease.isLive()) return { kind: 'not-ready', reason: 'the store does not answer' };
    const { failure } = this.#writes;
    if (failure !== undefined)
      return { kind: 'not-ready', reason: `the last write failed: ${failure.message}` };
    return { kind: 'ready' };
  }

  load(): { readonly transactions: number; readonly writesWaiting: number } {
    return { transactions: this.#runners.size, writesWaiting: this.#writes.waiting };
  }

  // ---- Coordinator

  async submit(request: SubmitRequest): Promise<TransactionView> {
    const gid = request.gid ?? this.#ids.gid();
    const present = this.#runners.get(gid);
    if (present === undefined) this.#admit(request.gid);
    const plan = planOf(request.definition);
    if (present !== undefined) return this.#again(present, plan, request);
    this.#checkAddresses(addressesOf(plan), request.gid);
    const { runner, written } = this.#begin(gid, plan);
    if (planted('acknowledge-before-sync')) return runner.view();
    const outcome = await written;
    switch (outcome.kind) {
      case 'written':
        return this.#waiting.ended(runner, request);
      case 'exists':
        return this.#existing(gid, plan, request);
      case 'unknown':
        throw outcome.error;
      case 'lost':
        assert(false, 'an insert is written, or there already');
    }
  }

  async submitMany(requests: readonly SubmitRequest[]): Promise<readonly SubmitOutcome[]> {
    if (requests.length > submitManyMax) {
      throw new SettleError(
        'limit_exceeded',
        `${requests.length} submits at once; at most ${submitManyMax}`,
        {
          next: 'Send them in smaller batches',
        },
      );
    }
    // One turn of the event loop, so one group commit (D6).
    return Promise.all(
      requests.map((request) =>
        this.submit(request).then(
          (transaction): SubmitOutcome => ({ kind: 'accepted', transaction }),
          (error: unknown): SubmitOutcome => ({ kind: 'rejected', error: asSettleError(error, request.gid) }),
        ),
      ),
    );
  }

  async register(
    gid: Gid,
    added: readonly TccBranchDefinition[],
    options: WaitOptions = {},
  ): Promise<TransactionView> {
    const runner = await this.#decide(gid, (runner) => {
      const { plan, state } = runner;
      if (plan.pattern !== 'tcc' || state.kind !== 'trying') throw illegal(runner, 'register');
      const present = specsOf(plan, state);
      // A repeat of the very same registration, its answer having been lost, is harmless.
      const fresh = added.filter((branch) => {
        const known = present.find((other) => other.name === branch.name);
        return known === undefined || differenceOf(known, branch) !== undefined;
      });
      const branches = planTccBranches(fresh, present);
      this.#checkAddresses(addressesOfBranches(branches), gid);
      if (branches.length > 0) runner.tell({ kind: 'registered', at: this.#storeClock.nowMs(), branches });
    });
    const names = new Set(added.map((branch) => branch.name));
    return this.#waiting.until(
      runner,
      options,
      () => runner.state.kind !== 'trying' || !isOpen(runner, names),
    );
  }

  async commit(gid: Gid, options: WaitOptions = {}): Promise<TransactionView> {
    const runner = await this.#decide(gid, (runner) => {
      const { plan, state } = runner;
      if (plan.pattern === 'saga' || isGoingBack(state) || state.kind === 'forgotten')
        throw illegal(runner, 'commit');
      // A repeated commit, its answer having been lost, is no error.
      if (state.kind !== 'trying' && state.kind !== 'prepared') return;
      const open = plan.pattern === 'tcc' && state.kind === 'trying' ? untried(plan, state) : [];
      if (open.length > 0) throw illegal(runner, 'commit', `not tried yet: ${open.join(', ')}`);
      runner.tell({ kind: 'commit', at: this.#storeClock.nowMs() });
    });
    return this.#waiting.ended(runner, options);
  }

  async act(gid: Gid, request: ActionRequest, options: WaitOptions = {}): Promise<TransactionView> {
    const runner = await this.#decide(gid, (runner) => {
      const { action, reason, actor } = request;
      // A repeated abort, its answer having been lost, is no error.
      if (action === 'abort' && isGoingBack(runner.state)) return;
      const why =
        whyIllegalHere(action, runner.plan, runner.state, request.branch) ?? whyNotForgotten(runner, request);
      if (why !== undefined) throw illegal(runner, action, why);
      runner.tell(this.#eventOf(request), { action, reason, actor });
    });
    return this.#waiting.ended(runner, options);
  }

  async get(gid: Gid, options: WaitOptions = {}): Promise<TransactionView> {
    const runner = this.#runners.get(gid);
    if (runner === undefined || runner.standing === 'inserting') return this.#waiting.poll(gid, options);
    await this.#waiting.catchUp(runner);
    return this.#waiting.ended(runner, options, 'history');
  }

  async list(query: TransactionQuery): Promise<TransactionPage> {
    const limit = Math.min(query.limit ?? 50, pageMax);
    const { items, next } = await this.#store.list({ ...query, limit });
    return next === undefined ? { items } : { items, next };
  }

  // ---- submit

  /** Admission control: refuses what it could not hold, before anything is stored. */
  #admit(gid: Gid | undefined): void {
    if (this.#phase !== 'running') {
      const next =
        'Ask again with the same gid; another coordinator, or this one after its restart, will answer';
      throw new SettleError('shutting_down', `the coordinator is ${this.#phase}`, {
        gid,
        next,
        retryAfterMs: 1_000,
      });
    }
    const { transactionsMax, writesWaitingMax } = this.#limits;
    if (this.#runners.size >= transactionsMax || this.#writes.waiting >= writesWaitingMax) {
      const what = `${this.#runners.size} transactions and ${this.#writes.waiting} writes are under way`;
      const next = 'Nothing was stored; ask again after a pause';
      throw new SettleError('overloaded', what, { gid, next, retryAfterMs: 1_000 });
    }
  }

  #checkAddresses(addresses: Iterable<string>, gid: Gid | undefined): void {
    for (const address of addresses) {
      const why = this.#caller.whyNotAllowed(address);
      if (why === undefined) continue;
      const next = 'Nothing was stored; correct the address, or have the operator allow it';
      throw new SettleError('address_not_allowed', `${address}: ${why}`, { gid, next });
    }
  }

  #begin(gid: Gid, plan: Plan): { readonly runner: Runner; readonly written: Promise<Written> } {
    const { promise: written, resolve } = Promise.withResolvers<Written>();
    crashPoint('engine.begin', 'before');
    const runner = Runner.begin(this.#world, gid, plan, resolve);
    this.#runners.set(gid, runner);
    crashPoint('engine.begin', 'after');
    return { runner, written };
  }

  /** The same gid while the first one is still in memory. */
  async #again(runner: Runner, plan: Plan, request: SubmitRequest): Promise<TransactionView> {
    await this.#waiting.settled(runner);
    await this.#waiting.catchUp(runner);
    // The first one found it in the store, or did not get it there: what it was to this one shows when it asks itself.
    if (runner.standing === 'lost') return this.submit(request);
    // Only now: what is not durable yet may never come to be, and is nothing to differ from.
    refuseOther(runner.gid, runner.plan, plan);
    return this.#waiting.ended(runner, request);
  }

  async #existing(gid: Gid, plan: Plan, request: SubmitRequest): Promise<TransactionView> {
    const stored = await this.#waiting.mustLoad(gid);
    const decoded = readStored(stored);
    if (decoded.kind === 'unreadable') throw unreadable(gid, decoded.reason);
    refuseOther(gid, decoded.plan, plan);
    if (this.#isOurs(stored)) (await this.#own(gid)).pump();
    const { history: _, ...view } = await this.get(gid, request);
    return view;
  }

  // ---- ownership

  /** Lets the owner of a transaction decide something about it; resolves once the decision is durable. */
  async #decide(gid: Gid, decide: (runner: Runner) => void): Promise<Runner> {
    for (let attempt = 1; ; attempt++) {
      const runner = await this.#own(gid);
      // It may have left since, with whom we waited for it together: what it is told now would be lost.
      if (runner.hasLeft()) continue;
      try {
        crashPoint('engine.decide', 'before');
        decide(runner);
        crashPoint('engine.decide', 'after');
      } catch (error) {
        // It may be illegal only by what is known here, while somebody else took it on from there.
        if (runner.standing === 'owned' && attempt < decideAttemptsMax) {
          await this.#waiting.catchUp(runner);
          if (runner.hasLeft()) continue;
        }
        throw error;
      } finally {
        runner.leaveUntouched();
      }
      if (runner.hasLeft() || planted('decision-not-awaited')) return runner;
      // Where nothing was left to decide, no write shows whether it is still ours.
      if (runner.isSettled) await this.#waiting.catchUp(runner);
      else await this.#waiting.settled(runner);
      if (runner.standing !== 'lost') return runner;
      // Its owner wrote at the same time, maybe only that it has nothing to do. What is legal is looked at afresh.
      if (attempt === decideAttemptsMax) throw leaseLost(gid);
    }
  }

  /**
   * The runner of a transaction; when it is not here, one that takes it over from the store, or from whoever drives
   * it, together with the first thing it is told: a compare-and-set from the owner that was read (D4).
   */
  async #own(gid: Gid): Promise<Runner> {
    const present = this.#runners.get(gid);
    if (present?.standing === 'inserting') await this.#waiting.durable(present);
    if (present?.standing === 'owned' || present?.standing === 'adopting') return present;
    this.#admit(gid);
    let adopting = this.#adopting.get(gid);
    if (adopting === undefined) {
      adopting = this.#adopt(gid).finally(() => this.#adopting.delete(gid));
      this.#adopting.set(gid, adopting);
    }
    return adopting;
  }

  async #adopt(gid: Gid): Promise<Runner> {
    for (;;) {
      const stored = await this.#waiting.mustLoad(gid);
      const present = this.#runners.get(gid);
      if (present !== undefined) return present;
      const claimed = this.#isOurs(stored);
      const { claiming } = this.#recovery;
      if (claimed && claiming !== undefined) {
        // It is on its way here.
        await claiming;
        continue;
      }
      crashPoint('engine.adopt', 'before');
      const runner = Runner.resume(this.#world, stored, { claimed, complete: stored.epoch === 0 });
      crashPoint('engine.adopt', 'after');
      if (runner === undefined) throw unreadable(gid, 'it was written by another version');
      if (runner.standing !== 'ended') this.#runners.set(gid, runner);
      return runner;
    }
  }

  /** In the store it is ours to drive: it is here, or just being claimed, or landed there after it was taken for lost. */
  #isOurs({ epoch, dueAtMs }: StoredTransaction): boolean {
    return epoch === this.#lease.epoch && dueAtMs !== undefined;
  }

  async #prune(): Promise<'again' | 'later'> {
    const { retentionMs, retentionMax, pruneBatch } = this.#limits;
    const finishedBeforeMs = this.#storeClock.nowMs() - retentionMs;
    crashPoint('engine.prune', 'before');
    const pruned = await this.#store.prune({ finishedBeforeMs, keepMax: retentionMax, limit: pruneBatch });
    crashPoint('engine.prune', 'after');
    return pruned === pruneBatch ? 'again' : 'later';
  }

  // ---- stop

  /** Resolves when no call is under way any more, or `drainMs` have passed (D9). */
  async #drained(): Promise<void> {
    const untilMs = this.#clock.monotonicMs() + this.#limits.drainMs;
    await this.#becomes(untilMs, () => [...this.#runners.values()].every((runner) => !runner.callsUnderWay));
  }

  async #handedOver(untilMs: number): Promise<void> {
    await this.#becomes(untilMs, () => {
      for (const runner of this.#runners.values()) runner.giveBack();
      return this.#runners.size === 0;
    });
  }

  async #becomes(untilMs: number, isSo: () => boolean): Promise<void> {
    while (!isSo() && this.#clock.monotonicMs() < untilMs) await this.#pause(10);
  }

  /** Resolves when the work has ended, well or not, or the time is over. */
  async #endsBefore(untilMs: number, work: Promise<unknown>): Promise<void> {
    await new Promise<void>((resolve) => {
      const cancel = this.#clock.schedule(Math.max(1, untilMs - this.#clock.monotonicMs()), resolve);
      const ended = (): void => {
        cancel();
        resolve();
      };
      work.then(ended, ended);
    });
  }

  #pause(ms: number): Promise<void> {
    return new Promise<void>((resolve) => void this.#clock.schedule(ms, resolve));
  }

  #eventOf({ action, reason, branch }: ActionRequest): Event {
    const at = this.#storeClock.nowMs();
    if (action === 'retry-now') return { kind: action, at };
    if (action !== 'skip-branch') return { kind: action, at, reason };
    assert(branch !== undefined && isBranchName(branch), 'checked by whyIllegalHere');
    return { kind: action, at, branch, reason };
  }
}

function isOpen(runner: Runner, names: ReadonlySet<string>): boolean {
  return runner
    .view()
    .branches.some(
      ({ branch, op, status }) =>
        names.has(branch) && op === 'try' && (status === 'waiting' || status === 'called'),
    );
}

/** Losing an event changes nothing, so neither does a listener that throws. */
function harmless(observe: Observer): Observer {
  return (event) => {
    try {
      observe(event);
    } catch {
      // Its own fault, and nobody else's: there is no one to tell but itself.
    }
  };
}
