import { describe, expect, it } from 'vitest';
import {
  abort,
  answered,
  callOf,
  clock,
  commit,
  done,
  forceAbort,
  forceCommit,
  forget,
  misconfigured,
  ongoing,
  recovered,
  refused,
  retryNow,
  sent,
  situation,
  situationOf,
  skip,
  stateAfter,
  times,
  unknown,
} from '../testing/specification.ts';
import { AssertionError } from '../util/assert.ts';
import { planMessage, type MessageDefinition } from './message-plan.ts';
import { branches, evolve } from './patterns.ts';
import type { Event } from './protocol.ts';

const base: MessageDefinition = {
  name: 'order-created',
  targets: [
    { name: 'a', deliver: { address: 'http://a', payload: 1 } },
    {
      name: 'b',
      deliver: { address: 'http://b' },
      retry: { kind: 'exponential', baseMs: 1, factor: 2, maxMs: 9 },
    },
  ],
};
const plain = planMessage(base);
const checked = planMessage({ ...base, check: { address: 'http://producer/check', payload: { order: 1 } } });
const delayed = planMessage({ ...base, check: { address: 'http://producer/check' }, delayMs: 500 });
const ordered = planMessage({ ...base, order: 'sequence' });
const asking = [clock(10_000)];

describe('M1: while the producer has the word', () => {
  it('nothing is delivered', () => {
    expect(situation(checked)).toEqual({
      status: 'prepared',
      effects: ['wake 10000'],
      branches: { producer: 'waiting', a: 'waiting', b: 'waiting' },
    });
  });

  it('its commit starts the delivery', () => {
    expect(situation(checked, commit)).toEqual({
      status: 'delivering',
      effects: ['action a', 'action b'],
      branches: { a: 'called', b: 'called' },
    });
    expect(situation(checked, forceCommit).status).toBe('delivering');
  });

  it('its abort drops the message', () => {
    expect(situation(checked, abort)).toEqual({
      status: 'aborted',
      effects: [],
      branches: { a: 'waiting', b: 'waiting' },
    });
    expect(situation(checked, forceAbort).status).toBe('aborted');
  });

  it('a message without check-back is delivered at once', () => {
    expect(situation(plain).status).toBe('delivering');
  });
});

describe('M2, M3: the check-back', () => {
  it('is asked when the producer is silent for too long, or somebody wants it now', () => {
    expect(situation(checked, clock(9_999)).effects).toEqual(['wake 10000']);
    for (const event of [clock(10_000), retryNow]) {
      expect(situation(checked, event)).toMatchObject({
        effects: ['check producer'],
        branches: { producer: 'called' },
      });
    }
    expect(callOf(checked, stateAfter(checked, retryNow), 'producer')).toMatchObject({
      address: 'http://producer/check',
      payload: { kind: 'ready', value: { order: 1 } },
    });
  });

  it('that says done starts the delivery', () => {
    expect(situation(checked, ...asking, done('producer', 'check')).status).toBe('delivering');
  });

  it('that is refused drops the message', () => {
    expect(stateAfter(checked, ...asking, refused('producer', 'check', 'no such order'))).toEqual({
      kind: 'aborted',
      reason: "the producer's local transaction did not commit: no such order",
    });
  });

  it('is asked again for ever while the answer is unknown or ongoing', () => {
    for (const answer of [unknown, misconfigured, ongoing]) {
      expect(situation(checked, ...asking, ...times(99, answer('producer', 'check')))).toMatchObject({
        status: 'prepared',
        effects: ['check producer'],
      });
    }
    const state = stateAfter(checked, ...asking, unknown('producer', 'check'), clock(20_000), retryNow);
    expect(callOf(checked, state, 'producer').attempts).toBe(1);
    expect(branches(checked, state)[0]).toMatchObject({ op: 'check', attempts: 1, reason: 'timeout' });
  });

  it('that comes after the word of the producer changes nothing', () => {
    for (const late of [done, refused, unknown]) {
      for (const word of [commit, abort]) {
        const events = [...asking, word];
        expect(situation(checked, ...events, late('producer', 'check'))).toEqual(
          situation(checked, ...events),
        );
      }
      expect(situation(checked, late('producer', 'check')).effects).toEqual(['wake 10000']);
    }
  });
});

