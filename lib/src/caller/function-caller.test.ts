import { describe, expect, it } from 'vitest';
import { parseBranchName, parseGid } from '../core/ids.ts';
import type { Op } from '../core/outcome.ts';
import { Ongoing, Refused } from '../define/answers.ts';
import { functionAddress, type FunctionCall, type RegisteredFunction } from '../define/functions.ts';
import type { BranchCall } from '../engine/ports.ts';
import { functionCaller } from './function-caller.ts';
import { routeCaller } from './route-caller.ts';

const signal = new AbortController().signal;

function ask(op: Op = 'action'): BranchCall {
  const address = functionAddress('order', 'reserve', op);
  return {
    gid: parseGid('g'),
    branch: parseBranchName('reserve'),
    op,
    address,
    payload: 1,
    attempt: 1,
    timeoutMs: 50,
  };
}

/** A clock whose deadline the test lets pass. */
function world(call: RegisteredFunction['call'], idempotent = false) {
  const due: (() => void)[] = [];
  let cancelled = 0;
  const clock = {
    schedule: (_delayMs: number, callback: () => void) => {
      due.push(callback);
      return () => void cancelled++;
    },
  };
  const entry: RegisteredFunction = { call, idempotent };
  const registry = new Map((['action', 'compensate'] as const).map((op) => [ask(op).address, entry]));
  return {
    caller: functionCaller(registry, { clock }),
    pass: () => due.forEach((callback) => callback()),
    cancelled: () => cancelled,
  };
}

describe('a call of a function', () => {
  it.each([true, false])(
    'is done with what it gives back; repeatable as declared (%s)',
    async (idempotent) => {
      const { caller, cancelled } = world(
        ({ payload }) => Promise.resolve({ payload: payload ?? null }),
        idempotent,
      );
      expect(await caller.call(ask(), signal)).toEqual({
        outcome: { kind: 'done', result: { payload: 1 } },
        repeatable: idempotent,
      });
      expect(cancelled()).toBe(1);
    },
  );

  it('is done without a result when it gives nothing back', async () => {
    const { caller } = world(() => Promise.resolve(undefined));
    expect((await caller.call(ask(), signal)).outcome).toEqual({ kind: 'done' });
  });

  it('is refused when it throws Refused, but never in phase 2', async () => {
    const { caller } = world(() => Promise.reject(new Refused('no')), true);
    expect(await caller.call(ask(), signal)).toEqual({
      outcome: { kind: 'refused', reason: 'no' },
      repeatable: true,
    });
    expect(await caller.call(ask('compensate'), signal)).toMatchObject({
      outcome: { kind: 'unknown' },
      repeatable: false,
    });
  });

  it('is ongoing when it throws Ongoing', async () => {
    expect((await world(() => Promise.reject(new Ongoing(70))).caller.call(ask(), signal)).outcome).toEqual({
      kind: 'ongoing',
      retryAfterMs: 70,
    });
    expect((await world(() => Promise.reject(new Ongoing())).caller.call(ask(), signal)).outcome).toEqual({
      kind: 'ongoing',
    });
  });

  it('is unknown when it throws anything else, at once or later', async () => {
    const later = world(() => Promise.reject(new Error('broken')), true);
    expect(await later.caller.call(ask(), signal)).toEqual({
      outcome: { kind: 'unknown', reason: 'broken' },
      repeatable: false,
    });
    const atOnce = world(() => {
      throw new TypeError('worse');
    });
    expect((await atOnce.caller.call(ask(), signal)).outcome).toEqual({ kind: 'unknown', reason: 'worse' });
  });

  // covers C3
  it('is unknown at its deadline, tells the function so, and ignores what comes later', async () => {
    let seen: FunctionCall | undefined;
    const late = Promise.withResolvers<number>();
    const { caller, pass } = world((call) => {
      seen = call;
      void call.signal;
      return late.promise;
    });
    const reply = caller.call(ask(), signal);
    expect(seen?.signal.aborted).toBe(false);
    pass();
    late.resolve(1);
    expect((await reply).outcome).toEqual({ kind: 'unknown', reason: 'no answer within 50 ms' });
    expect(seen?.signal.aborted).toBe(true);
  });

  it('is unknown when the caller gives up, before or while it runs', async () => {
    const controller = new AbortController();
    let runs = 0;
    const { caller } = world(() => {
      runs++;
      return new Promise(() => undefined);
    });
    const reply = caller.call(ask(), controller.signal);
    controller.abort();
    expect((await reply).outcome.kind).toBe('unknown');
    expect((await caller.call(ask(), controller.signal)).outcome.kind).toBe('unknown');
    expect(runs).toBe(1);
  });

  it('is misconfigured where no function is registered, and says so before anything is stored', async () => {
    const { caller } = world(() => Promise.resolve(undefined));
    expect((await caller.call(ask('confirm'), signal)).outcome).toMatchObject({
      kind: 'unknown',
      misconfigured: true,
    });
    expect(caller.whyNotAllowed(ask('confirm').address)).toMatch(/no function is registered/);
    expect(caller.whyNotAllowed(ask().address)).toBeUndefined();
  });

  it('shares a destination among the operations of one step only', () => {
    const { caller } = world(() => Promise.resolve(undefined));
    expect(caller.destinationOf(ask('compensate').address)).toBe(caller.destinationOf(ask().address));
    expect(caller.destinationOf('fn:order/charge/action')).not.toBe(caller.destinationOf(ask().address));
  });
});

describe('routing by scheme', () => {
  it('asks the caller of the scheme, and refuses an address of any other', async () => {
    const { caller } = world(() => Promise.resolve(5));
    const routed = routeCaller({ fn: caller });
    expect((await routed.call(ask(), signal)).outcome).toEqual({ kind: 'done', result: 5 });
    expect(routed.whyNotAllowed(ask().address)).toBeUndefined();
    for (const address of ['http://127.0.0.1/', 'fn', '', '__proto__:x', 'constructor:x']) {
      expect(routed.whyNotAllowed(address)).toMatch(/nobody calls/);
      expect(routed.destinationOf(address)).toBe(address);
      expect((await routed.call({ ...ask(), address }, signal)).outcome).toMatchObject({
        misconfigured: true,
      });
    }
  });
});
