import type { Ordering } from '../../../lib/src/relay/options.ts';
import type { Publisher } from '../../../lib/src/relay/publisher.ts';
import type { Rng } from '../world/random.ts';

/** How likely each trouble is right now, of one request; the heal takes all of it back. */
export interface DeliveryWeather {
  latencyMs: number;
  storeFails: number;
  storeLosesAnswer: number;
  brokerRefuses: number;
  brokerFails: number;
  /** A message is given up, and all of its key waits until an operator has replayed it. */
  brokerPoisons: number;
  brokerLosesAnswer: number;
  workFails: number;
}

export function calmDelivery(): DeliveryWeather {
  return {
    latencyMs: 5,
    storeFails: 0,
    storeLosesAnswer: 0,
    brokerRefuses: 0,
    brokerFails: 0,
    brokerPoisons: 0,
    brokerLosesAnswer: 0,
    workFails: 0,
  };
}

/** What processes have to bear in this run. */
export interface DeliveryFaults {
  readonly kills: boolean;
  readonly pauses: boolean;
}

/** How relays are set up in this run. */
export interface RelayShape {
  readonly ordering: Ordering;
  readonly order: Publisher['order'];
}

export function drawShape(random: Rng): RelayShape {
  return {
    ordering: random.chance(0.2) ? 'global' : 'per-key',
    order: random.chance(0.3) ? 'each-alone' : 'stops-at-failure',
  };
}

/** A fifth of the runs is calm; in the others each trouble is there or not, as strong as drawn. */
export function drawWeather(random: Rng): {
  readonly weather: DeliveryWeather;
  readonly faults: DeliveryFaults;
} {
  const weather = calmDelivery();
  if (random.chance(0.2)) return { weather, faults: { kills: false, pauses: false } };
  const strength = (max: number): number => (random.chance(0.5) ? random.next() * max : 0);
  weather.latencyMs = random.pick([1, 20, 200]);
  weather.storeFails = strength(0.1);
  weather.storeLosesAnswer = strength(0.1);
  weather.brokerRefuses = strength(0.2);
  weather.brokerFails = strength(0.2);
  weather.brokerPoisons = strength(0.03);
  weather.brokerLosesAnswer = strength(0.1);
  weather.workFails = strength(0.2);
  return { weather, faults: { kills: random.chance(0.6), pauses: random.chance(0.3) } };
}
