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
  passed,
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
import { branches, evolve } from './patterns.ts';
import type { Event } from './protocol.ts';
import { specsOf, untried, type TccState } from './tcc.ts';
import { planTcc, planTccBranches, type TccBranchDefinition } from './tcc-plan.ts';

function branch(name: string, more: Partial<TccBranchDefinition> = {}): TccBranchDefinition {
  return {
    name,
    try: { address: `http://${name}/try` },
    confirm: { address: `http://${name}/confirm` },
    cancel: { address: `http://${name}/cancel` },
    ...more,
  };
}

/** Its try is called by the initiator. */
function presumed(name: string): TccBranchDefinition {
  const { confirm, cancel } = branch(name);
  return { name, confirm, cancel };
}

function registered(...added: readonly TccBranchDefinition[]): Event {
  return { kind: 'registered', at: 0, branches: planTccBranches(added, []) };
}

const plan = planTcc({ name: 'transfer', branches: [branch('a'), branch('b')] });
const own = planTcc({
  name: 'own',
  decide: 'when-all-tried',
  timeoutMs: 500,
  branches: [branch('a'), branch('b')],
});
const empty = planTcc({ name: 'empty' });

const tried = (name: string, result?: string) => passed(name, 'try', result);
const both = [...tried('a'), ...tried('b')];

function trying(...events: readonly Event[]): TccState {
  const state = stateAfter(plan, ...events);
  if (!('branches' in state)) throw new Error('not TCC');
  return state;
}

describe('T1: confirm', () => {
  it('tries all branches at once', () => {
    expect(situation(plan)).toEqual({
      status: 'trying',
      effects: ['try a', 'try b', 'wake 60000'],
      branches: { a: 'waiting', b: 'waiting' },
    });
    expect(situation(plan, sent('a', 'try'), ...tried('b'))).toMatchObject({
      effects: ['try a', 'wake 60000'],
      branches: { a: 'called', b: 'done' },
    });
  });

  it('waits for the word of the initiator', () => {
    expect(situation(plan, ...both)).toMatchObject({ status: 'trying', effects: ['wake 60000'] });
    expect(situation(plan, ...both, commit)).toEqual({
      status: 'confirming',
      effects: ['confirm a', 'confirm b'],
      branches: { a: 'confirming', b: 'confirming' },
    });
  });

  it('follows by itself once all is tried, when the initiator left it to us', () => {
    expect(situation(own, ...tried('a')).status).toBe('trying');
    expect(situation(own, ...both).status).toBe('confirming');
  });

  it('names the branches that are not tried, and is a defect of ours before they are', () => {
    expect(untried(plan, trying(...tried('a')))).toEqual(['b']);
    expect(() => situation(plan, ...tried('a'), commit)).toThrow('commit in trying');
    expect(() => situation(plan, ...tried('a'), forceCommit)).toThrow('force-commit in trying');
    expect(() => situation(plan, ...both, commit, commit)).toThrow('commit in confirming');
  });

  it('commits when every branch confirmed, in any order', () => {
    const events = [...both, commit, done('b', 'confirm')];
    expect(situation(plan, ...events)).toMatchObject({
      status: 'confirming',
      effects: ['confirm a'],
      branches: { b: 'confirmed' },
    });
    expect(situation(plan, ...events, done('a', 'confirm'))).toEqual({
      status: 'committed',
      effects: [],
      branches: { a: 'confirmed', b: 'confirmed' },
    });
  });

  it('can be forced once all is tried, and an empty transaction has nothing to wait for', () => {
    expect(situation(plan, ...both, forceCommit).status).toBe('confirming');
    expect(situation(empty, commit).status).toBe('committed');
    expect(situation(empty, abort).status).toBe('aborted');
  });
});

