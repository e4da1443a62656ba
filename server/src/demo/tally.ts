/** What happened so far, as the live table and the report show it. */
import { serviceNames, type ServiceName } from './service-names.ts';
import { faults, type Fault } from './faults.ts';
import { demoPatterns, type DemoPattern } from './order-stream.ts';
import type { ServiceMessage } from './services/settings.ts';

export interface PatternTally {
  submitted: number;
  committed: number;
  aborted: number;
  /** Its initiator died before the coordinator heard of it: nothing happened anywhere. */
  neverBegan: number;
  retries: number;
}

export interface Tally {
  readonly patterns: Readonly<Record<DemoPattern, PatternTally>>;
  readonly faults: Record<Fault, number>;
  readonly restarts: Record<ServiceName, number>;
  coordinatorKills: number;
  /** Connections of services to their databases. */
  connectionsCut: number;
}

const nothingYet: PatternTally = { submitted: 0, committed: 0, aborted: 0, neverBegan: 0, retries: 0 };

export function createTally(): Tally {
  return {
    patterns: { saga: { ...nothingYet }, tcc: { ...nothingYet }, message: { ...nothingYet } },
    faults: { refuse: 0, unavailable: 0, reset: 0, withhold: 0, duplicate: 0, late: 0 },
    restarts: { orders: 0, stock: 0, wallet: 0 },
    coordinatorKills: 0,
    connectionsCut: 0,
  };
}

export function addCounts(tally: Tally, counts: Extract<ServiceMessage, { kind: 'counts' }>): void {
  for (const fault of faults) tally.faults[fault] += counts.faults[fault] ?? 0;
  for (const pattern of demoPatterns) tally.patterns[pattern].retries += counts.retries[pattern] ?? 0;
}

export function inFlight({ submitted, committed, aborted, neverBegan }: PatternTally): number {
  return submitted - committed - aborted - neverBegan;
}

/** Orders whose end is known. */
export function settledOf(tally: Tally): number {
  return demoPatterns.reduce((sum, pattern) => {
    const { committed, aborted, neverBegan } = tally.patterns[pattern];
    return sum + committed + aborted + neverBegan;
  }, 0);
}

export function submittedOf(tally: Tally): number {
  return demoPatterns.reduce((sum, pattern) => sum + tally.patterns[pattern].submitted, 0);
}

export function faultsOf(tally: Tally): number {
  return faults.reduce((sum, fault) => sum + tally.faults[fault], 0);
}

export function restartsOf(tally: Tally): number {
  return serviceNames.reduce((sum, service) => sum + tally.restarts[service], 0);
}
