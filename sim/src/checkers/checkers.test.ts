/** Each invariant on a history that keeps it and on histories that break it. */
import { describe, expect, it } from 'vitest';
import { parseBranchName } from '../../../lib/src/core/ids.ts';
import type { Event } from '../../../lib/src/core/protocol.ts';
import { engineLimits } from '../../../lib/src/engine/limits.ts';
import type { FinalDump, History } from '../history.ts';
import type { Checker } from './checker.ts';
import { atomicity } from './i01-atomicity.ts';
import { decisionBeforeEffect } from './i02-decision-before-effect.ts';
import { oneDecision } from './i03-one-decision.ts';
import { noLostAcknowledgement } from './i04-no-lost-acknowledgement.ts';
import { conservation } from './i05-conservation.ts';
import { oneEffect } from './i06-one-effect.ts';
import { undoAndSuspension } from './i07-undo-and-suspension.ts';
import { terminalStability } from './i08-terminal-stability.ts';
import { legalTransitions } from './i09-legal-transitions.ts';
import { boundedSettle } from './i10-bounded-settle.ts';
import { noResidue } from './i11-no-residue.ts';
import { idempotentSubmit } from './i12-idempotent-submit.ts';
import { sagaOrder } from './i13-saga-order.ts';
import { messageIffCommit } from './i14-message-iff-commit.ts';
import { fencing } from './i16-fencing.ts';
import { bounds } from './i17-bounds.ts';
import { truthfulAnswers } from './i18-truthful-answers.ts';
import { checkers } from './index.ts';
import {
  answered,
  callOf,
  complaints,
  effectsOf,
  g,
  handledOf,
  historyOf,
  intentOf,
  intentsOf,
  leaseOf,
  messageOf,
  no,
  operationOf,
  rowOf,
  sagaOf,
  tccOf,
  told,
  write,
  writesOf,
} from './made-up-history.ts';

type Parts = Parameters<typeof historyOf>[0];
type Case = readonly [title: string, history: Parts, complaint?: string];

const saga = sagaOf('a', 'b');
const tcc = tccOf('a', 'b');
const message = messageOf('x', 'y');
const timeout = { kind: 'unknown', reason: 'timeout' } as const;

const bothDone: readonly Event[] = [...answered('a', 'action'), ...answered('b', 'action')];
const bRefused: readonly Event[] = [...answered('a', 'action'), ...answered('b', 'action', no)];
const undone: readonly Event[] = [...bRefused, ...answered('a', 'compensate')];
const bothTried: readonly Event[] = [...answered('a', 'try'), ...answered('b', 'try')];
const confirmed: readonly Event[] = [...bothTried, ...answered('a', 'confirm'), ...answered('b', 'confirm')];
const cancelled: readonly Event[] = [
  ...answered('a', 'try'),
  ...answered('b', 'try', no),
  ...answered('a', 'cancel'),
];
const submitted: Event = { kind: 'commit', at: 0 };
const delivered: readonly Event[] = [submitted, ...answered('x', 'action'), ...answered('y', 'action')];

const running = rowOf(saga);
const aDone = rowOf(saga, answered('a', 'action'));
const committed = rowOf(saga, bothDone);
const compensating = rowOf(saga, bRefused);
const aborted = rowOf(saga, undone);
const forgotten = rowOf(saga, [{ kind: 'forget', at: 0, reason: '' }], { actions: [['forget', 'operator']] });
const ends = (...rows: FinalDump['rows']): { readonly final: Partial<FinalDump> } => ({ final: { rows } });

function suite(checker: Checker, cases: readonly Case[]): void {
  describe(`${checker.id}: ${checker.title}`, () => {
    for (const [title, parts, complaint] of cases) {
      it(`is ${complaint === undefined ? 'kept' : 'broken'} when ${title}`, () => {
        const found = complaints(checker, historyOf(parts));
        // One complaint may bring others with it.
        expect(found.filter((what) => what.includes(complaint ?? ''))).toHaveLength(
          complaint === undefined ? 0 : 1,
        );
      });
    }
  });
}

