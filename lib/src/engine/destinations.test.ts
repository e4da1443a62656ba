import { describe, expect, it } from 'vitest';
import type { EngineEvent } from '../observe/events.ts';
import { VirtualClock } from '../testing/virtual-clock.ts';
import { Destinations, destinationsMax, type Destination } from './destinations.ts';
import { engineLimits, type EngineLimits } from './limits.ts';

interface World {
  readonly clock: VirtualClock;
  readonly events: EngineEvent[];
  readonly destinations: Destinations;
  readonly shop: Destination;
  /** The names of the calls that have started. */
  readonly started: string[];
  /** The names of those that were sent away, and for how long. */
  readonly postponed: (readonly [string, number])[];
  enter(...names: readonly string[]): void;
}

function world(limits: Partial<EngineLimits> = {}): World {
  const clock = new VirtualClock();
  const events: EngineEvent[] = [];
  const destinations = new Destinations(clock, (event) => events.push(event), { ...engineLimits, ...limits });
  const shop = destinations.of('http://shop');
  const started: string[] = [];
  const postponed: (readonly [string, number])[] = [];
  return {
    clock,
    events,
    destinations,
    shop,
    started,
    postponed,
    enter(...names) {
      for (const name of names) {
        shop.enter({
          start: () => started.push(name),
          postpone: (pauseMs) => postponed.push([name, pauseMs]),
        });
      }
    },
  };
}

const circuits = ({ events }: World): readonly string[] =>
  events.flatMap((event) => (event.kind === 'circuit' ? [event.state] : []));

describe('the concurrency limit of a destination', () => {
  it('starts no more calls than its limit, and the others in the order they came', () => {
    const at = world({ callsPerDestinationMax: 2 });
    at.enter('a', 'b', 'c', 'd');
    expect(at.started).toEqual(['a', 'b']);
    at.shop.ended('answered');
    expect(at.started).toEqual(['a', 'b', 'c']);
    at.shop.ended('answered');
    expect(at.started).toEqual(['a', 'b', 'c', 'd']);
  });

  it('lets nobody overtake those who wait', () => {
    const at = world({ callsPerDestinationMax: 1 });
    at.enter('a', 'b');
    at.shop.ended('answered');
    at.enter('c');
    expect(at.started).toEqual(['a', 'b']);
  });

  it('gives a turn that was not used to the next one', () => {
    const at = world({ callsPerDestinationMax: 1 });
    at.enter('a');
    at.shop.enter({ start: () => at.shop.skipped(), postpone: () => undefined });
    at.enter('c');
    at.shop.ended('answered');
    expect(at.started).toEqual(['a', 'c']);
  });

  it('does not run out of stack when tens of thousands give their turn back', () => {
    const at = world({ callsPerDestinationMax: 1, callsWaitingMax: 100_000 });
    at.enter('a');
    for (let i = 0; i < 50_000; i++)
      at.shop.enter({ start: () => at.shop.skipped(), postpone: () => undefined });
    at.enter('z');
    at.shop.ended('answered');
    expect(at.started).toEqual(['a', 'z']);
  });

  // covers C3
  it('holds up no other destination', () => {
    const at = world({ callsPerDestinationMax: 1 });
    at.enter('a', 'b');
    at.destinations
      .of('http://bank')
      .enter({ start: () => at.started.push('elsewhere'), postpone: () => undefined });
    expect(at.started).toEqual(['a', 'elsewhere']);
  });

  it('sends away whoever comes when as many wait as may', () => {
    const at = world({ callsPerDestinationMax: 1, callsWaitingMax: 2, queueFullPauseMs: 9_000 });
    at.enter('a', 'b', 'c', 'd');
    expect(at.postponed).toEqual([['d', 9_000]]);
    at.shop.ended('answered');
    at.enter('e');
    expect(at.postponed).toHaveLength(1);
  });
});

