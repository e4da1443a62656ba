/**
 * The faults of the world, by class: each is started with a strength from 0 to 1, draws from a stream of its own, and
 * goes on until the heal.
 */
import type { Incarnation, SimCoordinator } from './world/coordinator.ts';
import type { Network } from './world/network.ts';
import type { Participant } from './world/participant.ts';
import { stream, type Rng } from './world/random.ts';
import type { Recorder } from './world/recorder.ts';
import type { Schedule } from './world/schedule.ts';
import type { SharedStore } from './world/shared-store.ts';
import type { Misbehaviour, Weather } from './world/weather.ts';
import type { Gid } from '../../lib/src/core/ids.ts';

export const faultNames = [
  'net-loss',
  'net-duplicate',
  'net-delay',
  'net-partition',
  'net-asymmetric',
  'net-clog',
  'store-lost-reply',
  'store-conflict',
  'store-late',
  'store-stall',
  'store-down',
  'coordinator-crash',
  'coordinator-crash-at-write',
  'coordinator-crash-at-call',
  'coordinator-pause',
  'coordinator-overlap',
  'coordinator-restart',
  'clock-pace',
  'participant-crash',
  'participant-hang',
  'participant-error',
  'participant-busy',
  'participant-garbage',
  'participant-status',
  'participant-refuse-phase-2',
  'participant-ongoing',
  'participant-truncated',
  'participant-forgetful',
  'participant-outage',
  'participant-gone',
  'client-death',
  'client-conflict',
  'client-double',
  'operator',
  'tight-limits',
] as const;
export type FaultName = (typeof faultNames)[number];

/** Classes that are on, with how strong they are. */
export type Faults = ReadonlyMap<FaultName, number>;

export interface FaultWorld {
  readonly seed: number;
  readonly schedule: Schedule;
  readonly network: Network;
  readonly weather: Weather;
  readonly store: SharedStore;
  readonly recorder: Recorder;
  readonly participants: readonly Participant[];
  readonly coordinators: readonly SimCoordinator[];
  readonly leaseMs: number;
  readonly gids: readonly Gid[];
  readonly operate: (gid: Gid, nth: number) => void;
  readonly isHealed: () => boolean;
  /** Negative control: after an outage the last of what the store had acknowledged is gone. */
  readonly lossyFailover: boolean;
  /** Ends something that a fault began; called by the fault or by the heal, whichever comes first. */
  readonly mends: Set<() => void>;
}

export function startFaults(world: FaultWorld, faults: Faults): void {
  for (const [name, strength] of faults) starters[name]?.(new Fault(world, name), strength);
}

/** Everything that faults began ends now. */
export function heal({
  mends,
  weather,
  calm,
}: {
  mends: Set<() => void>;
  weather: Weather;
  calm: Weather;
}): void {
  Object.assign(weather, calm);
  for (const mend of mends) mend();
}

class Fault {
  readonly world: FaultWorld;
  readonly rng: Rng;
  readonly name: FaultName;

  constructor(world: FaultWorld, name: FaultName) {
    this.world = world;
    this.name = name;
    this.rng = stream(world.seed, `fault/${name}`);
  }

  /** Again and again, about so far apart. */
  every(meanMs: number, act: () => void): void {
    this.world.schedule.after(meanMs * (0.2 + 1.6 * this.rng.next()), () => {
      if (this.world.isHealed()) return;
      this.world.recorder.sometimes(`fault: ${this.name}`);
      act();
      this.every(meanMs, act);
    });
  }

  /** Ends after a while, or at the heal. */
  during(ms: number, end: () => void): void {
    const { mends, schedule } = this.world;
    const mend = (): void => {
      if (mends.delete(mend)) end();
    };
    mends.add(mend);
    schedule.after(ms, mend);
  }

  ms(min: number, max: number): number {
    return min + this.rng.next() * (max - min);
  }

  coordinator(): SimCoordinator | undefined {
    const { coordinators } = this.world;
    return coordinators[this.rng.int(0, coordinators.length - 1)];
  }

  participant(): Participant | undefined {
    const { participants } = this.world;
    return participants[this.rng.int(0, participants.length - 1)];
  }

  /** Two places that talk to each other, one of them a coordinator. */
  link(): readonly [string, string] {
    const coordinator = this.coordinator()?.name ?? '';
    const roll = this.rng.next();
    if (roll < 0.25) return [coordinator, 'store'];
    if (roll < 0.4) return [coordinator, 'client'];
    return [coordinator, this.participant()?.name ?? ''];
  }
}

type Starter = (fault: Fault, strength: number) => void;

function weather(set: (weather: Weather, strength: number) => void): Starter {
  return ({ world }, strength) => set(world.weather, strength);
}

function misbehaviour(kind: Misbehaviour, most: number): Starter {
  return ({ world }, strength) => {
    world.weather.participant[kind] = most * strength;
  };
}