describe('T2, T3: cancel', () => {
  it.each<[string, Event]>([
    ['a refusal', refused('a', 'try')],
    ['an abort', abort],
    ['a forced abort', forceAbort],
    ['the deadline', clock(60_000)],
  ])('%s cancels what was tried', (_, event) => {
    expect(situation(plan, sent('a', 'try'), ...tried('b'), event)).toMatchObject({
      status: 'cancelling',
      branches: { b: 'undoing' },
    });
  });

  it('leaves alone what refused at once, or was never called', () => {
    expect(situation(plan, sent('a', 'try'), refused('a', 'try'))).toEqual({
      status: 'aborted',
      effects: [],
      branches: { a: 'refused', b: 'waiting' },
    });
    expect(stateAfter(plan, sent('a', 'try'), refused('a', 'try', 'broke'))).toMatchObject({
      reason: 'a refused: broke',
    });
  });

  it('cancels what is under way or unknown, and what refused after an attempt without an answer', () => {
    expect(situation(plan, sent('a', 'try'), sent('b', 'try'), unknown('b', 'try'), abort).effects).toEqual([
      'cancel a',
      'cancel b',
    ]);
    expect(situation(plan, sent('a', 'try'), unknown('a', 'try'), refused('a', 'try')).effects).toEqual([
      'cancel a',
    ]);
  });

  it('falls at the deadline, not before', () => {
    expect(situation(plan, ...both, clock(59_999)).status).toBe('trying');
    expect(stateAfter(plan, ...both, clock(60_000))).toMatchObject({
      kind: 'cancelling',
      reason: 'not committed within 60000 ms',
    });
    expect(situation(plan, ...both, commit, clock(60_000)).status).toBe('confirming');
  });

  it('falls when the attempts of a try are used up', () => {
    const asked = [sent('a', 'try')];
    expect(situation(plan, ...asked, ...times(3, unknown('a', 'try'))).status).toBe('trying');
    expect(stateAfter(plan, ...asked, ...times(4, unknown('a', 'try')))).toMatchObject({
      kind: 'cancelling',
      reason: 'a gave no answer in 4 attempts: timeout',
    });
    const patient = planTcc({
      name: 'patient',
      branches: [branch('a', { retry: { kind: 'exponential', baseMs: 1, factor: 2, maxMs: 9 } })],
    });
    expect(situation(patient, ...asked, ...times(99, unknown('a', 'try'))).status).toBe('trying');
    expect(situation(patient, ...asked, ...times(4, misconfigured('a', 'try'))).status).toBe('trying');
    expect(situation(patient, ...asked, ...times(5, misconfigured('a', 'try'))).status).toBe('cancelling');
    expect(callOf(patient, stateAfter(patient), 'a').retry).toMatchObject({ baseMs: 1 });
  });

  it('is aborted when every cancel is done', () => {
    expect(situation(plan, ...both, abort, done('a', 'cancel')).status).toBe('cancelling');
    expect(situation(plan, ...both, abort, done('a', 'cancel'), done('b', 'cancel'))).toEqual({
      status: 'aborted',
      effects: [],
      branches: { a: 'undone', b: 'undone' },
    });
  });
});

describe('T4: after the decision', () => {
  it.each([commit, abort])('asks again until it is done, whatever it answers: $kind', (decision) => {
    const op = decision === commit ? 'confirm' : 'cancel';
    const decided = [...both, decision];
    for (const answer of [refused, unknown, misconfigured, ongoing]) {
      expect(situation(plan, ...decided, ...times(50, answer('a', op)))).toEqual(situation(plan, ...decided));
    }
    const state = stateAfter(plan, ...decided, unknown('a', op), refused('a', op));
    expect(callOf(plan, state, 'a').attempts).toBe(2);
    expect(branches(plan, state)[0]).toMatchObject({ op, attempts: 2, reason: 'no' });
  });

  it('takes no answer to the other question for one', () => {
    const decided = [...both, commit];
    expect(situation(plan, ...decided, done('a', 'cancel'))).toEqual(situation(plan, ...decided));
    expect(situation(plan, ...both, done('a', 'confirm'))).toEqual(situation(plan, ...both));
  });

  it('ignores what comes late', () => {
    for (const late of [done('b', 'try'), refused('b', 'try'), unknown('b', 'try')]) {
      const decided = [sent('b', 'try'), abort];
      expect(situation(plan, ...decided, late)).toEqual(situation(plan, ...decided));
      expect(situation(plan, ...both, late)).toEqual(situation(plan, ...both));
    }
    expect(situation(plan, sent('a', 'try'), abort, sent('a', 'cancel'))).toMatchObject({
      branches: { a: 'undoing' },
    });
    expect(situation(plan, sent('a', 'try'), sent('a', 'try')).branches).toMatchObject({ a: 'called' });
    expect(situation(plan, sent('a', 'try'), ongoing('a', 'try')).effects[0]).toBe('try a');
  });
});

