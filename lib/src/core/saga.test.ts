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
import { planSaga, type SagaStepDefinition } from './saga-plan.ts';
import type { Event } from './protocol.ts';

function step(name: string, more: Partial<SagaStepDefinition> = {}): SagaStepDefinition {
  return {
    name,
    action: { address: `http://${name}/do` },
    compensation: { address: `http://${name}/undo` },
    ...more,
  };
}

/** Cannot be undone. */
function final(name: string, more: Partial<SagaStepDefinition> = {}): SagaStepDefinition {
  return { name, action: { address: `http://${name}/do` }, ...more };
}

const attempts = (attemptsMax: number) => ({
  retry: { kind: 'exponential', baseMs: 1, factor: 2, maxMs: 10, attemptsMax } as const,
});

const two = planSaga({ name: 'two', steps: [step('a'), step('b')] });
const timed = planSaga({ name: 'timed', timeoutMs: 1_000, steps: [step('a'), step('b')] });
/** a, then b beside c, then d. */
const diamond = planSaga({
  name: 'diamond',
  steps: [
    step('a'),
    step('b', { after: ['a'] }),
    step('c', { after: ['a'] }),
    step('d', { after: ['b', 'c'] }),
  ],
});
const pivoted = planSaga({
  name: 'pivoted',
  timeoutMs: 1_000,
  steps: [step('a', attempts(2)), final('p', { pivot: true, ...attempts(2) }), final('z')],
});

describe('on the way forward', () => {
  it('asks the steps one after the other', () => {
    expect(situation(two)).toEqual({
      status: 'running',
      effects: ['action a'],
      branches: { a: 'waiting', b: 'waiting' },
    });
    expect(situation(two, sent('a'))).toMatchObject({ effects: ['action a'], branches: { a: 'called' } });
    expect(situation(two, ...passed('a')).effects).toEqual(['action b']);
  });

  it('commits when the last step is done', () => {
    expect(situation(two, ...passed('a'), ...passed('b'))).toEqual({
      status: 'committed',
      effects: [],
      branches: { a: 'done', b: 'done' },
    });
  });

  it('asks steps side by side as soon as all they come after is done', () => {
    expect(situation(diamond, ...passed('a')).effects).toEqual(['action b', 'action c']);
    expect(situation(diamond, ...passed('a'), ...passed('c')).effects).toEqual(['action b']);
    expect(situation(diamond, ...passed('a'), ...passed('c'), ...passed('b')).effects).toEqual(['action d']);
  });

  it('asks again while the answer is ongoing or unknown', () => {
    expect(situation(two, sent('a'), ongoing('a')).effects).toEqual(['action a']);
    const state = stateAfter(two, sent('a'), unknown('a'), unknown('a'));
    expect(callOf(two, state, 'a').attempts).toBe(2);
    expect(branches(two, state)[0]).toMatchObject({ status: 'called', attempts: 2, reason: 'timeout' });
  });

  it('passes input and results of earlier steps on by fixed path', () => {
    const plan = planSaga({
      name: 'fed',
      input: { user: 'eva' },
      steps: [
        step('a'),
        step('b', {
          action: {
            address: 'http://b/do',
            payload: { fixed: 1 },
            inject: { user: { from: 'input', path: ['user'] }, id: { from: 'a', path: ['id'] } },
          },
        }),
      ],
    });
    expect(callOf(plan, stateAfter(plan, ...passed('a', 'action', { id: 7 })), 'b').payload).toEqual({
      kind: 'ready',
      value: { fixed: 1, user: 'eva', id: 7 },
    });
    expect(callOf(plan, stateAfter(plan, ...passed('a')), 'b').payload).toEqual({
      kind: 'missing',
      reference: 'a.id',
    });
    expect(callOf(plan, stateAfter(plan, sent('a'), skip('a')), 'b').payload.kind).toBe('missing');
  });

  it('calls with the retry policy of the step, or the default one', () => {
    expect(callOf(pivoted, stateAfter(pivoted), 'a').retry.attemptsMax).toBe(2);
    expect(callOf(two, stateAfter(two), 'a').retry).toMatchObject({ baseMs: 200, maxMs: 30_000 });
  });

  it('ignores an answer nobody waits for any more', () => {
    for (const late of [done('a'), refused('a'), unknown('a')]) {
      expect(situation(two, ...passed('a'), late)).toEqual(situation(two, ...passed('a')));
      expect(situation(two, ...passed('a'), ...passed('b'), late).status).toBe('committed');
    }
    expect(situation(two, sent('a'), done('a', 'compensate')).branches).toMatchObject({ a: 'called' });
  });

  it('takes a repeated call of a step that is done for no news', () => {
    expect(situation(two, ...passed('a'), sent('a')).branches).toMatchObject({ a: 'done' });
    expect(situation(two, sent('a', 'compensate')).branches).toMatchObject({ a: 'waiting' });
  });
});