suite(atomicity, [
  [
    'all actions of a committed saga stand',
    { ...ends(committed), handled: handledOf(['action', 'a'], ['action', 'b']) },
  ],
  [
    'what an aborted saga did is undone',
    { ...ends(aborted), handled: handledOf(['action', 'a'], ['compensate', 'a']) },
  ],
  ['a person forgot it', { ...ends(forgotten), handled: handledOf(['action', 'a']) }],
  ['nothing was stored and nothing done', { operations: [operationOf({})] }],
  [
    'an action of an aborted saga stands',
    { ...ends(aborted), handled: handledOf(['action', 'a']) },
    'a stands, yet it is aborted',
  ],
  [
    'a committed saga lacks an action',
    { ...ends(committed), handled: handledOf(['action', 'a']) },
    'b has no action',
  ],
  [
    'a branch of a committed saga is undone',
    { ...ends(committed), handled: handledOf(['action', 'a'], ['action', 'b'], ['compensate', 'a']) },
    'a is undone, yet it is committed',
  ],
  [
    'the pivot of an aborted saga stands',
    {
      ...ends(
        rowOf(
          { ...saga, steps: [{ name: 'p', pivot: true, action: { address: 'http://bank/p' } }] },
          answered('p', 'action', no),
        ),
      ),
      handled: handledOf(['action', 'p']),
    },
    'p is a pivot, and stands',
  ],
  [
    'one branch is confirmed and another cancelled',
    { ...ends(rowOf(tcc, bothTried)), handled: handledOf(['confirm', 'a'], ['cancel', 'b']) },
    'one branch is confirmed and another cancelled',
  ],
  [
    'a try of an aborted TCC is left',
    { ...ends(rowOf(tcc, cancelled)), handled: handledOf(['try', 'a']) },
    'a stands, yet it is aborted',
  ],
  ['a participant worked for what was never stored', { handled: handledOf(['action', 'a']) }, 'never stored'],
]);

suite(decisionBeforeEffect, [
  ['the first call leaves after the insert', { calls: [callOf('action', 'a', { durable: running })] }],
  [
    'a compensation leaves once the decision is durable',
    { calls: [callOf('compensate', 'a', { durable: compensating })] },
  ],
  ['an answer that is repeated needs no write', { calls: [callOf('action', 'b', { durable: running })] }],
  [
    'a call leaves before the insert',
    { calls: [callOf('action', 'a')] },
    'before the transaction was durable',
  ],
  [
    'a compensation leaves before the decision is durable',
    { calls: [callOf('compensate', 'a', { durable: aDone })] },
    'compensate a left while the durable status was running',
  ],
  [
    'a confirm leaves while it is trying',
    { calls: [callOf('confirm', 'a', { durable: rowOf(tcc) })] },
    'confirm a left while',
  ],
  [
    'a delivery leaves while it is prepared',
    { calls: [callOf('action', 'x', { durable: rowOf(message) })] },
    'was prepared',
  ],
  [
    'an answer that may not be repeated was not written',
    {
      intents: intentsOf(intentOf(saga, { a: { announces: false } })),
      calls: [callOf('action', 'b', { durable: running })],
    },
    'while a, which may answer a repeat differently, was durably waiting',
  ],
]);

suite(oneDecision, [
  ['it goes one way', { writes: writesOf(running, compensating, aborted) }],
  [
    'it turns round',
    { writes: writesOf(running, compensating, committed) },
    'abort was durable before coordinator-1#1 wrote committed',
  ],
]);

suite(noLostAcknowledgement, [
  [
    'it is stored, then answered, then ends',
    { operations: [operationOf({ answer: told(running, 9) })], writes: writesOf(running, committed) },
  ],
  ['nobody was answered', { operations: [operationOf({})] }],
  [
    'it is answered and not there',
    { operations: [operationOf({ answer: told(running, 9) })] },
    'it was never stored',
  ],
  [
    'it is answered before it is stored',
    { operations: [operationOf({ answer: told(running, 3) })], writes: writesOf(running, committed) },
    'answered before it was stored',
  ],
  [
    'it never ends',
    { operations: [operationOf({ answer: told(running, 9) })], writes: writesOf(running) },
    'it stays running',
  ],
]);

