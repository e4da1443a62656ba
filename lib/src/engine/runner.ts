/**
 * Drives one transaction that this coordinator owns: effects -> call -> event -> evolve -> save -> repeat.
 *
 * Owns: what must be durable before what may leave. Does not own: leases
 * (lease.ts), admission (engine.ts), who waits (waiting.ts).
 *
 * - R1 A change of decision, or an answer that a repeat might not give again, closes the gate: no new call leaves until
 *      it is durable (D2, D3). Calls already under way go on.
 * - R2 At most one write is under way; each names the revision and the owner that the one before it left (D4).
 * - R3 A branch has at most one call under way, whatever its op: an undo waits for the answer of what it undoes.
 * - R4 A write whose fate is unknown is read back before anything else is written (D4).
 */
import { encodePlan, encodeProgress, type Progress } from '../core/codec.ts';
import type { Gid } from '../core/ids.ts';
import type { Op, Outcome } from '../core/outcome.ts';
import { branches, effects, evolve, isTerminal, start, stuckBranches } from '../core/patterns.ts';
import type { HistoryEntry, Plan, State, TransactionView } from '../core/patterns.ts';
import type { CallEffect, Event } from '../core/protocol.ts';
import { crashPoint } from '../util/crash-point.ts';
import { messageOf } from '../util/errors.ts';
import { planted } from '../util/planted-bug.ts';
import type { Destination, Destinations } from './destinations.ts';
import type { GroupCommit, Written } from './group-commit.ts';
import { withEntry } from './history.ts';
import type { EngineLimits } from './limits.ts';
import type {
  BranchCaller,
  CallReply,
  Clock,
  Observer,
  Random,
  Store,
  StoredTransaction,
  Write,
} from './ports.ts';
import { readStored } from './read-stored.ts';
import { retryDelayMs } from './retry.ts';
import type { StoreClock } from './store-clock.ts';

/** What a runner needs of its engine. */
export interface RunnerWorld {
  readonly clock: Clock;
  readonly storeClock: StoreClock;
  readonly random: Random;
  readonly store: Pick<Store, 'load'>;
  readonly writes: Pick<GroupCommit, 'write'>;
  readonly caller: BranchCaller;
  readonly destinations: Destinations;
  readonly observe: Observer;
  readonly limits: EngineLimits;
  /** Aborts when calls under way have had their time to end; one signal for all, since making one costs more than a call. */
  readonly callsEnd: AbortSignal;
  /** The epoch under which this coordinator writes now. */
  epoch(): number;
  /** False while the lease may have run out, and during a stop: nothing new leaves. */
  mayCall(): boolean;
  /** The runner is done with its transaction. */
  left(runner: Runner): void;
  /** A write was given up that may yet land, with nobody to drive what it makes ours. */
  doubt(): void;
}

/**
 * Where a runner stands with its transaction.
 * - `inserting`: new, and not durable yet.
 * - `adopting`: read from the store; it becomes ours with the first write, and stays its owner's without one.
 * - `owned`: this coordinator drives it.
 * - `ended`: durably terminal.
 * - `given-back`: durably in the store, for whoever claims it.
 * - `lost`: another coordinator owns it, or its insert never came to be.
 */
export type Standing = 'inserting' | 'adopting' | 'owned' | 'ended' | 'given-back' | 'lost';

export interface Note {
  readonly action: string;
  readonly reason: string;
  readonly actor: string;
}

/** A call that waits for its turn at the destination, or is under way. */
interface Turn {
  underWay: boolean;
}

interface Pause {
  readonly untilMs: number;
  readonly cancel: () => void;
}

/** A write on its way. `gate`: nothing new may leave before it is durable. */
interface Saving {
  readonly write: Write;
  readonly next: Progress;
  readonly gate: boolean;
  readonly done: ((written: Written) => void) | undefined;
  /** Sent before, and the store did not say; that one may land at any time. */
  readonly repeated?: true;
}

const readBackPauseMs = 200;
const readBackPauseMaxMs = 5_000;
/** Timers hold at most 31 bits of milliseconds; a longer wait is taken in pieces. */
const wakeMaxMs = 24 * 60 * 60 * 1_000;