describe('S2, S3: what leads to compensation, and what is compensated', () => {
  it.each<[string, readonly Event[]]>([
    ['a refusal', [sent('b'), refused('b')]],
    ['an abort', [abort]],
    ['a forced abort', [forceAbort]],
  ])('%s undoes what is done', (_, events) => {
    expect(situation(two, ...passed('a'), ...events)).toMatchObject({
      status: 'compensating',
      effects: ['compensate a'],
    });
  });

  it('aborts at once when nothing was asked yet', () => {
    expect(situation(two, abort)).toEqual({
      status: 'aborted',
      effects: [],
      branches: { a: 'waiting', b: 'waiting' },
    });
  });

  it('aborts at once when the first step refuses', () => {
    const state = stateAfter(two, sent('a'), refused('a', 'action', 'sold out'));
    expect(situationOf(two, state)).toMatchObject({ status: 'aborted', branches: { a: 'refused' } });
    expect(state).toMatchObject({ reason: 'a refused: sold out' });
  });

  it('compensates a step whose call is still under way', () => {
    expect(situation(two, sent('a'), abort)).toMatchObject({
      status: 'compensating',
      branches: { a: 'undoing', b: 'waiting' },
    });
  });

  it('compensates a step whose last outcome is unknown', () => {
    expect(situation(two, sent('a'), unknown('a'), abort).branches).toMatchObject({ a: 'undoing' });
  });

  it('compensates a step that refused after an attempt without an answer', () => {
    expect(situation(two, sent('a'), unknown('a'), refused('a'))).toMatchObject({
      status: 'compensating',
      effects: ['compensate a'],
    });
  });

  it('compensates neighbours that were called, and not those that were not', () => {
    expect(situation(diamond, ...passed('a'), sent('b'), sent('c'), refused('b')).branches).toEqual({
      a: 'undoing',
      b: 'refused',
      c: 'undoing',
      d: 'waiting',
    });
    expect(situation(diamond, ...passed('a'), sent('b'), refused('b')).branches).toMatchObject({
      c: 'waiting',
    });
  });

  it('leaves a step without compensation as it is', () => {
    const plan = planSaga({ name: 'final', steps: [final('a'), step('b'), step('c')] });
    expect(situation(plan, ...passed('a'), ...passed('b'), abort)).toMatchObject({
      effects: ['compensate b'],
      branches: { a: 'done' },
    });
    expect(situation(plan, sent('a'), abort)).toMatchObject({
      status: 'aborted',
      branches: { a: 'called' },
    });
  });

  it('compensates at the deadline, not before', () => {
    expect(situation(timed).effects).toEqual(['action a', 'wake 1000']);
    expect(situation(timed, ...passed('a'), clock(999)).status).toBe('running');
    const late = stateAfter(timed, ...passed('a'), clock(1_000));
    expect(late).toMatchObject({ kind: 'compensating', reason: 'not finished within 1000 ms' });
  });

  it('knows no deadline unless it was given one, nor after the decision', () => {
    expect(situation(two, clock(1e12)).status).toBe('running');
    expect(situation(timed, ...passed('a'), ...passed('b'), clock(1e12)).status).toBe('committed');
  });

  it('shows a late success of what nothing undoes', () => {
    const plan = planSaga({
      name: 'late',
      steps: [step('a'), final('b', { after: [] }), step('c', { after: [] })],
    });
    const events = [...passed('a'), sent('b'), sent('c'), refused('c')];
    expect(situation(plan, ...events, done('b', 'action', 5)).branches).toMatchObject({ b: 'done' });
    expect(situation(plan, ...events, unknown('b')).branches).toMatchObject({ b: 'called' });
    expect(situation(plan, ...events, done('c')).branches).toMatchObject({ c: 'refused' });
  });
});

