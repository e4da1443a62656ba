/**
 * A coordinator of the world: the real engine in a process that may die, hang and come back.
 *
 * - Z1 Each start is a new incarnation: a new engine, a new process, a new epoch. What the one before still has in memory
 *      never runs again once it is dead, and is unaware when it was only paused.
 * - Z2 Everything it does to the world goes through its process: store, calls, answers to clients, alarms.
 */
import { isGid } from '../../../lib/src/core/ids.ts';
import { httpCaller } from '../../../lib/src/caller/http-caller.ts';
import { createEngine, type Engine } from '../../../lib/src/engine/engine.ts';
import type { EngineLimits } from '../../../lib/src/engine/limits.ts';
import type { BranchCaller } from '../../../lib/src/engine/ports.ts';
import type { EngineEvent } from '../../../lib/src/observe/events.ts';
import { assert } from '../../../lib/src/util/assert.ts';
import { storeEpochMs } from '../history.ts';
import { simulatedExchange, type ExchangeWorld } from './exchange.ts';
import { Process } from './process.ts';
import { stream, type Rng } from './random.ts';
import type { SharedStore } from './shared-store.ts';
import type { Weather } from './weather.ts';

export interface CoordinatorWorld extends ExchangeWorld {
  readonly seed: number;
  readonly weather: Weather;
  readonly store: SharedStore;
  readonly limits: EngineLimits;
  readonly retryAfterMaxMs: number;
  /** How fast the clocks of a coordinator's processes go. */
  readonly paceOf: (name: string) => number;
}

export class Incarnation {
  readonly process: Process;
  readonly engine: Engine;
  readonly epoch: () => number;
  /** By origin: calls under way, and the most there were since the last look. */
  readonly calls = new Map<string, { now: number; most: number }>();
  started = false;
  stopped = false;

  constructor(world: CoordinatorWorld, name: string, number: number, crash: (self: Incarnation) => void) {
    const { seed, schedule, recorder, store, weather } = world;
    const process = new Process(schedule, `${name}#${number}`, world.paceOf(name));
    this.process = process;
    const random = stream(seed, `${process.name}/engine`);
    const lines = store.for(process, name, () => crash(this));
    this.epoch = lines.epoch;

    let current = -1;
    const lossRandom = stream(seed, `${process.name}/exchange`);
    const http = httpCaller({
      exchange: simulatedExchange(world, process, name, lossRandom, () => current),
      whyNotAllowed: () => undefined,
      now: () => storeEpochMs + schedule.now,
      retryAfter: { minMs: 50, maxMs: world.retryAfterMaxMs },
    });
    const chance: Rng = stream(seed, `${process.name}/crash`);
    const caller: BranchCaller = {
      destinationOf: (address) => http.destinationOf(address),
      whyNotAllowed: (address) => http.whyNotAllowed(address),
      call: (call, signal) => {
        if (process.life === 'dead') return new Promise(() => undefined);
        const origin = http.destinationOf(call.address);
        const count = this.calls.get(origin) ?? { now: 0, most: 0 };
        this.calls.set(origin, count);
        count.most = Math.max(count.most, ++count.now);
        const record = recorder.call({
          coordinator: process.name,
          writerEpoch: lines.epoch(),
          gid: call.gid,
          branch: call.branch,
          op: call.op,
          attempt: call.attempt,
          participant: origin.replace('http://', ''),
          durable: store.row(call.gid),
        });
        if (weather.crashAtCall > 0 && chance.chance(weather.crashAtCall)) {
          recorder.sometimes('fault: coordinator-crash-at-call');
          // Before it leaves, while it is under way, or just when it has arrived.
          const when = chance.int(0, 2);
          if (when === 0) crash(this);
          else schedule.after(when * 3, () => crash(this));
        }
        current = record.id;
        return http.call(call, signal).then((reply) => {
          count.now--;
          if (process.life === 'dead') return reply;
          const { outcome, repeatable } = reply;
          record.reply = {
            ...recorder.stamp(outcome.kind, `${call.gid} ${call.branch} ${call.op}`),
            outcome,
            repeatable,
          };
          const decided = store.row(call.gid)?.status;
          if (
            decided !== undefined &&
            decided !== record.durable?.status &&
            isForward(call.op) &&
            isBackward(decided)
          ) {
            recorder.sometimes('engine: an answer came after the decision against it');
          }
          return reply;
        });
      },
    };

    let gids = 0;
    this.engine = createEngine({
      store: lines,
      caller,
      clock: process.clock,
      random,
      ids: {
        gid: () => {
          const gid = `${process.name.replace('#', '-')}-${++gids}`;
          assert(isGid(gid), 'made of letters and digits');
          return gid;
        },
      },
      limits: world.limits,
      coordinator: name,
      observe: (event) => process.life !== 'dead' && this.#observe(world, event),
    });
  }