const account = { participant: 'bank', account: 'a', opening: 0, balance: 0, held: 0, overdraft: true };
suite(conservation, [
  [
    'both sides moved',
    {
      ...ends(committed),
      intents: intentsOf(intentOf(saga, { a: { delta: 5 }, b: { delta: -5 } })),
      effects: effectsOf(['action', 'a', 5], ['action', 'b', -5]),
    },
  ],
  [
    'one side was undone',
    {
      ...ends(aborted),
      intents: intentsOf(intentOf(saga, { a: { delta: 5 }, b: { delta: -5 } })),
      effects: effectsOf(['action', 'a', 5], ['compensate', 'a', -5]),
    },
  ],
  [
    'one side moved alone',
    {
      ...ends(aborted),
      intents: intentsOf(intentOf(saga, { a: { delta: 5 }, b: { delta: -5 } })),
      effects: effectsOf(['action', 'a', 5]),
    },
    'it is aborted, and a moved 5 instead of 0',
  ],
  ['an account goes below zero', { effects: effectsOf(['action', 'a', -1]) }, 'left bank/a with -1'],
  [
    'the books do not show what happened',
    { final: { accounts: [{ ...account, balance: 3 }] } },
    'bank/a ends with 3 instead of 0',
  ],
]);

suite(oneEffect, [
  [
    'each worked once',
    { ...ends(committed), handled: handledOf(['action', 'a'], ['action', 'a', 'repeated'], ['action', 'b']) },
  ],
  [
    'an action worked twice',
    { handled: handledOf(['action', 'a'], ['action', 'a']) },
    'action a took effect again',
  ],
  [
    'a branch is reported done and never worked',
    { ...ends(aDone) },
    'a is reported done, and its action never worked',
  ],
  [
    'a confirm is reported and never worked',
    { ...ends(rowOf(tcc, confirmed)), handled: handledOf(['confirm', 'a']) },
    'b is reported confirmed',
  ],
]);

suite(undoAndSuspension, [
  ['an undo follows its action', { handled: handledOf(['action', 'a'], ['compensate', 'a']) }],
  [
    'an undo finds nothing, and the late action is refused',
    { handled: handledOf(['cancel', 'a', 'null'], ['try', 'a', 'suspended']) },
  ],
  ['an undo works on nothing', { handled: handledOf(['compensate', 'a']) }, 'compensate a worked on nothing'],
  ['an undo of nothing moves money', { effects: effectsOf(['cancel', 'a', 5]) }, 'there was nothing to undo'],
  [
    'an action takes effect after its undo',
    { handled: handledOf(['cancel', 'a', 'null'], ['try', 'a']) },
    'took effect after its undo',
  ],
  ['what was never tried is confirmed', { handled: handledOf(['confirm', 'a']) }, 'was never tried'],
]);

const reads = (first: typeof running, second: typeof running): Parts => ({
  operations: [
    operationOf({ seq: 1, request: { kind: 'get' }, answer: told(first, 20) }),
    operationOf({ seq: 30, request: { kind: 'get' }, by: 'client-2', answer: told(second, 40) }),
  ],
});
suite(terminalStability, [
  ['all reads after the end agree', reads(committed, committed)],
  [
    'a read that began before the end differs',
    {
      operations: [
        ...(reads(committed, committed).operations ?? []),
        operationOf({ seq: 10, answer: told(running, 50) }),
      ],
    },
  ],
  [
    'a later read denies the end',
    reads(committed, running),
    'client-1 was told committed, and later client-2 running',
  ],
  [
    'the end is written over',
    { operations: [operationOf({ answer: told(committed, 6) })], writes: writesOf(running, aborted) },
    'later it was written to be aborted',
  ],
]);