const withSecond = (more: Partial<SagaStepDefinition>) =>
  planSaga({ name: 'x', steps: [step('a'), step('b', more)] });
const asked = (...events: readonly Event[]) => [...passed('a'), sent('b'), ...events];

describe('S2: used-up attempts', () => {
  it('compensate by default, the unknown step included', () => {
    const plan = withSecond(attempts(2));
    expect(situation(plan, ...asked(unknown('b'))).status).toBe('running');
    expect(stateAfter(plan, ...asked(...times(2, unknown('b'))))).toMatchObject({
      kind: 'compensating',
      reason: 'b gave no answer in 2 attempts: timeout',
    });
    expect(situation(plan, ...asked(...times(2, unknown('b')))).effects).toEqual(['compensate b']);
  });

  it('park the step when it says so, until somebody retries it', () => {
    const plan = withSecond({ ...attempts(1), onExhausted: 'park' });
    const events = asked(unknown('b'));
    expect(situation(plan, ...events)).toMatchObject({
      status: 'running',
      effects: [],
      branches: { b: 'parked' },
    });
    expect(situation(plan, ...events, retryNow).effects).toEqual(['action b']);
    expect(situation(plan, ...events, retryNow, refused('b')).branches).toMatchObject({ b: 'undoing' });
    expect(situation(plan, ...events, abort).branches).toMatchObject({ b: 'undoing' });
    expect(situation(plan, ...events, done('b')).branches).toMatchObject({ b: 'parked' });
  });

  it('come sooner for answers that no retry is likely to mend', () => {
    expect(situation(two, sent('a'), ...times(4, misconfigured('a'))).status).toBe('running');
    expect(situation(two, sent('a'), ...times(5, misconfigured('a'))).status).toBe('compensating');
    expect(situation(two, sent('a'), ...times(100, unknown('a'))).status).toBe('running');
    expect(situation(withSecond(attempts(2)), ...asked(...times(2, misconfigured('b')))).status).toBe(
      'compensating',
    );
  });
});

