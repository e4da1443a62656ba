/**
 * One seed from its beginning to its end: build the world, let it go wrong, heal it, let it settle, look at it.
 *
 * - U1 The safety phase has faults; the liveness phase has none, and everything must settle within the bound of I10.
 * - U2 The same spec gives the same trace hash, on every machine and every supported Node.
 */
import type { Gid } from '../../lib/src/core/ids.ts';
import { assert } from '../../lib/src/util/assert.ts';
import type { Checker, Violation } from './checkers/checker.ts';
import { heal, startFaults } from './faults.ts';
import { forbidGlobals } from './guard.ts';
import { isFinal, type FinalDump, type History } from './history.ts';
import { scenarioOf, type Scenario, type SeedSpec } from './swarm.ts';
import { SimCoordinator, type Incarnation } from './world/coordinator.ts';
import { Network } from './world/network.ts';
import { Participant } from './world/participant.ts';
import { stream } from './world/random.ts';
import { Recorder } from './world/recorder.ts';
import { Schedule } from './world/schedule.ts';
import { SharedStore } from './world/shared-store.ts';
import { TraceHash } from './world/trace-hash.ts';
import { calm } from './world/weather.ts';
import { ask } from './workload/client-line.ts';
import { runClient, type ClientWorld } from './workload/client.ts';
import { operate, unstick } from './workload/operator.ts';
import { drawJob, openAccounts, type Job, type Market } from './workload/plans.ts';

export interface RunOptions {
  readonly checkers: readonly Checker[];
  /** Negative control: the store loses the last of what it acknowledged when it comes back from an outage. */
  readonly lossyFailover?: boolean;
}

export interface RunResult {
  readonly spec: SeedSpec;
  readonly scenario: Scenario;
  readonly history: History;
  readonly violations: readonly Failure[];
  readonly hash: string;
  readonly events: number;
  readonly met: ReadonlySet<string>;
}

/** A broken invariant, or a run that is no run: the world threw, nothing committed without faults. */
export type Failure = Violation | { readonly invariant: 'world'; readonly what: string; readonly gid?: Gid };

/** What was asked of the store before the heal has landed by then, if it ever does. */
const lateMaxMs = 12_000;

export async function runSeed(spec: SeedSpec, options: RunOptions): Promise<RunResult> {
  const allow = forbidGlobals();
  try {
    const world = new World(scenarioOf(spec), options);
    await world.run();
    return world.result(spec);
  } finally {
    allow();
  }
}

class World {
  readonly scenario: Scenario;
  readonly #options: RunOptions;
  readonly #hash = new TraceHash();
  readonly #schedule = new Schedule(this.#hash);
  readonly #recorder = new Recorder(this.#schedule, this.#hash);
  readonly #weather = calm();
  readonly #network: Network;
  readonly #store: SharedStore;
  readonly #participants: readonly [Participant, ...Participant[]];
  readonly #coordinators: readonly [SimCoordinator, ...SimCoordinator[]];
  readonly #jobs: readonly Job[];
  readonly #clients: ClientWorld;
  readonly #mends = new Set<() => void>();
  readonly #failures: Failure[] = [];
  #clientsLeft = 0;
  #healedAt = Infinity;
  #final: FinalDump = { rows: [], accounts: [], barrierRows: [], leases: [], coordinators: [] };

