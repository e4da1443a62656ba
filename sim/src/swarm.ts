/**
 * What each seed is: a tenth without any fault, a tenth with a single class, the rest with several, each as strong as
 * drawn. Everything about a run follows from its seed and the three cuts a shrunk seed may carry.
 */
import { engineLimits, type EngineLimits } from '../../lib/src/engine/limits.ts';
import { faultNames, type FaultName, type Faults } from './faults.ts';
import { stream, type Rng } from './world/random.ts';

export interface SeedSpec {
  readonly seed: number;
  /** Only these of the fault classes the seed draws; default: all of them. */
  readonly mask?: readonly FaultName[] | undefined;
  /** Only the first so many of its transactions. */
  readonly transactions?: number | undefined;
  /** The heal comes earlier. */
  readonly safetyMs?: number | undefined;
}

export interface Scenario {
  readonly seed: number;
  readonly kind: 'no faults' | 'one fault' | 'mixed';
  readonly faults: Faults;
  readonly coordinators: number;
  readonly participants: number;
  readonly transactions: number;
  /** Transactions start within this time. */
  readonly startWithinMs: number;
  readonly safetyMs: number;
  readonly deadlineMaxMs: number;
  readonly limits: EngineLimits;
  readonly retryAfterMaxMs: number;
  /** How fast the clocks of each coordinator go. */
  readonly paces: readonly number[];
  /** Participants that do not announce their barrier (D3), by position. */
  readonly silent: readonly boolean[];
  readonly gone: number | undefined;
  readonly conflicts: number;
  readonly doubles: number;
}

export function scenarioOf(spec: SeedSpec): Scenario {
  const { seed } = spec;
  const rng = stream(seed, 'swarm');
  const kind = rng.pick(['no faults', 'one fault', ...Array<'mixed'>(8).fill('mixed')] as const);
  const drawn = drawFaults(stream(seed, 'swarm/faults'), kind);
  const { mask } = spec;
  const faults: Faults =
    mask === undefined ? drawn : new Map([...drawn].filter(([name]) => mask.includes(name)));
  const coordinators = rng.int(1, 3);
  const participants = rng.int(2, 6);
  const transactions = Math.min(rng.int(4, 30), spec.transactions ?? Infinity);
  const startWithinMs = rng.pick([100, 3_000, 15_000]);
  const safetyMs = Math.min(
    kind === 'no faults' ? startWithinMs : startWithinMs + rng.int(2_000, 20_000),
    spec.safetyMs ?? Infinity,
  );
  const pace = faults.get('clock-pace') ?? 0;
  const { limits, retryAfterMaxMs } = drawLimits(
    stream(seed, 'swarm/limits'),
    faults.has('tight-limits') && !faults.has('participant-gone'),
  );
  return {
    seed,
    kind,
    faults,
    coordinators,
    participants,
    transactions,
    startWithinMs,
    safetyMs,
    deadlineMaxMs: 12_000,
    limits,
    retryAfterMaxMs,
    paces: Array.from({ length: coordinators }, () => 1 + (rng.next() - 0.5) * 0.02 * pace),
    silent: Array.from({ length: participants }, () => rng.chance(0.3)),
    gone: faults.has('participant-gone') ? rng.int(0, participants - 1) : undefined,
    conflicts: 0.3 * (faults.get('client-conflict') ?? 0),
    doubles: 0.5 * (faults.get('client-double') ?? 0),
  };
}

function drawFaults(rng: Rng, kind: Scenario['kind']): Faults {
  if (kind === 'no faults') return new Map();
  if (kind === 'one fault') return new Map([[rng.pick(faultNames), 0.3 + 0.7 * rng.next()]]);
  const density = rng.pick([0.1, 0.2, 0.35]);
  const faults = new Map<FaultName, number>();
  for (const name of faultNames) {
    const isOn = rng.chance(density);
    const strength = rng.next() ** 2;
    // Gone for good makes for transactions that never end; now and then is enough.
    if (isOn && (name !== 'participant-gone' || rng.chance(0.2))) faults.set(name, strength);
  }
  return faults;
}

function drawLimits(
  rng: Rng,
  tight: boolean,
): { readonly limits: EngineLimits; readonly retryAfterMaxMs: number } {
  const limits: EngineLimits = {
    ...engineLimits,
    leaseMs: rng.pick([1_500, 3_000, 6_000]),
    claimEveryMs: rng.pick([300, 1_000]),
    callTimeoutMs: rng.pick([500, 2_000, 10_000]),
    circuitFailures: rng.pick([3, 20]),
    circuitPauseMaxMs: rng.pick([2_000, 15_000]),
    residentMs: rng.pick([300, 5_000]),
    drainMs: rng.pick([500, 15_000]),
    ...(tight ? tightLimits(rng) : {}),
  };
  return { limits, retryAfterMaxMs: rng.pick([2_000, 20_000]) };
}

/**
 * Not together with a participant that is gone for good: its transactions hold their places in memory while its circuit
 * is open, and with so few places nothing else comes in.
 */
function tightLimits(rng: Rng): Partial<EngineLimits> {
  return {
    transactionsMax: rng.int(2, 8),
    recoveringMax: rng.int(1, 4),
    claimBatch: rng.int(1, 3),
    writesWaitingMax: rng.int(2, 6),
    callsPerDestinationMax: rng.int(1, 2),
  };
}