const timedOut = rowOf(tcc, [{ kind: 'clock', at: 60_000 }]);
suite(legalTransitions, [
  ['a saga is compensated', { writes: writesOf(running, compensating, aborted) }],
  [
    'it goes back to what it was',
    { writes: writesOf(running, compensating, running) },
    'compensating was followed by running',
  ],
  ['what has ended goes on', { writes: writesOf(committed, aborted) }, 'committed was followed by aborted'],
  [
    'a revision is left out',
    { writes: [write({ before: running, after: { ...aDone, revision: 3 } })] },
    'revision 1 was followed by 3',
  ],
  [
    'a plan changes',
    { writes: [write({ before: running, after: { ...aDone, revision: 2, plan: '{}' } })] },
    'what never changes',
  ],
  [
    'it is inserted over another',
    { writes: [write({ kind: 'insert', before: running, after: running })] },
    'inserted over',
  ],
  [
    'what is unfinished is pruned',
    { writes: [write({ kind: 'prune', before: running })] },
    'pruned while running',
  ],
  [
    'a deadline strikes in time',
    {
      operations: [operationOf({})],
      writes: writesOf(rowOf(tcc), timedOut).map((w) => ({ ...w, at: 60_000 })),
    },
  ],
  [
    'a deadline strikes before its time',
    { operations: [operationOf({})], writes: writesOf(rowOf(tcc), timedOut).map((w) => ({ ...w, at: 900 })) },
    'its deadline of 60000 ms struck 900 ms after it was first submitted',
  ],
  [
    'what has ended is due',
    { writes: [write({ kind: 'insert', after: { ...committed, dueAtMs: 5 } })] },
    'due at 5',
  ],
]);

const parked = rowOf(
  {
    ...saga,
    steps: [
      {
        name: 'a',
        action: { address: 'x' },
        onExhausted: 'park',
        retry: { kind: 'exponential', baseMs: 1, factor: 1, maxMs: 1, attemptsMax: 1 },
      },
    ],
  },
  answered('a', 'action', timeout),
  { stuck: true },
);
const missing = { kind: 'unknown', reason: 'no result at a.out, which its payload needs' } as const;
const skippedAndMissed: readonly Event[] = [
  { kind: 'skip-branch', at: 0, branch: parseBranchName('a'), reason: 'by hand' },
  ...answered('b', 'action', missing),
];
suite(boundedSettle, [
  ['it has ended in time', { writes: writesOf(running, committed) }],
  ['it waits for a person', ends(parked)],
  [
    'it can never end by the workload',
    { ...ends(running), intents: intentsOf({ ...intentOf(saga), hopeless: true }) },
  ],
  [
    'it wants the result of a branch that a person skipped',
    ends(rowOf(saga, skippedAndMissed, { actions: [['skip-branch', 'operator']], stuck: true })),
  ],
  [
    'it wants a result, and nobody skipped anything',
    ends(rowOf(saga, skippedAndMissed, { stuck: true })),
    'running (stuck) 60000 ms after the faults stopped',
  ],
  ['it is still under way', ends(running), 'running 60000 ms after the faults stopped'],
  [
    'it ended late',
    { writes: writesOf(running, committed).map((w) => ({ ...w, at: 70_000 })), endedAt: 80_000 },
    'settled 70000 ms after the faults stopped',
  ],
]);

const coordinator = { coordinator: 'c', transactions: 0, writesWaiting: 0, timers: 3, callsUnderWay: 0 };
suite(noResidue, [
  [
    'what was held is given back',
    { ...ends(rowOf(tcc, cancelled)), effects: effectsOf(['try', 'a', -5, 5], ['cancel', 'a', 5, -5]) },
  ],
  [
    'what is cancelled still holds',
    { ...ends(rowOf(tcc, cancelled)), effects: effectsOf(['try', 'a', -5, 5]) },
    'holds 5 at bank/a',
  ],
  [
    'a coordinator remembers',
    { final: { coordinators: [{ ...coordinator, transactions: 1 }] } },
    '1 transactions in memory',
  ],
  [
    'a coordinator still writes',
    { final: { coordinators: [{ ...coordinator, writesWaiting: 2 }] } },
    '2 writes waiting',
  ],
  [
    'there are more leases than coordinators',
    {
      leases: [leaseOf('renewed', 1, 1), leaseOf('renewed', 2, 2)],
      final: { leases: [1, 2], coordinators: [coordinator] },
    },
    '2 leases are kept by 1 coordinators',
  ],
]);