describe('S4: on the way back', () => {
  const forward = [...passed('a'), ...passed('b'), ...passed('c'), sent('d'), refused('d')];

  it('undoes in the exact reverse of the way forward, side by side where that was so', () => {
    expect(situation(diamond, ...forward).effects).toEqual(['compensate c', 'compensate b']);
    expect(situation(diamond, ...forward, done('b', 'compensate')).effects).toEqual(['compensate c']);
    expect(situation(diamond, ...forward, done('b', 'compensate'), done('c', 'compensate')).effects).toEqual([
      'compensate a',
    ]);
  });

  it('keeps the order across a step that has nothing to undo', () => {
    const plan = planSaga({ name: 'gap', steps: [step('a'), final('b'), step('c'), step('d')] });
    const events = [...passed('a'), ...passed('b'), ...passed('c'), abort];
    expect(situation(plan, ...events).effects).toEqual(['compensate c']);
    expect(situation(plan, ...events, done('c', 'compensate')).effects).toEqual(['compensate a']);
  });

  it('is aborted only when everything is undone', () => {
    const events = [...passed('a'), abort];
    expect(situation(two, ...events, done('a', 'compensate'))).toEqual({
      status: 'aborted',
      effects: [],
      branches: { a: 'undone', b: 'waiting' },
    });
  });

  it('S5: asks a compensation again until it is done, whatever it answers', () => {
    const events = [...passed('a'), abort];
    for (const answer of [refused, unknown, misconfigured, ongoing]) {
      expect(situation(two, ...events, ...times(50, answer('a', 'compensate')))).toMatchObject({
        status: 'compensating',
        effects: ['compensate a'],
      });
    }
    const state = stateAfter(two, ...events, refused('a', 'compensate'), unknown('a', 'compensate'));
    expect(callOf(two, state, 'a').attempts).toBe(2);
    expect(branches(two, state)[0]).toMatchObject({ op: 'compensate', reason: 'timeout' });
  });

  it('counts a repeated answer of a compensation once', () => {
    const events = [...passed('a'), sent('b'), abort, done('b', 'compensate')];
    expect(situation(two, ...events, done('b', 'compensate'))).toEqual(situation(two, ...events));
  });

  it('hands a compensation the payload of its action unless it has its own', () => {
    const plan = planSaga({
      name: 'payloads',
      input: { n: 3 },
      steps: [
        step('a', { action: { address: 'http://a/do', inject: { n: { from: 'input', path: ['n'] } } } }),
        step('b', { compensation: { address: 'http://b/undo', payload: { own: true } } }),
        step('c', {
          compensation: {
            address: 'http://c/undo',
            inject: { id: { from: 'c', path: ['id'] }, a: { from: 'a', path: [] } },
          },
        }),
      ],
    });
    const at = [...passed('a', 'action', 'A'), ...passed('b'), sent('c')];
    expect(callOf(plan, stateAfter(plan, ...at, abort), 'c')).toMatchObject({
      address: 'http://c/undo',
      payload: { kind: 'ready', value: { a: 'A' } },
    });
    const b = stateAfter(plan, ...at, abort, done('c', 'compensate'));
    expect(callOf(plan, b, 'b').payload).toEqual({ kind: 'ready', value: { own: true } });
    const a = evolve(plan, b, done('b', 'compensate'));
    expect(callOf(plan, a, 'a')).toMatchObject({
      address: 'http://a/undo',
      payload: { kind: 'ready', value: { n: 3 } },
    });
  });

  it('tells a compensation the result of an action that answered late, until its first attempt', () => {
    const plan = planSaga({
      name: 'late',
      steps: [
        step('a', {
          compensation: { address: 'http://a/undo', inject: { id: { from: 'a', path: ['id'] } } },
        }),
      ],
    });
    const late = done('a', 'action', { id: 7 });
    const seven = { kind: 'ready', value: { id: 7 } };
    const payload = (...events: readonly Event[]) =>
      callOf(plan, stateAfter(plan, sent('a'), abort, ...events), 'a').payload;
    expect(payload(late)).toEqual(seven);
    expect(payload(late, done('a', 'action', { id: 8 }))).toEqual(seven);
    expect(payload(unknown('a'))).toEqual({ kind: 'ready', value: {} });
    expect(payload(unknown('a', 'compensate'), late)).toEqual({ kind: 'ready', value: {} });
  });
});

