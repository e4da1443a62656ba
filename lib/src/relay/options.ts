import { SettleError } from '../util/errors.ts';
import type { RelayClock } from './clock.ts';
import type { RelayEvent } from './events.ts';
import type { Publisher } from './publisher.ts';
import type { RelayStore } from './store.ts';
import type { WakeSource } from './wake.ts';

/**
 * The same for all relays of an outbox: beside one that waits for all lanes (`global`), others leave lanes to it, and those lie
 * idle.
 *
 * - `none`: a message that fails comes later; nothing waits for it.
 * - `per-key`: those with the same key and destination in the order of their rows; one that fails holds up its key alone.
 * - `global`: all of one destination in the order of their rows. One relay at a time does the work, and each call of a
 *   publisher has messages of one key alone.
 */
export type Ordering = 'none' | 'per-key' | 'global';

export interface RelayOptions {
  readonly store: RelayStore;
  /** One for each target that destinations name. */
  readonly publishers: readonly Publisher[];
  /** Default: `per-key`. */
  readonly ordering?: Ordering;
  /** Who holds the lanes; unique among relays that run. Default: a random one. */
  readonly name?: string;
  /** What tells it to look before its next poll. Default: nothing; in the sender's process `outbox.onCommitted` can call `wake`. */
  readonly wake?: readonly WakeSource[];
  /** How a message that fails is tried again. */
  readonly retry?: Partial<RelayRetry>;
  /**
   * What happens to later messages of a key whose message was given up: go on, or wait until that one is replayed or purged.
   * Default: `skip`.
   */
  readonly onDead?: 'skip' | 'block-key';
  readonly limits?: Partial<RelayLimits>;
  readonly onEvent?: (event: RelayEvent) => void;
  /** Default: the system's. */
  readonly clock?: RelayClock;
  /** Numbers from 0 to 1, for pauses. Default: `Math.random`. */
  readonly random?: () => number;
}

/** Exponential with full jitter. */
export interface RelayRetry {
  /** Attempts that the destination could have taken, after which a message is given up. Default: 20, which is some minutes. */
  readonly attemptsMax: number;
  /** Default: 200. */
  readonly baseMs: number;
  /** Default: 60,000. */
  readonly maxMs: number;
}

export const relayRetryDefault: RelayRetry = { attemptsMax: 20, baseMs: 200, maxMs: 60_000 };

export interface RelayLimits {
  /** Messages in one call of a publisher. Default: 100. */
  readonly batchMax: number;
  /** Calls of one publisher at a time. Default: 4. */
  readonly flightsMax: number;
  /** Messages in memory. Default: 2,000. */
  readonly messagesMax: number;
  /** Characters of payloads in memory, with those of a read as far as the sizes of the last ones tell. Default: 64 Mi. */
  readonly bytesMax: number;
  /** Milliseconds for which lanes stay with a relay that is not heard of. At least 1,000. Default: 10,000. */
  readonly leaseTtlMs: number;
  /** Milliseconds between two looks at the table that nothing woke. Default: 50 to 1,000, the longer the less there is. */
  readonly pollMinMs: number;
  readonly pollMaxMs: number;
  /** Milliseconds after which a call of a publisher is aborted. Default: 30,000. */
  readonly publishTimeoutMs: number;
  /**
   * Relays that may vanish while a message is under way, from the second one on alone, before it is given up. Default: 5.
   */
  readonly crashesMax: number;
  /** Milliseconds for which a dedup key is remembered. Default: 7 days. */
  readonly dedupRetentionMs: number;
}

export const relayLimitsDefault: RelayLimits = {
  batchMax: 100,
  flightsMax: 4,
  messagesMax: 2_000,
  bytesMax: 64 * 1024 * 1024,
  leaseTtlMs: 10_000,
  pollMinMs: 50,
  pollMaxMs: 1_000,
  publishTimeoutMs: 30_000,
  crashesMax: 5,
  dedupRetentionMs: 7 * 24 * 3_600_000,
};

/** The options with their defaults. Throws `config_invalid`. */
export function readRelayOptions(options: RelayOptions) {
  const limits = numbers('limits', relayLimitsDefault, options.limits);
  const retry = numbers('retry', relayRetryDefault, options.retry);
  if (limits.pollMinMs > limits.pollMaxMs) {
    throw invalid(`pollMinMs ${limits.pollMinMs} is more than pollMaxMs ${limits.pollMaxMs}`);
  }
  if (limits.leaseTtlMs < leaseTtlMinMs) {
    throw invalid(`leaseTtlMs ${limits.leaseTtlMs} is less than ${leaseTtlMinMs}`);
  }
  for (const { name, batchMax = 1 } of options.publishers) {
    if (!Number.isInteger(batchMax) || batchMax < 1) throw invalid(`the batchMax of ${name} is ${batchMax}`);
  }
  const names = options.publishers.map(({ name }) => name);
  const twice = names.find((name, i) => names.indexOf(name) < i);
  if (twice !== undefined) throw invalid(`two publishers have the name ${twice}`);
  return { limits, retry };
}

function numbers<T extends object>(where: string, defaults: T, given: Partial<T> | undefined): T {
  for (const [name, value] of Object.entries(given ?? {})) {
    if (!(name in defaults)) throw invalid(`${where}.${name} is not known`);
    if (typeof value !== 'number' || !Number.isInteger(value) || value < 1 || value > numberMax) {
      throw invalid(`${where}.${name} is ${String(value)}, not a whole number from 1 to ${numberMax}`);
    }
  }
  return { ...defaults, ...given };
}

/** Of less, nothing would be left after the margin in which a relay publishes nothing. */
const leaseTtlMinMs = 1_000;

/** What timers of Node can wait for. */
const numberMax = 2 ** 31 - 1;

function invalid(what: string): SettleError {
  return new SettleError('config_invalid', `the relay: ${what}`, {
    next: 'Correct the options of createRelay',
  });
}
