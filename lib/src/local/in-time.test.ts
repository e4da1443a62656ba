import { beforeEach, describe, expect, test } from 'vitest';
import { outcomeOf, thrownBy, turn } from '../../../test/local/world.ts';
import { VirtualClock } from '../testing/virtual-clock.ts';
import { inTime } from './in-time.ts';
import { Timers } from './timers.ts';

let clock: VirtualClock;
let timers: Timers;
const late = (): Error => new Error('late');

beforeEach(() => {
  clock = new VirtualClock();
  timers = new Timers({
    now: () => clock.monotonicMs(),
    schedule: (ms, call) => clock.schedule(ms, call),
    turn,
  });
});

describe('in time', () => {
  test('is what comes before the limit, and nobody is told afterwards', async () => {
    const told: string[] = [];
    const done = inTime(Promise.resolve('value'), 10, timers, late, (value) => told.push(value));
    expect(await outcomeOf(done)).toBe('returns value');
    await clock.advance(10);
    expect(told).toEqual([]);
  });

  test('is not what comes at the limit or later: that is told', async () => {
    const coming = Promise.withResolvers<string>();
    const told: string[] = [];
    const outcome = outcomeOf(inTime(coming.promise, 10, timers, late, (value) => told.push(value)));
    await clock.advance(10);
    expect(await outcome).toBe('late');
    coming.resolve('value');
    await turn();
    expect(told).toEqual(['value']);
  });

  test('is nothing that fails later, which harms nobody', async () => {
    const coming = Promise.withResolvers<string>();
    const outcome = outcomeOf(inTime(coming.promise, 10, timers, late));
    await clock.advance(10);
    expect(await outcome).toBe('late');
    coming.reject(new Error('failed too'));
    await turn();
  });

  test('has no time where none is left', async () => {
    const outcome = outcomeOf(inTime(new Promise(() => {}), -5, timers, late));
    await clock.advance(0);
    expect(await outcome).toBe('late');
  });

  test('makes an error of what is none, and keeps it', async () => {
    // oxlint-disable-next-line typescript/prefer-promise-reject-errors -- drivers do so
    const thrown = await thrownBy(inTime(Promise.reject('refused'), 10, timers, late));
    expect([thrown.message, thrown.cause]).toEqual(['refused', 'refused']);
  });
});
