/**
 * What goes wrong at a service, drawn from the seed by what is asked, not by when: order, operation and attempt.
 *
 * - `refuse`: the business says no (only where it may: action and try).
 * - `unavailable`: 503 before anything happened.
 * - `reset`: the connection breaks before anything happened.
 * - `withhold`: it happened, and the answer never comes: a timeout after the effect.
 * - `duplicate`: the request arrives twice, at the same time.
 * - `late`: the request arrives again much later, perhaps after its compensation.
 */
import { createDice } from './dice.ts';

export type Fault = 'refuse' | 'unavailable' | 'reset' | 'withhold' | 'duplicate' | 'late';

export const faults: readonly Fault[] = ['refuse', 'unavailable', 'reset', 'withhold', 'duplicate', 'late'];

/** How many of a thousand calls each fault meets. */
const perMille: Readonly<Record<Exclude<Fault, 'refuse'>, number>> = {
  unavailable: 20,
  reset: 10,
  withhold: 20,
  duplicate: 50,
  late: 20,
};

/** How many of a thousand orders a service refuses whatever they ask for. */
const refusedPerMille = 15;

export interface FaultQuestion {
  readonly seed: number;
  readonly service: string;
  readonly gid: string;
  readonly branch: string;
  readonly op: string;
  readonly attempt: number;
}

/** A refusal must not change between attempts, so it is drawn without the attempt, once per order and service. */
export function refuses(question: FaultQuestion): boolean {
  const { seed, service, gid, op } = question;
  if (op !== 'action' && op !== 'try') return false;
  return createDice(seed, 'refuse', service, sequenceOf(gid))() * 1_000 < refusedPerMille;
}

export function faultOf(question: FaultQuestion): Exclude<Fault, 'refuse'> | undefined {
  const { seed, service, gid, branch, op, attempt } = question;
  let left = createDice(seed, 'fault', service, sequenceOf(gid), branch, op, attempt)() * 1_000;
  for (const fault of ['unavailable', 'reset', 'withhold', 'duplicate', 'late'] as const) {
    left -= perMille[fault];
    if (left < 0) return fault;
  }
  return undefined;
}

/** Gids differ between runs in their prefix only. */
function sequenceOf(gid: string): string {
  return gid.slice(gid.lastIndexOf('-') + 1);
}