export class Runner {
  readonly gid: Gid;
  readonly plan: Plan;
  readonly #createdAtMs: number;
  readonly #world: RunnerWorld;
  #standing: Standing;
  /** Where the transaction stands, as far as anybody knows. */
  #now: Progress;
  /** What the store is known to hold, under which revision and owner. */
  #durable: Progress;
  #revision: number;
  #owner: number;
  #updatedAtMs: number;
  #unsaved: 'nothing' | 'progress' | 'gate' = 'nothing';
  #saving: Saving | undefined;
  #stuck = false;
  #stuckTold = false;
  readonly #turns = new Map<string, Turn>();
  readonly #pauses = new Map<string, Pause>();
  #wake: { readonly atMs: number; readonly cancel: () => void } | undefined;
  /** When the initiator last said something; one that speaks soon again must not find it gone (D7). */
  #heardMs = -Infinity;
  #rest: (() => void) | undefined;
  readonly #watchers = new Set<() => void>();

  private constructor(
    world: RunnerWorld,
    standing: Standing,
    gid: Gid,
    plan: Plan,
    progress: Progress,
    times: Times,
  ) {
    this.#world = world;
    this.#standing = standing;
    this.gid = gid;
    this.plan = plan;
    this.#now = progress;
    this.#durable = progress;
    this.#revision = times.revision;
    this.#owner = world.epoch();
    this.#createdAtMs = times.createdAtMs;
    this.#updatedAtMs = times.updatedAtMs;
  }