describe('the circuit of a destination', () => {
  const limits = { circuitFailures: 3, circuitPauseMs: 500, circuitPauseMaxMs: 1_500 };

  function opened(): World {
    const at = world(limits);
    at.enter('a', 'b', 'c');
    for (let i = 0; i < 3; i++) at.shop.ended('silent');
    return at;
  }

  it('opens after as many silent calls in a row as its limit, and says so', () => {
    const at = world(limits);
    at.enter('a', 'b', 'c', 'd');
    at.shop.ended('silent');
    at.shop.ended('silent');
    at.shop.ended('answered');
    at.shop.ended('silent');
    expect(circuits(at)).toEqual([]);
    expect(circuits(opened())).toEqual(['open']);
  });

  it('sends away all who wait, and all who come, for the rest of its pause', async () => {
    const at = world({ ...limits, callsPerDestinationMax: 3 });
    at.enter('a', 'b', 'c', 'waits');
    for (let i = 0; i < 2; i++) at.shop.ended('silent');
    at.shop.ended('silent');
    await at.clock.advance(200);
    at.enter('comes');
    expect(at.postponed).toEqual([['comes', 300]]);
    expect(circuits(at)).toEqual(['open']);
  });

  it('lets one call find out after its pause, and all others when that one is answered', async () => {
    const at = opened();
    await at.clock.advance(499);
    at.enter('d');
    expect(at.postponed).toEqual([['d', 1]]);
    await at.clock.advance(1);
    at.enter('d', 'e', 'f');
    expect(at.started).toEqual(['a', 'b', 'c', 'd']);
    at.shop.ended('answered');
    expect(at.started).toEqual(['a', 'b', 'c', 'd', 'e', 'f']);
    expect(circuits(at)).toEqual(['open', 'closed']);
  });

  it('doubles its pause up to a limit for as long as nobody answers, and sends away who waited for the answer', async () => {
    const at = opened();
    const pauses: number[] = [];
    for (let openedMs = 0; pauses.length < 4; openedMs = at.clock.monotonicMs()) {
      for (const before = at.started.length; ; await at.clock.advance(1)) {
        at.enter('probe');
        if (at.started.length > before) break;
      }
      at.enter('waits');
      pauses.push(at.clock.monotonicMs() - openedMs);
      at.shop.ended('silent');
    }
    expect(pauses).toEqual([500, 1_000, 1_500, 1_500]);
    expect(at.postponed.filter(([name]) => name === 'waits').map(([, ms]) => ms)).toEqual([
      1_000, 1_500, 1_500, 1_500,
    ]);
  });

  it('closes when a call that left before it opened is answered after all', () => {
    const at = world(limits);
    at.enter('a', 'b', 'c', 'd');
    for (let i = 0; i < 3; i++) at.shop.ended('silent');
    at.shop.ended('answered');
    at.enter('e');
    expect(at.started).toContain('e');
    expect(circuits(at)).toEqual(['open', 'closed']);
  });
});

/** As many others as are remembered. */
function crowd({ destinations }: World): void {
  for (let n = 0; n < destinationsMax; n++) destinations.of(`http://other-${n}`);
}

describe('the destinations', () => {
  it('remember one at which nothing is under way, as long as they are few', () => {
    const at = world();
    at.enter('a');
    at.shop.ended('answered');
    expect(at.destinations.of('http://shop')).toBe(at.shop);
  });

  it('forget one at which nothing is under way when there are too many', () => {
    const at = world();
    at.enter('a');
    at.shop.ended('answered');
    crowd(at);
    expect(at.destinations.of('http://shop')).not.toBe(at.shop);
  });

  it('never forget one with a call under way, or with an open circuit', () => {
    const busy = world();
    busy.enter('a');
    crowd(busy);
    expect(busy.destinations.of('http://shop')).toBe(busy.shop);
    const open = world({ circuitFailures: 1 });
    open.enter('a');
    open.shop.ended('silent');
    crowd(open);
    expect(open.destinations.of('http://shop')).toBe(open.shop);
  });
});