  constructor(scenario: Scenario, options: RunOptions) {
    this.scenario = scenario;
    this.#options = options;
    const { seed, limits } = scenario;
    const shared = { seed, schedule: this.#schedule, weather: this.#weather, recorder: this.#recorder };
    this.#network = new Network(seed, this.#schedule, this.#weather, this.#recorder);
    this.#store = new SharedStore({ ...shared, network: this.#network }, options.lossyFailover === true);
    const accounts = stream(seed, 'accounts');
    this.#participants = some(
      scenario.silent.map((silent, i) => {
        const participant = new Participant(shared, `bank-${i}`, !silent);
        openAccounts(participant, accounts);
        participant.gone = scenario.gone === i;
        return participant;
      }),
    );
    const byOrigin = new Map(this.#participants.map((participant) => [participant.origin, participant]));
    this.#coordinators = some(
      scenario.paces.map(
        (pace, i) =>
          new SimCoordinator(
            {
              ...shared,
              network: this.#network,
              store: this.#store,
              participants: byOrigin,
              limits,
              retryAfterMaxMs: scenario.retryAfterMaxMs,
              paceOf: () => pace,
            },
            `coordinator-${i}`,
          ),
      ),
    );
    const market: Market = { participants: this.#participants, deadlineMaxMs: scenario.deadlineMaxMs };
    const starts = stream(seed, 'starts');
    this.#jobs = Array.from({ length: scenario.transactions }, (_, i) =>
      drawJob(stream(seed, `job/${i}`), market, i, starts.next() * scenario.startWithinMs),
    );
    this.#clients = {
      ...shared,
      network: this.#network,
      coordinators: this.#coordinators,
      participants: byOrigin,
      conflicts: scenario.conflicts,
      doubles: scenario.doubles,
    };
  }

  async run(): Promise<void> {
    for (const coordinator of this.#coordinators) coordinator.start();
    for (const job of this.#jobs) this.#startClient(job);
    const gids = this.#jobs.map(({ intent }) => intent.gid);
    startFaults(
      {
        seed: this.scenario.seed,
        schedule: this.#schedule,
        network: this.#network,
        weather: this.#weather,
        store: this.#store,
        recorder: this.#recorder,
        participants: this.#participants,
        coordinators: this.#coordinators,
        leaseMs: this.scenario.limits.leaseMs,
        gids,
        operate: (gid, nth) => this.#detached(operate(this.#clients, gid, nth)),
        isHealed: () => this.#healedAt !== Infinity,
        lossyFailover: this.#options.lossyFailover === true,
        mends: this.#mends,
      },
      this.scenario.faults,
    );
    this.#schedule.after(this.scenario.safetyMs, () => this.#heal());
    this.#sample();
    this.#watch();
    const rejected = (error: unknown): void =>
      this.#fail(`a promise was rejected and nobody heard: ${textOf(error)}`);
    process.on('unhandledRejection', rejected);
    try {
      await this.#schedule.run();
    } catch (error) {
      this.#fail(`the world threw: ${textOf(error)}`);
    } finally {
      process.off('unhandledRejection', rejected);
    }
  }

  result(spec: SeedSpec): RunResult {
    const history = this.#history();
    const violations: Failure[] = [...this.#failures];
    for (const checker of this.#options.checkers) violations.push(...checker.check(history));
    violations.push(...this.#livelinessOfCalm(history));
    return {
      spec,
      scenario: this.scenario,
      history,
      violations,
      hash: this.#hash.value,
      events: this.#schedule.events,
      met: this.#recorder.met,
    };
  }

  // ---- the phases

  #startClient(job: Job): void {
    this.#clientsLeft++;
    this.#detached(runClient(this.#clients, job).finally(() => this.#clientsLeft--));
  }

  #heal(): void {
    this.#recorder.stamp('heal', '');
    this.#healedAt = this.#schedule.now;
    heal({ mends: this.#mends, weather: this.#weather, calm: calm() });
    for (const participant of this.#participants) participant.restart();
    for (const coordinator of this.#coordinators) {
      const { current } = coordinator;
      for (const incarnation of coordinator.living) coordinator.resume(incarnation);
      if (current === undefined || current.process.life === 'dead') coordinator.start();
    }
    const parked = this.#store.rows().filter((row) => row.stuck || row.progress.includes('"parked"'));
    for (const { gid } of parked) this.#detached(unstick(this.#clients, gid));
  }

  /** Once a second: has everything settled, or is the time for it over? */
  #watch(): void {
    this.#schedule.after(1_000, () => {
      const violation = this.#options.checkers.flatMap(
        (checker) => checker.during?.(this.#history()) ?? [],
      )[0];
      if (violation !== undefined) {
        this.#failures.push(violation);
        return this.#schedule.stop();
      }
      if (this.#healedAt === Infinity) return this.#watch();
      if (this.#clientsLeft === 0 && this.#hasSettled()) return this.#close();
      if (this.#schedule.now > this.#healedAt + this.#settleBoundMs()) return this.#close();
      this.#watch();
    });
  }

  #hasSettled(): boolean {
    return this.#store
      .rows()
      .every(({ gid, status, stuck }) => isFinal(status) || (stuck && this.#isHopeless(gid)));
  }

  #isHopeless(gid: Gid): boolean {
    return this.#jobs.some(({ intent }) => intent.gid === gid && intent.hopeless);
  }

  /** I10: one wait of every kind there is may stand before the last step. */
  #settleBoundMs(): number {
    const { limits, retryAfterMaxMs, deadlineMaxMs, gone } = this.scenario;
    const backoffMaxMs = 30_000;
    const waits =
      backoffMaxMs +
      retryAfterMaxMs +
      limits.circuitPauseMaxMs +
      limits.leaseMs +
      limits.claimEveryMs +
      2 * limits.callTimeoutMs;
    // What is gone for good shows as stuck only after ten attempts.
    return waits + deadlineMaxMs + (gone === undefined ? 20_000 : 400_000);
  }

  /** Leases of the dead lapse, late answers come in, clients look a last time, coordinators stop. */
  #close(): void {
    const { limits } = this.scenario;
    const stillLateMs = Math.max(0, this.#healedAt + lateMaxMs - this.#schedule.now);
    this.#schedule.after(stillLateMs + limits.leaseMs + 2_000, () => {
      const audits = this.#jobs.map(({ intent }) =>
        ask(this.#clients, 'auditor', this.#coordinators[0], intent.gid, { kind: 'get', waitMs: 0 }),
      );
      this.#detached(
        Promise.all(audits).then(() => {
          this.#final = this.#dump();
          this.#stopAll();
        }),
      );
    });
  }

  #stopAll(): void {
    const all = this.#coordinators.flatMap((coordinator) =>
      [...coordinator.living].map((which) => ({ coordinator, which })),
    );
    for (const { coordinator, which } of all) coordinator.stop(which);
    const { drainMs } = this.scenario.limits;
    this.#schedule.after(3 * drainMs + 5_000, () => {
      for (const { coordinator, which } of all) {
        if (coordinator.living.has(which)) this.#fail(`${which.process.name} did not stop`);
        else if (which.process.timers > 0)
          this.#fail(`${which.process.name} left ${which.process.timers} timers behind when it stopped`);
      }
      this.#schedule.stop();
    });
  }

  // ---- looking

  #sample(): void {
    this.#schedule.after(1_000, () => {
      for (const which of this.#living()) {
        const { transactions, writesWaiting } = which.engine.load();
        let callsPerDestinationMax = 0;
        for (const count of which.calls.values()) {
          callsPerDestinationMax = Math.max(callsPerDestinationMax, count.most);
          count.most = count.now;
        }
        const { name: coordinator, timers } = which.process;
        this.#recorder.sample({ coordinator, transactions, writesWaiting, callsPerDestinationMax, timers });
      }
      this.#sample();
    });
  }

  #living(): readonly Incarnation[] {
    return this.#coordinators.flatMap(({ living }) => [...living].filter(({ started }) => started));
  }

  #dump(): FinalDump {
    return {
      rows: this.#store.rows(),
      accounts: this.#participants.flatMap(({ name, database }) =>
        [...database.accounts.values()].map(({ name: account, opening, balance, held, overdraft }) => ({
          participant: name,
          account,
          opening,
          balance,
          held,
          overdraft,
        })),
      ),
      barrierRows: this.#participants.flatMap(({ name, database }) =>
        [...database.rows.values()].map(({ gid, branch, op, by }) => ({
          participant: name,
          gid,
          branch,
          op,
          by,
        })),
      ),
      leases: this.#store.liveLeases(),
      coordinators: this.#living().map((which) => ({
        coordinator: which.process.name,
        ...which.engine.load(),
        timers: which.process.timers,
        callsUnderWay: [...which.calls.values()].reduce((sum, { now }) => sum + now, 0),
      })),
    };
  }

  #history(): History {
    const { operations, writes, leases, calls, handled, effects, alarms, bounds, lives } = this.#recorder;
    return {
      seed: this.scenario.seed,
      limits: this.scenario.limits,
      faults: [...this.scenario.faults.keys()],
      intents: new Map(this.#jobs.map(({ intent }) => [intent.gid, intent])),
      operations,
      writes,
      leases,
      calls,
      handled,
      effects,
      alarms,
      bounds,
      lives,
      healedAt: this.#healedAt,
      settleBoundMs: this.#settleBoundMs(),
      endedAt: this.#schedule.now,
      final: this.#final,
    };
  }

  /** A run without faults that commits next to nothing proves next to nothing. */
  #livelinessOfCalm({ final, intents }: History): readonly Failure[] {
    if (this.scenario.faults.size > 0 || this.#failures.length > 0) return [];
    const willing = final.rows.filter(({ gid, progress }) => {
      const intent = intents.get(gid);
      return intent?.refusedBy === undefined && !progress.includes('no money') && this.#meansIt(gid);
    });
    const committed = willing.filter(({ status }) => status === 'committed').length;
    // Deadlines and changes of mind are no fault either; in a handful they may be the many.
    if (committed * 2 >= willing.length || willing.length < 10) return [];
    return [{ invariant: 'world', what: `without faults, ${committed} of ${willing.length} committed` }];
  }

  /** Its client meant to commit it from the beginning. */
  #meansIt(gid: Gid): boolean {
    return this.#jobs.some(({ intent, ends }) => intent.gid === gid && ends === 'commit');
  }

  #detached(work: Promise<unknown>): void {
    work.catch((error: unknown) => this.#fail(`the workload threw: ${textOf(error)}`));
  }

  #fail(what: string): void {
    this.#failures.push({ invariant: 'world', what });
  }
}

function some<T>(items: readonly T[]): readonly [T, ...T[]] {
  const [first, ...rest] = items;
  assert(first !== undefined, 'there is at least one');
  return [first, ...rest];
}

function textOf(error: unknown): string {
  return error instanceof Error ? (error.stack ?? error.message) : String(error);
}
