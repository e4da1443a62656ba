import { beforeEach, describe, expect, test } from 'vitest';
import { ScriptedDatabase } from '../../../test/local/scripted-driver.ts';
import { outcomeOf, thrownBy, turn } from '../../../test/local/world.ts';
import { VirtualClock } from '../testing/virtual-clock.ts';
import { Connections, Holder, releaseTimeoutMs } from './connections.ts';
import type { Driver } from './driver.ts';
import { Timers } from './timers.ts';

const limitMs = 100;

let clock: VirtualClock;
let delays: number[];
let warnings: unknown[];

beforeEach(() => {
  clock = new VirtualClock();
  delays = [];
  warnings = [];
});

function connectionsOf(driver: Driver<unknown>, reserved = 0): Connections {
  const timers = new Timers({
    now: () => clock.monotonicMs(),
    schedule(ms, callback) {
      delays.push(ms);
      return clock.schedule(ms, callback);
    },
    turn,
  });
  return new Connections(driver, { timers, reserved, warn: (cause) => warnings.push(cause), exit });
}

function exit<T>(work: () => T): T {
  return work();
}

function outermost(label = 'outermost'): Holder {
  return new Holder(label, false, []);
}

describe('a connection', () => {
  test('that does not come in time is pool_exhausted, and names who has the others', async () => {
    const { driver } = new ScriptedDatabase({ connectionsMax: 1 });
    const connections = connectionsOf(driver);
    await connections.take(outermost('report'), limitMs);
    await clock.advance(30);
    const late = thrownBy(connections.take(outermost('order'), limitMs));
    await clock.advance(limitMs);
    const { code, message } = await late;
    expect(code).toBe('pool_exhausted');
    expect(message).toContain('no connection for order at depth 0: none came within 100 ms');
    expect(message).toContain('Transactions hold 1 of 1 connections: report (depth 0, for 130 ms)');
  });

  test('that comes when nobody waits for it any more goes back', async () => {
    const database = new ScriptedDatabase();
    const connections = connectionsOf(database.driver);
    const acquire = database.stop('acquire');
    const late = outcomeOf(connections.take(outermost(), limitMs));
    await clock.advance(limitMs);
    expect(await late).toBe('pool_exhausted');
    acquire.go();
    await turn();
    expect(database.log).toEqual(['1 release reuse']);
  });

  test('that fails to come when nobody waits for it any more harms nobody', async () => {
    const database = new ScriptedDatabase();
    const connections = connectionsOf(database.driver);
    const acquire = database.stop('acquire');
    const late = outcomeOf(connections.take(outermost(), limitMs));
    await clock.advance(limitMs);
    expect(await late).toBe('pool_exhausted');
    acquire.fail(new Error('refused'));
    await turn();
    expect(database.log).toEqual([]);
  });

  test('is given back once, however often that is asked', async () => {
    const database = new ScriptedDatabase();
    const connections = connectionsOf(database.driver);
    const holder = outermost();
    await connections.take(holder, limitMs);
    await Promise.all([connections.give(holder, 'reuse'), connections.give(holder, 'discard')]);
    expect(database.log).toEqual(['1 release reuse']);
  });

  test('whose pool does not take it back in time keeps nobody waiting', async () => {
    const database = new ScriptedDatabase();
    const connections = connectionsOf(database.driver);
    const holder = outermost();
    await connections.take(holder, limitMs);
    const release = database.stop('release');
    const given = Promise.resolve(connections.give(holder, 'reuse'));
    await clock.advance(releaseTimeoutMs);
    await given;
    expect(warnings).toHaveLength(1);
    release.go();
  });

  test('that only its own callers could give back is refused at once', async () => {
    const { driver } = new ScriptedDatabase({ connectionsMax: 1 });
    const connections = connectionsOf(driver);
    const outer = outermost();
    await connections.take(outer, limitMs);
    const inner = connections.take(new Holder('inner', false, [outer]), limitMs);
    // Nobody lets time pass.
    expect((await thrownBy(inner)).message).toContain('held by the transactions it is within');
  });
});

describe('connections reserved for nested transactions', () => {
  test('are never given to outermost ones, who wait in their order', async () => {
    const { driver } = new ScriptedDatabase({ connectionsMax: 2 });
    const connections = connectionsOf(driver, 1);
    const [first, second, third] = [outermost('first'), outermost('second'), outermost('third')];
    const got: string[] = [];
    await connections.take(first, limitMs);
    const others = [second, third].map((holder) =>
      connections.take(holder, limitMs).then(() => got.push(holder.label)),
    );
    await connections.take(new Holder('nested', false, [first]), limitMs);
    await turn();
    expect(got).toEqual([]);
    await connections.give(first, 'reuse');
    await others[0];
    expect(got).toEqual(['second']);
    await connections.give(second, 'reuse');
    await others[1];
  });

  test('are waited for no longer than a connection', async () => {
    const { driver } = new ScriptedDatabase({ connectionsMax: 2 });
    const connections = connectionsOf(driver, 1);
    const [first, third] = [outermost(), outermost('third')];
    await connections.take(first, limitMs);
    const second = thrownBy(connections.take(outermost('second'), limitMs));
    await clock.advance(limitMs - 1);
    const waits = connections.take(third, limitMs);
    await clock.advance(1);
    expect((await second).message).toContain('1 are reserved for nested ones');
    // Who gave up has no place in the queue any more.
    await connections.give(first, 'reuse');
    await waits;
    expect(third.held).toBeDefined();
  });

  test('are free again after a connection that could not be made', async () => {
    const database = new ScriptedDatabase({ connectionsMax: 2 });
    const connections = connectionsOf(database.driver, 1);
    database.fail('acquire', new Error('refused'));
    expect(await outcomeOf(connections.take(outermost(), limitMs))).toBe('database_unreachable');
    const next = outermost();
    await connections.take(next, limitMs);
    expect(next.held).toBeDefined();
  });

  test('do not give each wait a delay of its own, for which it would need a timer of its own', async () => {
    const { driver } = new ScriptedDatabase({ connectionsMax: 2 });
    let ms = 0;
    const timers = new Timers({
      // Every look at the clock finds it a little later.
      now: () => (ms += 0.001),
      schedule(delayMs) {
        delays.push(delayMs);
        return () => {};
      },
      turn,
    });
    const connections = new Connections(driver, { timers, reserved: 1, warn() {}, exit });
    for (let n = 0; n < 3; n++) {
      const holder = outermost();
      await connections.take(holder, limitMs);
      await connections.give(holder, 'reuse');
    }
    expect(new Set(delays.filter((delayMs) => delayMs <= limitMs))).toEqual(new Set([limitMs]));
  });

  test('have to be a number, and fewer than there are', () => {
    const { driver } = new ScriptedDatabase({ connectionsMax: 2 });
    for (const reserved of [2, 3, -1, 0.5, Number.NaN, Infinity])
      expect(() => connectionsOf(driver, reserved)).toThrow('config_invalid');
  });
});