  /** A new transaction; nothing leaves before its record is durable (D1), which `inserted` then says. */
  static begin(world: RunnerWorld, gid: Gid, plan: Plan, inserted: (written: Written) => void): Runner {
    const createdAtMs = world.storeClock.nowMs();
    const progress: Progress = { state: start(plan, createdAtMs), history: [] };
    const times = { revision: 0, createdAtMs, updatedAtMs: createdAtMs };
    const runner = new Runner(world, 'inserting', gid, plan, progress, times);
    runner.#heardMs = world.clock.monotonicMs();
    const { pattern, name } = plan;
    const fields = runner.#fields(progress, createdAtMs);
    crashPoint('runner.insert', 'before');
    runner.#send({
      write: {
        kind: 'insert',
        ...fields,
        pattern,
        name,
        plan: encodePlan(plan),
        epoch: world.epoch(),
        createdAtMs,
      },
      next: progress,
      gate: true,
      done: inserted,
    });
    crashPoint('runner.insert', 'after');
    return runner;
  }

  /**
   * A transaction read back from the store; undefined when this version cannot read it (D8).
   * `claimed`: the store made it ours already. `complete`: its last owner gave it back, so no call left that is not
   * in it.
   */
  static resume(
    world: RunnerWorld,
    stored: StoredTransaction,
    { claimed, complete }: { readonly claimed: boolean; readonly complete: boolean },
  ): Runner | undefined {
    const decoded = readStored(stored);
    if (decoded.kind === 'unreadable') {
      const message = `${stored.gid} is left untouched: ${decoded.reason}`;
      world.observe({ kind: 'alarm', code: 'unreadable', gid: stored.gid, message });
      return undefined;
    }
    const progress = planted('recover-from-the-start')
      ? { ...decoded.progress, state: start(decoded.plan, stored.createdAtMs) }
      : decoded.progress;
    const runner = new Runner(
      world,
      claimed ? 'owned' : 'adopting',
      stored.gid,
      decoded.plan,
      progress,
      stored,
    );
    runner.#owner = stored.epoch;
    runner.#stuck = runner.#stuckTold = stored.stuck;
    if (isTerminal(decoded.progress.state)) {
      runner.#standing = 'ended';
      return runner;
    }
    // Not written: what is in doubt now is in doubt again after the next crash.
    if (!complete && !planted('recover-without-doubt')) {
      crashPoint('runner.recover', 'before');
      runner.#apply({ kind: 'recovered', at: world.storeClock.nowMs() }, 'nothing');
      crashPoint('runner.recover', 'after');
    }
    // A deadline that passed meanwhile decides before any call can leave: its own timer would come too late for that.
    if (claimed) runner.#apply({ kind: 'clock', at: world.storeClock.nowMs() }, 'nothing');
    return runner;
  }

  get standing(): Standing {
    return this.#standing;
  }

  /** Writes it down under the present epoch, if it is ours under that one and not about to be written. True if it is. */
  moveFrom(epoch: number): boolean {
    if (this.#owner !== epoch) return false;
    if (this.#standing === 'owned' && this.#saving === undefined) this.#save('keep');
    return true;
  }

  /** What the store holds now: our own write, whose answer has not come, or what somebody wrote who took it over. */
  learn(stored: StoredTransaction): void {
    if (this.#standing !== 'owned' || stored.revision <= this.#revision) return;
    if (this.#saving !== undefined && this.#isIn(stored, this.#saving)) this.#stands(this.#saving);
    else this.#leave('lost');
  }

  /** Somebody else drives it, or will. */
  hasLeft(): boolean {
    return this.#standing === 'lost' || this.#standing === 'given-back';
  }

  /** The state as its owner knows it, a decision on its way to the store included. */
  get state(): State {
    return this.#now.state;
  }

  get stuck(): boolean {
    return this.#stuck;
  }

  /** Everything told to it is durable, or never will be from here. */
  get isSettled(): boolean {
    if (this.#standing === 'inserting' || this.#standing === 'adopting') return false;
    return this.#standing !== 'owned' || (this.#unsaved !== 'gate' && this.#saving?.gate !== true);
  }

  get callsUnderWay(): boolean {
    for (const turn of this.#turns.values()) if (turn.underWay) return true;
    return false;
  }

  /** What may be told to others: never a decision that is not durable yet. */
  view(detail: 'branches' | 'history' = 'branches'): TransactionView {
    const { state, history } =
      this.isSettled || this.#isGivingBack || planted('tell-before-sync') ? this.#now : this.#durable;
    const reason = 'reason' in state ? { reason: state.reason } : {};
    const view: TransactionView = {
      gid: this.gid,
      pattern: this.plan.pattern,
      name: this.plan.name,
      status: state.kind,
      stuck: this.#stuck,
      ...reason,
      createdAtMs: this.#createdAtMs,
      updatedAtMs: this.#updatedAtMs,
      branches: branches(this.plan, state),
    };
    return detail === 'history' ? { ...view, history } : view;
  }

  /** Only what holds no decision that is not durable is given back; until that is written nothing was told since. */
  get #isGivingBack(): boolean {
    const write = this.#saving?.write;
    return (
      this.#unsaved === 'nothing' &&
      this.#standing === 'owned' &&
      write?.kind === 'update' &&
      write.nextEpoch === 0
    );
  }

  /** Calls back when {@link view} may say something new, and when the standing changes. Returns what ends it. */
  watch(watcher: () => void): () => void {
    this.#watchers.add(watcher);
    return () => {
      // Nobody waits any more for what may not need this memory.
      if (this.#watchers.delete(watcher) && this.#watchers.size === 0) this.pump();
    };
  }

  /** A decision of the initiator or an operator. It is durable once {@link isSettled}. */
  tell(event: Event, note?: Note): void {
    this.#heardMs = this.#world.clock.monotonicMs();
    if (note !== undefined) this.#record({ kind: 'action', atMs: event.at, ...note });
    this.#apply(event, 'gate');
    // Who did what is durable too before it is answered.
    if (note !== undefined) this.#unsaved = 'gate';
    if (event.kind === 'retry-now') this.#forgetPauses();
    this.pump();
  }

  /** Does whatever may be done now. Harmless at any time. */
  pump(): void {
    if (this.#standing !== 'owned' && this.#standing !== 'adopting') return;
    if (this.#unsaved !== 'nothing' && this.#saving === undefined) this.#save('keep');
    if (!this.#mayLeave()) return;
    this.#startEffects();
    this.#giveBackIfIdle();
  }

  /** Leaves a transaction that was read, and needs no change, to its owner. */
  leaveUntouched(): void {
    if (this.#standing === 'adopting' && this.#saving === undefined) this.#leave('lost');
  }

  /** Writes everything down and hands the transaction to whoever claims it. To be repeated until it has left. */
  giveBack(): void {
    if (this.#standing !== 'owned' || this.#saving !== undefined) return;
    // What was given back counts as complete, so calls that are still under way must be in it.
    if (this.callsUnderWay) this.#apply({ kind: 'recovered', at: this.#world.storeClock.nowMs() }, 'nothing');
    crashPoint('runner.give-back', 'before');
    this.#save('give back');
    crashPoint('runner.give-back', 'after');
  }

  /** Hands it over if it can wait: no call is under way, and neither its initiator nor anybody here expects an answer. */
  offer(): boolean {
    if (this.#standing !== 'owned' || this.#saving !== undefined || this.#unsaved === 'gate') return false;
    if (this.callsUnderWay || this.#watchers.size > 0) return false;
    const { clock, limits } = this.#world;
    if (hasTheWord(this.#now.state) && this.#heardMs + limits.residentMs > clock.monotonicMs()) return false;
    this.#save('give back');
    return true;
  }

  /** Another coordinator owns it now; nothing more leaves from here. */
  lose(): void {
    this.#leave('lost');
  }

  /** R1 */
  #mayLeave(): boolean {
    if (this.#standing !== 'owned' || !this.#world.mayCall()) return false;
    return this.isSettled || planted('effect-before-decision');
  }

  // ---- events

  #apply(event: Event, weight: 'nothing' | 'progress' | 'gate'): void {
    const before = this.#now.state;
    const state = evolve(this.plan, before, event);
    if (state === before) return;
    const decided = state.kind !== before.kind;
    this.#now = { ...this.#now, state };
    if (decided) {
      crashPoint('runner.decide', 'before');
      this.#record({ kind: 'status', atMs: event.at, status: state.kind });
      this.#forgetPauses();
      crashPoint('runner.decide', 'after');
    }
    const due = decided ? 'gate' : weight;
    if (due === 'gate' || (due === 'progress' && this.#unsaved === 'nothing')) this.#unsaved = due;
    if (this.#stuck || weight !== 'nothing') this.#judgeStuck();
  }

  #record(entry: HistoryEntry): void {
    this.#now = { ...this.#now, history: withEntry(this.#now.history, entry) };
  }

  #judgeStuck(): void {
    const stuck = stuckBranches(this.plan, this.#now.state);
    if (stuck.length > 0 && !this.#stuck) {
      const what = stuck.map(({ branch, op, reason = '' }) => `${branch} (${op}) ${reason}`).join('; ');
      this.#world.observe({
        kind: 'alarm',
        code: 'stuck',
        gid: this.gid,
        message: `${this.gid} is stuck: ${what}`,
      });
    }
    this.#stuck = stuck.length > 0;
  }

  // ---- calls

  #startEffects(): void {
    let wakeAtMs: number | undefined;
    for (const effect of effects(this.plan, this.#now.state)) {
      if (effect.kind === 'wake') wakeAtMs = effect.at;
      else if (!this.#turns.has(effect.branch) && !this.#pauses.has(effect.branch)) this.#enter(effect);
      // A call that cannot be made is answered on the spot: it may decide against those that stood beside it (R1).
      if (!this.#mayLeave()) return;
    }
    this.#wakeAt(wakeAtMs);
  }

  /** R3 */
  #enter(effect: CallEffect): void {
    const turn: Turn = { underWay: false };
    this.#turns.set(effect.branch, turn);
    const destination = this.#world.destinations.of(this.#world.caller.destinationOf(effect.address));
    let waited = false;
    destination.enter({
      start: () => {
        // While it waited, the gate may have closed, or the decision may have changed.
        if (!waited || (this.#mayLeave() && this.#isWanted(effect)))
          return this.#call(effect, turn, destination);
        this.#turns.delete(effect.branch);
        destination.skipped();
        this.pump();
      },
      postpone: (pauseMs) => {
        this.#turns.delete(effect.branch);
        // Spread over as long again, lest all come back at once.
        this.#pauseFor(effect.branch, pauseMs * (1 + this.#world.random.next()));
        if (waited) this.pump();
      },
    });
    waited = true;
  }

  #isWanted({ branch, op }: CallEffect): boolean {
    return effects(this.plan, this.#now.state).some(
      (effect) => effect.kind === 'call' && effect.branch === branch && effect.op === op,
    );
  }

  #call(effect: CallEffect, turn: Turn, destination: Destination): void {
    const { branch, op, address, payload, attempts } = effect;
    const { clock, caller, limits, storeClock } = this.#world;
    const answered = (reply: CallReply, durationMs: number): void => {
      destination.ended(
        reply.outcome.kind === 'unknown' && !reply.outcome.misconfigured ? 'silent' : 'answered',
      );
      this.#answered(effect, reply, durationMs);
    };
    this.#apply({ kind: 'sent', at: storeClock.nowMs(), branch, op }, 'nothing');
    if (payload.kind === 'missing') {
      const reason = `no result at ${payload.reference}, which its payload needs`;
      return answered({ outcome: { kind: 'refused', reason }, repeatable: false }, 0);
    }
    turn.underWay = true;
    const startedMs = clock.monotonicMs();
    const timeoutMs = this.plan.callTimeoutMs ?? limits.callTimeoutMs;
    const call = {
      gid: this.gid,
      branch,
      op,
      address,
      payload: payload.value,
      attempt: attempts + 1,
      timeoutMs,
    };
    crashPoint('runner.call', 'before');
    const replied = caller.call(call, this.#world.callsEnd);
    crashPoint('runner.call', 'after');
    replied.then(
      (reply) => answered(reply, clock.monotonicMs() - startedMs),
      (error: unknown) => {
        const message = `the caller broke its promise never to reject: ${messageOf(error)}`;
        this.#world.observe({ kind: 'alarm', code: 'internal', gid: this.gid, message });
        answered(
          { outcome: { kind: 'unknown', reason: message }, repeatable: false },
          clock.monotonicMs() - startedMs,
        );
      },
    );
  }

  #answered(effect: CallEffect, { outcome, repeatable }: CallReply, durationMs: number): void {
    crashPoint('runner.answer', 'before');
    const { branch, op } = effect;
    this.#turns.delete(branch);
    const attempt = effect.attempts + 1;
    const detail = outcome.kind === 'refused' || outcome.kind === 'unknown' ? outcome.reason : undefined;
    this.#world.observe({
      kind: 'call',
      gid: this.gid,
      branch,
      op,
      attempt,
      outcome: outcome.kind,
      detail,
      durationMs,
    });
    if (this.#standing !== 'owned') return;
    const at = this.#world.storeClock.nowMs();
    const entry = { kind: 'call', atMs: at, branch, op, attempt, outcome: outcome.kind } as const;
    this.#record(detail === undefined ? entry : { ...entry, detail });
    this.#apply({ kind: 'outcome', at, branch, op, outcome }, this.#weightOf(outcome, repeatable));
    if (outcome.kind !== 'done' && this.#isWanted(effect)) this.#pause(effect, outcome);
    this.pump();
    crashPoint('runner.answer', 'after');
    // An answer that needs no write is news all the same: a client may wait for its try to be answered.
    if (this.isSettled) this.#tellWatchers();
  }

  /** D3: an answer that a repeat gives again need not be written before what rests on it. */
  #weightOf(outcome: Outcome, repeatable: boolean): 'nothing' | 'progress' | 'gate' {
    if (outcome.kind !== 'done') return 'progress';
    return repeatable || planted('lazy-without-barrier') ? 'nothing' : 'gate';
  }

  #pause(effect: CallEffect, outcome: Exclude<Outcome, { kind: 'done' }>): void {
    const { limits, random, observe } = this.#world;
    const { branch, op, attempts, retry } = effect;
    if (attempts === 0 && isContrary(op, outcome)) {
      const reason = 'reason' in outcome ? outcome.reason : '';
      const message = `${branch} of ${this.gid} refused its ${op} and is asked again: ${reason}`;
      observe({ kind: 'alarm', code: 'phase_2_refused', gid: this.gid, message });
    }
    const delayMs =
      outcome.kind === 'ongoing'
        ? (outcome.retryAfterMs ?? limits.ongoingPauseMs)
        : retryDelayMs(
            retry,
            attempts + 1,
            random,
            outcome.kind === 'unknown' ? outcome.retryAfterMs : undefined,
          );
    this.#pauseFor(branch, delayMs);
  }

  #pauseFor(branch: string, delayMs: number): void {
    // One that left needs no call any more.
    if (this.#standing !== 'owned') return;
    const { clock, storeClock } = this.#world;
    const cancel = clock.schedule(delayMs, () => {
      crashPoint('runner.retry', 'before');
      this.#pauses.delete(branch);
      this.pump();
      crashPoint('runner.retry', 'after');
    });
    this.#pauses.set(branch, { untilMs: storeClock.nowMs() + delayMs, cancel });
  }

  #forgetPauses(): void {
    for (const pause of this.#pauses.values()) pause.cancel();
    this.#pauses.clear();
  }

  #wakeAt(atMs: number | undefined): void {
    if (this.#wake?.atMs === atMs) return;
    this.#wake?.cancel();
    this.#wake = undefined;
    if (atMs === undefined) return;
    const { clock, storeClock } = this.#world;
    const delayMs = Math.min(Math.max(1, atMs - storeClock.nowMs()), wakeMaxMs);
    const cancel = clock.schedule(delayMs, () => {
      crashPoint('runner.wake', 'before');
      this.#wake = undefined;
      this.#apply({ kind: 'clock', at: storeClock.nowMs() }, 'nothing');
      this.pump();
      crashPoint('runner.wake', 'after');
    });
    this.#wake = { atMs, cancel };
  }

  // ---- writes

  #save(then: 'keep' | 'give back'): void {
    const next = this.#now;
    const nowMs = this.#world.storeClock.nowMs();
    const gate = this.#unsaved === 'gate' || then === 'give back' || this.#standing === 'adopting';
    this.#unsaved = 'nothing';
    crashPoint('runner.save', 'before');
    this.#send({
      write: {
        kind: 'update',
        ...this.#fields(next, then === 'keep' ? nowMs : this.#nextDueMs()),
        revision: this.#revision,
        epoch: this.#owner,
        nextEpoch: then === 'keep' ? this.#world.epoch() : 0,
      },
      next,
      gate,
      done: undefined,
    });
    crashPoint('runner.save', 'after');
  }

  #fields(
    next: Progress,
    dueAtMs: number,
  ): Omit<Write & { kind: 'update' }, 'kind' | 'revision' | 'epoch' | 'nextEpoch'> {
    return {
      gid: this.gid,
      status: next.state.kind,
      stuck: this.#stuck,
      progress: encodeProgress(next),
      dueAtMs: isTerminal(next.state) ? undefined : dueAtMs,
    };
  }

  /** R2 */
  #send(saving: Saving): void {
    this.#saving = saving;
    this.#world.writes.write(saving.write, (written) => {
      saving.done?.(written);
      this.#written(saving, written);
    });
  }

  #written(saving: Saving, written: Written): void {
    // It may be known already, by `learn`.
    if (this.#standing === 'lost' || this.#saving !== saving) return;
    switch (written.kind) {
      case 'written':
        return this.#stands(saving);
      case 'lost':
        if (planted('ignore-lost-write')) return this.#stands(saving);
        // It may be lost to itself.
        return saving.repeated ? this.#readBackIn(saving, readBackPauseMs) : this.#leave('lost');
      case 'exists':
        return this.#leave('lost');
      case 'unknown':
        if (planted('unknown-write-stands')) return this.#stands(saving);
        return this.#readBackIn(saving, readBackPauseMs);
    }
  }

  #stands({ write, next }: Saving): void {
    crashPoint('runner.stands', 'before');
    const before = this.#durable.state;
    this.#saving = undefined;
    this.#durable = next;
    this.#revision++;
    this.#owner = write.kind === 'insert' ? write.epoch : write.nextEpoch;
    this.#updatedAtMs = this.#world.storeClock.nowMs();
    if (write.kind === 'insert' || before.kind !== next.state.kind || write.stuck !== this.#stuckTold)
      this.#announce(write);
    crashPoint('runner.stands', 'after');
    if (isTerminal(next.state)) return this.#leave('ended');
    if (this.#owner === 0 && this.#unsaved === 'nothing') return this.#leave('given-back');
    this.#standing = 'owned';
    this.#tellWatchers();
    this.pump();
  }

  #announce({ gid, status, stuck }: Write): void {
    this.#stuckTold = stuck;
    const { pattern, name } = this.plan;
    this.#world.observe({ kind: 'transaction', gid, pattern, name, status, stuck, atMs: this.#updatedAtMs });
  }

  /** R4 */
  #readBackIn(saving: Saving, pauseMs: number): void {
    this.#world.clock.schedule(pauseMs, () => {
      if (this.#standing === 'lost' || this.#saving !== saving) return;
      this.#world.store.load(this.gid).then(
        (stored) => this.#readBack(saving, stored),
        () => this.#readBackIn(saving, Math.min(pauseMs * 2, readBackPauseMaxMs)),
      );
    });
  }

  #readBack(saving: Saving, stored: StoredTransaction | undefined): void {
    if (this.#standing === 'lost' || this.#saving !== saving) return;
    if (stored !== undefined && this.#isIn(stored, saving)) return this.#stands(saving);
    // An insert that is not there was never acknowledged, and never will be; but it may still be on its way.
    if (stored === undefined) this.#world.doubt();
    if (stored === undefined || stored.revision !== this.#revision) return this.#leave('lost');
    this.#send({ ...saving, done: undefined, repeated: true });
  }

  /** Whether this very write is what stands there. */
  #isIn({ revision, epoch, progress }: StoredTransaction, { write }: Saving): boolean {
    const owner = write.kind === 'insert' ? write.epoch : write.nextEpoch;
    return revision === this.#revision + 1 && epoch === owner && progress === write.progress;
  }

  // ---- leaving

  /** Nothing to do for a while: out of memory, back when it is due. */
  #giveBackIfIdle(): void {
    if (this.#turns.size > 0 || this.#saving !== undefined || this.#watchers.size > 0) return;
    const { storeClock, clock, limits } = this.#world;
    if (this.#nextDueMs() - storeClock.nowMs() <= limits.residentMs) return;
    const leftMs = this.#heardMs + limits.residentMs - clock.monotonicMs();
    if (leftMs <= 0 || !hasTheWord(this.#now.state)) {
      crashPoint('runner.give-back', 'before');
      this.#save('give back');
      crashPoint('runner.give-back', 'after');
      return;
    }
    // As a wake: a rest too short for the clock to show would only be followed by another.
    this.#rest ??= clock.schedule(Math.max(1, leftMs), () => this.#rested());
    // The initiator may tell another coordinator, which then must see what is tried.
    if (this.#now !== this.#durable) this.#save('keep');
  }

  #rested(): void {
    this.#rest = undefined;
    this.pump();
  }

  /** When there is something to do: now, at the end of a pause, at a wake; in a day when all wait for a person. */
  #nextDueMs(): number {
    const nowMs = this.#world.storeClock.nowMs();
    let due = nowMs + wakeMaxMs;
    for (const effect of effects(this.plan, this.#now.state)) {
      const atMs = effect.kind === 'wake' ? effect.at : (this.#pauses.get(effect.branch)?.untilMs ?? nowMs);
      due = Math.min(due, atMs);
    }
    return due;
  }

  #leave(standing: 'ended' | 'given-back' | 'lost'): void {
    this.#standing = standing;
    this.#saving = undefined;
    this.#rest?.();
    this.#wakeAt(undefined);
    this.#forgetPauses();
    this.#world.left(this);
    this.#tellWatchers();
  }

  #tellWatchers(): void {
    for (const watcher of this.#watchers) watcher();
  }
}

/** Only its initiator can take it further, and usually does at once. */
function hasTheWord({ kind }: State): boolean {
  return kind === 'trying' || kind === 'prepared';
}

type Times = Pick<StoredTransaction, 'revision' | 'createdAtMs' | 'updatedAtMs'>;

/** A participant said no to what follows a decision. */
function isContrary(op: Op, outcome: Outcome): boolean {
  const isPhase2 = op === 'confirm' || op === 'cancel' || op === 'compensate';
  return outcome.kind === 'unknown' ? outcome.contrary === true : outcome.kind === 'refused' && isPhase2;
}