describe('S2: the pivot', () => {
  it('decides to commit when it is done', () => {
    expect(situation(pivoted, ...passed('a'), ...passed('p'))).toEqual({
      status: 'finishing',
      effects: ['action z'],
      branches: { a: 'done', p: 'done', z: 'waiting' },
    });
  });

  it('lets everything be undone when it refuses', () => {
    expect(situation(pivoted, ...passed('a'), sent('p'), refused('p'))).toMatchObject({
      status: 'compensating',
      branches: { a: 'undoing', p: 'refused', z: 'waiting' },
    });
  });

  it('does not stand in the way of an abort before it is asked', () => {
    expect(situation(pivoted, ...passed('a'), abort).status).toBe('compensating');
  });

  it('is asked again before an abort or the deadline is honoured', () => {
    for (const wish of [abort, clock(1_000)]) {
      const events = [...passed('a'), sent('p'), wish];
      expect(situation(pivoted, ...events)).toMatchObject({ status: 'running', effects: ['action p'] });
      expect(situation(pivoted, ...events, done('p')).status).toBe('finishing');
      expect(situation(pivoted, ...events, refused('p')).status).toBe('compensating');
    }
    expect(stateAfter(pivoted, ...passed('a'), sent('p'), abort, abort, refused('p'))).toMatchObject({
      reason: 'asked for',
    });
  });

  it('is parked when it gives no answer, for only a person can tell', () => {
    const events = [...passed('a'), sent('p'), ...times(2, unknown('p'))];
    expect(situation(pivoted, ...events)).toMatchObject({
      status: 'running',
      effects: ['wake 1000'],
      branches: { p: 'parked' },
    });
    expect(situation(pivoted, ...events, abort).status).toBe('running');
    expect(situation(pivoted, ...events, abort, retryNow, refused('p')).status).toBe('compensating');
    expect(situation(pivoted, ...events, skip('p')).status).toBe('finishing');
    expect(situation(pivoted, ...events, forceAbort).status).toBe('compensating');
  });

  it('keeps an earlier step from being given up while it may have happened', () => {
    const events = [recovered, ...times(2, unknown('a'))];
    expect(situation(pivoted, ...events)).toMatchObject({ status: 'running', effects: ['action a'] });
    expect(situation(pivoted, ...events, done('a')).effects).toEqual(['action p']);
    expect(situation(pivoted, ...events, done('a'), done('p')).status).toBe('finishing');
    expect(stateAfter(pivoted, ...events, unknown('a'), done('a'), refused('p'))).toMatchObject({
      kind: 'compensating',
      reason: 'a gave no answer in 2 attempts: timeout',
    });
  });

  it('leaves no way back: what comes after it is asked until it is done', () => {
    const events = [...passed('a'), ...passed('p'), sent('z')];
    for (const answer of [refused, unknown, misconfigured]) {
      expect(situation(pivoted, ...events, ...times(50, answer('z')))).toMatchObject({
        status: 'finishing',
        effects: ['action z'],
      });
    }
    expect(situation(pivoted, ...events, clock(1e9)).status).toBe('finishing');
    expect(situation(pivoted, ...events, done('z')).status).toBe('committed');
  });

  it('wakes steps that were parked beside others when the decision falls', () => {
    const plan = planSaga({
      name: 'x',
      steps: [final('p', { pivot: true }), final('y', { after: ['p'] }), final('z', { after: ['p'] })],
    });
    expect(situation(plan, ...passed('p')).effects).toEqual(['action y', 'action z']);
  });
});

describe('D3: after a crash', () => {
  it('every step may have been called, whatever was written', () => {
    expect(situation(two, recovered)).toEqual({
      status: 'running',
      effects: ['action a'],
      branches: { a: 'called', b: 'called' },
    });
    expect(situation(two, recovered, abort).branches).toEqual({ a: 'undoing', b: 'undoing' });
  });

  // covers A7
  it('a refusal does not prove that nothing happened', () => {
    expect(situation(two, recovered, refused('a')).branches).toMatchObject({ a: 'undoing' });
    expect(situation(two, sent('a'), recovered, refused('a')).branches).toMatchObject({ a: 'undoing' });
  });

  it('what is done stays done', () => {
    expect(situation(two, ...passed('a'), recovered).branches).toEqual({ a: 'done', b: 'called' });
  });

  it('nothing behind a parked step was called', () => {
    const plan = planSaga({
      name: 'x',
      steps: [
        step('a', { ...attempts(1), onExhausted: 'park' }),
        step('b'),
        step('c'),
        step('d', { after: [] }),
      ],
    });
    expect(situation(plan, sent('a'), unknown('a'), recovered).branches).toEqual({
      a: 'parked',
      b: 'waiting',
      c: 'waiting',
      d: 'called',
    });
  });

  // covers A8
  it('a decision stands, and compensation goes on in reverse', () => {
    const back = [...passed('a'), sent('b'), abort];
    expect(situation(two, ...back, recovered)).toEqual(situation(two, ...back));
    expect(situation(pivoted, ...passed('a'), ...passed('p'), recovered)).toMatchObject({
      status: 'finishing',
      branches: { z: 'called' },
    });
  });
});