const starters: Readonly<Partial<Record<FaultName, Starter>>> = {
  'net-loss': weather((w, strength) => (w.loss = 0.25 * strength)),
  'net-duplicate': weather((w, strength) => (w.duplicate = 0.3 * strength)),
  'net-delay': weather((w, strength) => {
    w.slow = 0.3 * strength;
    w.slowMs = 12_000 * strength;
  }),
  'net-partition': (fault, strength) =>
    fault.every(6_000 / (0.3 + strength), () => {
      const [a, b] = fault.link();
      const { network } = fault.world;
      const mends = [network.cut(a, b), network.cut(b, a)];
      fault.during(fault.ms(200, 15_000), () => mends.forEach((mend) => mend()));
    }),
  'net-asymmetric': (fault, strength) =>
    fault.every(6_000 / (0.3 + strength), () => {
      const [a, b] = fault.link();
      const mend = fault.rng.chance(0.5) ? fault.world.network.cut(a, b) : fault.world.network.cut(b, a);
      fault.during(fault.ms(200, 15_000), mend);
    }),
  // Swizzle: one after the other is clogged, and cleared in an order of its own.
  'net-clog': (fault, strength) =>
    fault.every(5_000 / (0.3 + strength), () => {
      for (const participant of fault.world.participants) {
        if (!fault.rng.chance(0.5)) continue;
        const coordinator = fault.coordinator()?.name ?? '';
        const [a, b] = fault.rng.chance(0.5)
          ? [coordinator, participant.name]
          : [participant.name, coordinator];
        fault.world.schedule.after(fault.ms(0, 1_000), () => {
          if (!fault.world.isHealed()) fault.during(fault.ms(100, 8_000), fault.world.network.clog(a, b));
        });
      }
    }),
  'store-lost-reply': weather((w, strength) => (w.storeLostReply = 0.2 * strength)),
  'store-conflict': weather((w, strength) => (w.storeConflict = 0.2 * strength)),
  'store-late': weather((w, strength) => (w.storeLate = 0.1 * strength)),
  'store-stall': weather((w, strength) => (w.storeStall = 0.2 * strength)),
  'store-down': (fault, strength) =>
    fault.every(12_000 / (0.3 + strength), () => {
      const { store } = fault.world;
      store.down++;
      fault.during(fault.ms(100, 9_000), () => {
        store.down--;
        if (fault.world.lossyFailover) store.loseLast(30);
      });
    }),
  'coordinator-crash': (fault, strength) =>
    fault.every(6_000 / (0.3 + strength), () => fault.coordinator()?.crash(fault.ms(10, 9_000))),
  'coordinator-crash-at-write': weather((w, strength) => (w.crashAtWrite = 0.04 * strength)),
  'coordinator-crash-at-call': weather((w, strength) => (w.crashAtCall = 0.03 * strength)),
  'coordinator-pause': (fault, strength) =>
    fault.every(7_000 / (0.3 + strength), () => {
      const coordinator = fault.coordinator();
      const paused = coordinator?.current;
      if (coordinator === undefined || paused === undefined) return;
      coordinator.pause(paused);
      fault.during(fault.ms(10, 2.5 * fault.world.leaseMs), () => coordinator.resume(paused));
    }),
  // A new one starts beside one that hangs, which wakes later and believes that nothing happened.
  'coordinator-overlap': (fault, strength) =>
    fault.every(12_000 / (0.3 + strength), () => {
      const coordinator = fault.coordinator();
      const old = coordinator?.current;
      if (
        coordinator === undefined ||
        old?.process.life !== 'alive' ||
        !old.started ||
        coordinator.living.size > 2
      )
        return;
      coordinator.pause(old);
      coordinator.start();
      fault.during(fault.ms(10, 2 * fault.world.leaseMs), () => coordinator.resume(old));
      retire(fault, coordinator, old);
    }),
  'coordinator-restart': (fault, strength) =>
    fault.every(8_000 / (0.3 + strength), () => {
      const coordinator = fault.coordinator();
      const old = coordinator?.current;
      if (coordinator === undefined || old?.process.life !== 'alive' || !old.started || old.stopped) return;
      coordinator.stop(old, fault.ms(10, 5_000));
    }),
  'participant-crash': misbehaviour('crash', 0.06),
  'participant-hang': misbehaviour('hang', 0.12),
  'participant-error': misbehaviour('error', 0.4),
  'participant-busy': misbehaviour('busy', 0.3),
  'participant-garbage': misbehaviour('garbage', 0.3),
  'participant-status': misbehaviour('status', 0.3),
  'participant-refuse-phase-2': misbehaviour('refuse-phase-2', 0.4),
  'participant-ongoing': misbehaviour('ongoing', 0.4),
  'participant-truncated': misbehaviour('truncated', 0.3),
  'participant-forgetful': misbehaviour('forgetful', 0.6),
  'participant-outage': (fault, strength) =>
    fault.every(9_000 / (0.3 + strength), () => fault.participant()?.crash(fault.ms(500, 20_000))),
  'client-death': weather((w, strength) => (w.clientDeath = 0.2 * strength)),
  operator: (fault, strength) => {
    let nth = 0;
    fault.every(2_500 / (0.3 + strength), () => {
      // Who is stuck is looked at first, as on any dashboard.
      const stuck = fault.world.store.rows().flatMap((row) => (row.stuck ? [row.gid] : []));
      const gids = stuck.length > 0 && fault.rng.chance(0.6) ? stuck : fault.world.gids;
      const gid = gids[fault.rng.int(0, gids.length - 1)];
      if (gid !== undefined) fault.world.operate(gid, nth++);
    });
  },
};

function retire(fault: Fault, coordinator: SimCoordinator, old: Incarnation): void {
  fault.during(fault.ms(4 * fault.world.leaseMs, 6 * fault.world.leaseMs), () => coordinator.stop(old));
}