  #observe({ recorder }: CoordinatorWorld, event: EngineEvent): void {
    switch (event.kind) {
      case 'alarm':
        return recorder.alarm({
          coordinator: this.process.name,
          code: event.code,
          gid: event.gid,
          message: event.message,
        });
      case 'circuit':
        return recorder.sometimes(`engine: circuit ${event.state}`);
      case 'call':
        return recorder.sometimes(`engine: ${event.op} ${event.outcome}`);
      case 'transaction':
        if (event.stuck) recorder.sometimes('engine: stuck');
        return recorder.sometimes(`status: ${event.pattern} ${event.status}`);
      case 'commit':
        if (event.writes > 1) recorder.sometimes('engine: several writes in one commit');
        return;
      default:
        return;
    }
  }
}

export class SimCoordinator {
  readonly name: string;
  readonly #world: CoordinatorWorld;
  #number = 0;
  /** The one that clients reach. */
  current: Incarnation | undefined;
  /** Those that are neither dead nor stopped, the current one included. */
  readonly living = new Set<Incarnation>();

  constructor(world: CoordinatorWorld, name: string) {
    this.#world = world;
    this.name = name;
  }

  /** Starts a new incarnation, and again until the store lets it. The one before goes on if it is not dead. */
  start(): void {
    const { schedule, recorder } = this.#world;
    const incarnation = new Incarnation(this.#world, this.name, ++this.#number, (self) =>
      this.crash(500, self),
    );
    this.current = incarnation;
    this.living.add(incarnation);
    recorder.life('started', incarnation.process.name);
    incarnation.engine.start().then(
      () => (incarnation.started = true),
      () => {
        if (incarnation.process.life === 'dead') return;
        recorder.sometimes('engine: start failed');
        this.#end(incarnation);
        schedule.after(500, () => this.current === incarnation && this.start());
      },
    );
  }

  /** As kill -9, and back after a while. */
  crash(downMs: number, which: Incarnation | undefined = this.current): void {
    if (which === undefined || which.process.life === 'dead') return;
    this.#world.recorder.life('crashed', which.process.name);
    this.#end(which);
    if (this.current === which)
      this.#world.schedule.after(downMs, () => this.current === which && this.start());
  }

  pause(which: Incarnation): void {
    if (which.process.life !== 'alive') return;
    this.#world.recorder.life('paused', which.process.name);
    which.process.pause();
  }

  resume(which: Incarnation): void {
    if (which.process.life !== 'paused') return;
    this.#world.recorder.life('resumed', which.process.name);
    which.process.resume();
  }

  /** As SIGTERM: it drains and hands over; then, with `thenMs`, a new one starts. */
  stop(which: Incarnation, thenMs?: number): void {
    if (which.process.life === 'dead' || which.stopped) return;
    const { recorder, schedule } = this.#world;
    which.stopped = true;
    recorder.life('stopping', which.process.name);
    which.engine.stop().then(
      () => {
        if (which.process.life === 'dead') return;
        recorder.life('stopped', which.process.name);
        // What the stop left behind shows as timers of a process that is done.
        this.living.delete(which);
      },
      () => undefined,
    );
    if (thenMs !== undefined) schedule.after(thenMs, () => this.current === which && this.start());
  }

  #end(which: Incarnation): void {
    which.process.crash();
    this.living.delete(which);
  }
}

function isForward(op: string): boolean {
  return op === 'action' || op === 'try' || op === 'check';
}

function isBackward(status: string): boolean {
  return status === 'compensating' || status === 'cancelling' || status === 'aborted';
}