const conflict = { kind: 'error', code: 'gid_conflict', message: '', seq: 30, at: 0 } as const;
suite(idempotentSubmit, [
  [
    'a repeat is accepted and another definition refused',
    {
      operations: [
        operationOf({ answer: told(running, 9) }),
        operationOf({ seq: 20, answer: told(running, 29) }),
        operationOf({ seq: 21, fingerprint: 'two', answer: conflict }),
      ],
    },
  ],
  [
    'two definitions are accepted',
    {
      operations: [
        operationOf({ answer: told(running, 9) }),
        operationOf({ seq: 20, fingerprint: 'two', answer: told(running, 29) }),
      ],
    },
    'accepted with another definition',
  ],
  [
    'a repeat is called a conflict',
    { operations: [operationOf({ answer: told(running, 9) }), operationOf({ seq: 20, answer: conflict })] },
    'a conflict with its own definition',
  ],
  ['it is inserted twice', { writes: [...writesOf(running), ...writesOf(running)] }, 'inserted twice'],
]);

suite(sagaOrder, [
  [
    'forward and back in order',
    {
      ...ends(aborted),
      handled: handledOf(['action', 'a'], ['action', 'b'], ['compensate', 'b'], ['compensate', 'a']),
    },
  ],
  [
    'a step runs before its turn',
    { ...ends(committed), handled: handledOf(['action', 'b'], ['action', 'a']) },
    'b took effect before a',
  ],
  [
    'the first is undone first',
    {
      ...ends(aborted),
      handled: handledOf(['action', 'a'], ['action', 'b'], ['compensate', 'a'], ['compensate', 'b']),
    },
    'a was undone before b',
  ],
]);

const produced = effectsOf(['action', 'producer', -5]);
suite(messageIffCommit, [
  [
    'it is delivered after its producer committed',
    {
      ...ends(rowOf(message, delivered)),
      effects: produced,
      handled: handledOf(['check', 'producer', 'repeated'], ['action', 'x'], ['action', 'y']),
    },
  ],
  [
    'it is dropped, and the producer never committed',
    ends(rowOf(message, [{ kind: 'abort', at: 0, reason: '' }])),
  ],
  [
    'an operator dropped it',
    {
      ...ends(rowOf(message, [{ kind: 'abort', at: 0, reason: '' }], { actions: [['abort', 'operator']] })),
      effects: produced,
    },
  ],
  [
    'it is delivered without its producer',
    { ...ends(rowOf(message, delivered)), handled: handledOf(['action', 'x']) },
    'delivered to x',
  ],
  [
    'it is dropped although its producer committed',
    {
      ...ends(rowOf(message, [{ kind: 'abort', at: 0, reason: '' }], { actions: [['abort', 'client-1']] })),
      effects: produced,
    },
    'dropped, and the producer committed',
  ],
  [
    'the producer commits after its check-back said no',
    {
      ...ends(rowOf(message)),
      handled: handledOf(['check', 'producer', 'refused']).map((h) => ({ ...h, seq: 50 })),
      effects: produced,
    },
    'committed after its check-back said no',
  ],
  ['it is committed and its producer is not', ends(rowOf(message, delivered)), 'the producer is not'],
]);

const { leaseMs } = engineLimits;
const claim = (at: number, after = { epoch: 2 }): Parts => ({
  leases: [leaseOf('joined', 1, 1)],
  writes: [
    write({
      kind: 'claim',
      at,
      seq: at,
      writerEpoch: 2,
      before: running,
      after: { ...running, revision: 2, ...after },
    }),
  ],
});
suite(fencing, [
  ['an update rests on what stands there', { writes: writesOf(running, aDone) }],
  ['what an expired owner left is claimed', claim(leaseMs + 2)],
  [
    'a call leaves under a live lease',
    { leases: [leaseOf('joined', 1, 1)], calls: [callOf('action', 'a', { at: 100, seq: 100 })] },
  ],
  [
    'a stale owner writes',
    {
      writes: [
        write({
          before: { ...running, epoch: 2, revision: 2 },
          after: aDone,
          expected: { epoch: 1, revision: 1 },
        }),
      ],
    },
    'resting on epoch 1 and revision 1; there were epoch 2 and revision 2',
  ],
  ['a claim leaves the owner as it was', claim(leaseMs + 2, { epoch: 1 }), 'left epoch 1 its owner'],
  ['a living owner is claimed from', claim(leaseMs - 1), 'whose lease lived for another 2 ms'],
  [
    'a call leaves long after the lease',
    { leases: [leaseOf('joined', 1, 1)], calls: [callOf('action', 'a', { at: 2 * leaseMs, seq: 99_999 })] },
    'after its lease had run out',
  ],
]);