describe('delayed delivery', () => {
  it('starts when the delay after the decision is over, or when somebody wants it now', () => {
    const decided: Event = { kind: 'commit', at: 100 };
    expect(situation(delayed, decided)).toEqual({
      status: 'scheduled',
      effects: ['wake 600'],
      branches: { a: 'waiting', b: 'waiting' },
    });
    expect(situation(delayed, decided, clock(599)).status).toBe('scheduled');
    expect(situation(delayed, decided, clock(600)).status).toBe('delivering');
    expect(situation(delayed, decided, retryNow).status).toBe('delivering');
    expect(() => situation(delayed, decided, forget)).toThrow('forget in scheduled');
    const asked = answered('producer', 'check', { kind: 'done' }, 20_000);
    expect(situation(delayed, ...asking, asked).effects).toEqual(['wake 20500']);
  });
});

describe('M4: delivery', () => {
  it('ends when every target took it', () => {
    expect(situation(plain, done('b', 'action', 7))).toMatchObject({
      effects: ['action a'],
      branches: { a: 'called', b: 'done' },
    });
    expect(branches(plain, stateAfter(plain, done('b', 'action', 7)))[1]).toMatchObject({ result: 7 });
    expect(situation(plain, done('b'), done('a'))).toEqual({
      status: 'committed',
      effects: [],
      branches: { a: 'done', b: 'done' },
    });
  });

  it('goes from one target to the next when an order is wanted', () => {
    expect(situation(ordered).effects).toEqual(['action a']);
    expect(situation(ordered, unknown('a')).effects).toEqual(['action a']);
    expect(situation(ordered, done('a')).effects).toEqual(['action b']);
  });

  it('is repeated until it is done, whatever the target answers', () => {
    for (const answer of [refused, unknown, misconfigured, ongoing]) {
      expect(situation(plain, ...times(99, answer('a')))).toEqual(situation(plain));
    }
    const call = callOf(plain, stateAfter(plain, refused('a'), unknown('a')), 'a');
    expect(call).toMatchObject({ attempts: 2, payload: { value: 1 }, retry: { baseMs: 200 } });
    expect(callOf(plain, stateAfter(plain), 'b').retry.baseMs).toBe(1);
  });

  it('takes late and repeated answers for no news', () => {
    expect(situation(plain, done('a'), unknown('a'))).toEqual(situation(plain, done('a')));
    expect(situation(checked, done('a'))).toEqual(situation(checked));
    expect(situation(plain, done('a'), done('b'), refused('a')).status).toBe('committed');
  });

  it('needs no trace of what was lost in a crash', () => {
    for (const event of [recovered, sent('a'), clock(1e9), retryNow]) {
      expect(situation(plain, event)).toEqual(situation(plain));
    }
  });
});

describe('what people may do', () => {
  it('a skipped target lets the others be served', () => {
    expect(situation(ordered, skip('a'))).toMatchObject({
      effects: ['action b'],
      branches: { a: 'skipped' },
    });
    expect(situation(ordered, skip('a'), done('b')).status).toBe('committed');
  });

  it('a forgotten message does nothing any more', () => {
    expect(situation(plain, done('a'), forget)).toEqual({
      status: 'forgotten',
      effects: [],
      branches: { a: 'done', b: 'called' },
    });
    expect(situation(checked, forget)).toMatchObject({ status: 'forgotten', effects: [] });
  });

  it.each<[string, readonly Event[], Event]>([
    ['commit twice', [commit], commit],
    ['force-commit after an abort', [abort], forceCommit],
    ['abort after the decision', [commit], abort],
    ['force-abort after the decision', [commit], forceAbort],
    ['skip before the delivery', [], skip('a')],
    ['skip what is done', [commit, done('a')], skip('a')],
    ['forget after the end', [abort], forget],
    ['retry after the end', [abort], retryNow],
    ['register', [], { kind: 'registered', at: 0, branches: [] }],
    ['call a stranger', [commit], done('stranger')],
  ])('stops at once, as at a defect of ours, when told to %s', (_, events, event) => {
    expect(() => situation(checked, ...events, event)).toThrow(AssertionError);
  });
});

describe('foreign data', () => {
  it('is loud', () => {
    expect(() => evolve(plain, stateAfter(plain), { kind: 'odd', at: 0 } as never)).toThrow(
      'event of a message',
    );
    expect(() =>
      situation(checked, ...asking, answered('producer', 'check', { kind: 'odd' } as never)),
    ).toThrow('outcome');
    expect(() => situationOf(plain, { kind: 'odd' } as never)).toThrow('state of a message');
  });
});