describe('what people may do', () => {
  it('a forced commit leaves only the way forward', () => {
    const events = [sent('a'), forceCommit];
    expect(situation(two, ...events)).toMatchObject({ status: 'finishing', effects: ['action a'] });
    expect(situation(two, ...events, refused('a')).status).toBe('finishing');
    expect(situation(two, ...events, done('a'), ...passed('b')).status).toBe('committed');
  });

  it('a skipped step counts as passed, and stays as its person left it', () => {
    expect(situation(two, sent('a'), skip('a')).effects).toEqual(['action b']);
    expect(situation(two, sent('a'), skip('a'), done('a'), skip('b'))).toMatchObject({
      status: 'committed',
      branches: { a: 'skipped', b: 'skipped' },
    });
    expect(situation(two, sent('a'), skip('a'), abort)).toMatchObject({
      status: 'aborted',
      branches: { a: 'skipped' },
    });
  });

  it('a skipped compensation lets the others go on', () => {
    const events = [...passed('a'), sent('b'), abort, skip('b')];
    expect(situation(two, ...events)).toMatchObject({
      effects: ['compensate a'],
      branches: { b: 'skipped' },
    });
    expect(situation(two, ...events, skip('a')).status).toBe('aborted');
  });

  it('retry-now changes nothing on the way back', () => {
    expect(situation(two, ...passed('a'), abort, retryNow)).toEqual(situation(two, ...passed('a'), abort));
  });

  it('a forgotten saga does nothing any more', () => {
    expect(situation(two, ...passed('a'), sent('b'), forget)).toEqual({
      status: 'forgotten',
      effects: [],
      branches: { a: 'done', b: 'called' },
    });
    expect(situation(two, sent('a'), forget, done('a')).branches).toMatchObject({ a: 'called' });
    expect(situation(two, forget, recovered).status).toBe('forgotten');
  });

  it.each<[string, readonly Event[], Event]>([
    ['abort after the end', [...passed('a'), ...passed('b')], abort],
    ['abort twice', [...passed('a'), abort], abort],
    ['force-abort after the end', [abort], forceAbort],
    ['force-commit after the end', [abort], forceCommit],
    ['forget after the end', [abort], forget],
    ['retry after the end', [abort], retryNow],
    ['skip what is done', passed('a'), skip('a')],
    ['skip what is not to be undone', [...passed('a'), abort], skip('b')],
    ['skip after the end', [abort], skip('a')],
    ['commit', [], commit],
    ['register', [], { kind: 'registered', at: 0, branches: [] }],
    ['call a stranger', [], sent('stranger')],
  ])('stops at once, as at a defect of ours, when told to %s', (_, events, event) => {
    expect(() => situation(two, ...events, event)).toThrow(AssertionError);
  });
});

describe('foreign data', () => {
  it('is loud', () => {
    expect(() => evolve(two, stateAfter(two), { kind: 'odd', at: 0 } as never)).toThrow('event of a saga');
    expect(() => situation(two, sent('a'), answered('a', 'action', { kind: 'odd' } as never))).toThrow(
      'outcome',
    );
    expect(() => situationOf(two, { kind: 'odd', steps: [] } as never)).toThrow('state of a saga');
    expect(() => situationOf(two, { ...stateAfter(two), steps: [] } as never)).not.toThrow();
  });
});