const sample = {
  seq: 1,
  at: 0,
  coordinator: 'c',
  transactions: 1,
  writesWaiting: 1,
  callsPerDestinationMax: 1,
  timers: 3,
};
const asked = (attempt: number, at: number, wishMs?: number): History['calls'][number] =>
  callOf('action', 'a', {
    attempt,
    at,
    seq: at,
    reply: {
      seq: at,
      at,
      repeatable: false,
      outcome: { ...timeout, ...(wishMs === undefined ? {} : { retryAfterMs: wishMs }) },
    },
  });
const retryNow = { kind: 'act', action: 'retry-now' } as const;
suite(bounds, [
  ['everything is within its limits', { bounds: [sample], calls: [asked(1, 0), asked(2, 200)] }],
  [
    'too many calls go to one destination',
    { bounds: [{ ...sample, callsPerDestinationMax: 999 }] },
    '999 calls to one destination; at most 256',
  ],
  [
    'too many transactions are held',
    { bounds: [{ ...sample, transactions: 99_999 }] },
    '99999 transactions in memory',
  ],
  [
    'a wish to wait is ignored',
    { calls: [asked(1, 10, 3_000), asked(2, 15)] },
    'asked again after 5 ms; it wished for 3000',
  ],
  [
    'a person who asked before it was answered ends the pause',
    {
      calls: [asked(1, 10, 3_000), asked(2, 15)],
      operations: [operationOf({ seq: 1, request: retryNow, answer: told(running, 1_000) })],
    },
  ],
  [
    'a person had ended an earlier pause, and a wish to wait is ignored',
    {
      calls: [asked(1, 10, 3_000), asked(2, 15)],
      operations: [operationOf({ seq: 1, request: retryNow, answer: told(running, 2) })],
    },
    'asked again after 5 ms; it wished for 3000',
  ],
  [
    'a participant is stormed',
    { calls: Array.from({ length: 20 }, (_, i) => asked(i + 1, i + 1)) },
    'without a pause',
  ],
]);

suite(truthfulAnswers, [
  [
    'what was read had been written',
    {
      operations: [operationOf({ request: { kind: 'get' }, answer: told(committed, 20) })],
      writes: writesOf(running, committed),
    },
  ],
  [
    'what was read was written later',
    {
      operations: [operationOf({ request: { kind: 'get' }, answer: told(committed, 10) })],
      writes: writesOf(running, committed),
    },
    'told client-1 committed, which was not durable',
  ],
  [
    'nobody knew yet that the store has more',
    {
      operations: [operationOf({ seq: 16, request: { kind: 'get' }, answer: told(running, 20) })],
      writes: writesOf(running, committed),
    },
  ],
  [
    'somebody was told of more before',
    {
      operations: [
        operationOf({ seq: 16, request: { kind: 'get' }, answer: told(compensating, 20) }),
        operationOf({ seq: 21, request: { kind: 'get' }, by: 'client-2', answer: told(running, 25) }),
      ],
      writes: writesOf(running, compensating),
    },
    'told client-2 running; before he asked, client-1 was told compensating',
  ],
  [
    'a commit is answered and not decided',
    {
      operations: [operationOf({ request: { kind: 'commit' }, answer: told(rowOf(tcc), 10) })],
      writes: writesOf(rowOf(tcc)),
    },
    'answered the commit of client-1, and it was durably trying',
  ],
]);

describe('the registry', () => {
  it('names every invariant but I15, once, in order', () => {
    const expected = Array.from({ length: 18 }, (_, i) => `I${i + 1}`).filter((id) => id !== 'I15');
    expect(checkers.map(({ id }) => id)).toEqual(expected);
  });

  it('finds nothing to say about an empty run', () => {
    expect(
      checkers.flatMap((checker) =>
        complaints(checker, historyOf({ intents: new Map([[g, intentOf(saga)]]) })),
      ),
    ).toEqual([]);
  });
});