describe('branches', () => {
  it('can join while trying', () => {
    const joined = [registered(branch('c')), ...tried('c')];
    expect(situation(plan, ...joined)).toMatchObject({ branches: { a: 'waiting', c: 'done' } });
    expect(situation(plan, registered(branch('c'))).effects).toContain('try c');
    expect(specsOf(plan, trying(registered(branch('c')))).map(({ name }) => name)).toEqual(['a', 'b', 'c']);
    expect(() => situation(plan, ...both, commit, registered(branch('c')))).toThrow(
      'registered in confirming',
    );
  });

  it('whose try the initiator calls are confirmed or cancelled with the others', () => {
    const events = [registered(presumed('c'))];
    expect(situation(empty, ...events)).toEqual({
      status: 'trying',
      effects: ['wake 60000'],
      branches: { c: 'called' },
    });
    expect(situation(empty, ...events, commit).effects).toEqual(['confirm c']);
    expect(situation(empty, ...events, abort).effects).toEqual(['cancel c']);
  });

  it('get the payload of their try again, unless they have one of their own', () => {
    const fed = planTcc({
      name: 'fed',
      branches: [
        branch('a', { try: { address: 'http://a/try', payload: { n: 1 } } }),
        branch('b', {
          confirm: { address: 'http://b/confirm', inject: { hold: { from: 'b', path: ['hold'] } } },
          cancel: { address: 'http://b/cancel', payload: 'own' },
        }),
        presumed('c'),
      ],
    });
    const all = [...tried('a'), sent('b', 'try'), done('b', 'try', { hold: 7 })];
    const confirming = stateAfter(fed, ...all, commit);
    expect(callOf(fed, confirming, 'a')).toMatchObject({
      address: 'http://a/confirm',
      payload: { value: { n: 1 } },
    });
    expect(callOf(fed, confirming, 'b').payload).toEqual({ kind: 'ready', value: { hold: 7 } });
    expect(callOf(fed, confirming, 'c').payload).toEqual({ kind: 'ready', value: undefined });
    expect(callOf(fed, stateAfter(fed, ...all, abort), 'b').payload).toEqual({ kind: 'ready', value: 'own' });
    expect(branches(fed, evolve(fed, confirming, done('b', 'confirm')))[1]).toMatchObject({
      status: 'confirmed',
      result: { hold: 7 },
    });
  });

  it('tell a cancel the result of a try that answered late, until its first attempt', () => {
    const cancel = { address: 'http://a/cancel', inject: { hold: { from: 'a', path: ['hold'] } } };
    const fed = planTcc({ name: 'fed', branches: [branch('a', { cancel })] });
    const late = done('a', 'try', { hold: 7 });
    const seven = { kind: 'ready', value: { hold: 7 } };
    const payload = (...events: readonly Event[]) =>
      callOf(fed, stateAfter(fed, sent('a', 'try'), abort, ...events), 'a').payload;
    expect(payload(late)).toEqual(seven);
    expect(payload(late, done('a', 'try', { hold: 8 }))).toEqual(seven);
    expect(payload(unknown('a', 'try'))).toEqual({ kind: 'ready', value: {} });
    expect(payload(unknown('a', 'cancel'), late)).toEqual({ kind: 'ready', value: {} });
  });

  it('may refer to no result but their own', () => {
    const stranger = {
      ...plan,
      branches: plan.branches.map((spec) => ({
        ...spec,
        confirm: { address: 'x', inject: { n: { from: 'z', path: [] } } },
      })),
    };
    expect(callOf(stranger, stateAfter(stranger, ...both, commit), 'a').payload).toMatchObject({ value: {} });
  });
});

describe('D3: after a crash', () => {
  it('every try may have been called', () => {
    expect(situation(plan, recovered, abort).effects).toEqual(['cancel a', 'cancel b']);
    expect(situation(plan, sent('a', 'try'), recovered, refused('a', 'try')).effects).toEqual([
      'cancel a',
      'cancel b',
    ]);
    expect(situation(plan, ...tried('a'), recovered).branches).toEqual({ a: 'done', b: 'called' });
  });

  // covers A17
  it('a decision stands', () => {
    for (const decision of [commit, abort]) {
      const events = [...both, decision];
      expect(situation(plan, ...events, recovered)).toEqual(situation(plan, ...events));
    }
  });
});

describe('what people may do', () => {
  it('a skipped branch lets the others settle', () => {
    const events = [...both, commit, skip('a')];
    expect(situation(plan, ...events)).toMatchObject({
      status: 'confirming',
      effects: ['confirm b'],
      branches: { a: 'skipped' },
    });
    expect(situation(plan, ...events, done('b', 'confirm')).status).toBe('committed');
    expect(situation(plan, ...events, done('a', 'confirm'))).toEqual(situation(plan, ...events));
  });

  it('retry-now changes no state, and a forgotten transaction does nothing any more', () => {
    expect(situation(plan, ...both, retryNow)).toEqual(situation(plan, ...both));
    expect(situation(plan, ...both, forget)).toEqual({
      status: 'forgotten',
      effects: [],
      branches: { a: 'done', b: 'done' },
    });
  });

  it.each<[string, readonly Event[], Event]>([
    ['abort after the decision', [...both, commit], abort],
    ['force-abort after the end', [abort], forceAbort],
    ['forget after the end', [abort], forget],
    ['retry after the end', [abort], retryNow],
    ['skip while trying', both, skip('a')],
    ['skip what is settled', [...both, commit, done('a', 'confirm')], skip('a')],
    ['skip after the end', [abort], skip('a')],
    ['call a stranger', [], sent('stranger', 'try')],
  ])('stops at once, as at a defect of ours, when told to %s', (_, events, event) => {
    expect(() => situation(plan, ...events, event)).toThrow(AssertionError);
  });
});

describe('foreign data', () => {
  it('is loud', () => {
    expect(() => evolve(plan, stateAfter(plan), { kind: 'odd', at: 0 } as never)).toThrow('event of a TCC');
    expect(() => situation(plan, sent('a', 'try'), answered('a', 'try', { kind: 'odd' } as never))).toThrow(
      'outcome',
    );
    expect(() => situationOf(plan, { kind: 'odd', branches: [] } as never)).toThrow('state of a TCC');
  });
});
