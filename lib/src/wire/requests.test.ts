import { describe, expect, expectTypeOf, it } from 'vitest';
import type { ActionRequest, SubmitRequest } from '../core/coordinator.ts';
import { isGid, parseGid } from '../core/ids.ts';
import type { Definition } from '../core/patterns.ts';
import { planOf } from '../core/patterns.ts';
import type { RetryPolicy } from '../core/retry-policy.ts';
import {
  actionSchema,
  gidSchema,
  submitBody,
  submitSchema,
  toAction,
  toSubmit,
  type ActionBody,
} from './requests.ts';
import { parse } from './schema.ts';

const retry: RetryPolicy = { kind: 'exponential', baseMs: 100, factor: 2, maxMs: 1_000, attemptsMax: 3 };
const call = {
  address: 'http://127.0.0.1:4000/x',
  payload: { a: [1, null] },
  inject: { total: { from: 'input', path: ['sum', '0'], optional: true } },
} as const;
const plain = { address: 'https://bank.example/' };

/** Between them every member that a definition can have. */
const definitions: readonly Definition[] = [
  { pattern: 'saga', name: 'least', steps: [{ name: 'a', action: plain }] },
  {
    pattern: 'saga',
    name: 'most',
    input: { sum: [1] },
    timeoutMs: 5_000,
    callTimeoutMs: 100,
    steps: [
      { name: 'a', action: call, compensation: call, retry, onExhausted: 'park' },
      { name: 'b', action: plain, after: [], onExhausted: 'compensate', compensation: plain },
      { name: 'c', action: plain, after: ['a', 'b'], pivot: true },
    ],
  },
  { pattern: 'tcc', name: 'least' },
  {
    pattern: 'tcc',
    name: 'most',
    timeoutMs: 1,
    callTimeoutMs: 100,
    decide: 'when-all-tried',
    branches: [
      { name: 'a', try: call, confirm: plain, cancel: call, retry },
      { name: 'b', try: plain, confirm: call, cancel: plain },
    ],
  },
  { pattern: 'message', name: 'least', targets: [{ name: 'a', deliver: plain }] },
  {
    pattern: 'message',
    name: 'most',
    callTimeoutMs: 100,
    check: { ...plain, payload: 1 },
    checkAfterMs: 0,
    delayMs: 10,
    targets: [{ name: 'a', deliver: { ...plain, payload: null }, retry }],
    order: 'sequence',
  },
];

describe('a definition', () => {
  it.each(definitions)(
    'of pattern $pattern ($name) is on the other side what it was on this',
    (definition) => {
      const request: SubmitRequest = { definition, gid: parseGid('g-1'), waitMs: 7 };
      const body: unknown = JSON.parse(JSON.stringify(submitBody(request)));
      const parsed = parse(submitSchema, body);
      expect(parsed).toMatchObject({ kind: 'valid' });
      expect(parsed.kind === 'valid' && toSubmit(parsed.value)).toEqual(request);
    },
  );

  it('is taken without the kind of its retry policy, of which there is one', () => {
    const { kind: _, ...bare } = retry;
    const steps = [{ name: 'a', action: { url: plain.address }, retry: bare }];
    const parsed = parse(submitSchema, { pattern: 'saga', name: 'n', steps });
    expect(parsed.kind).toBe('valid');
    if (parsed.kind !== 'valid') return;
    expect(planOf(toSubmit(parsed.value).definition)).toMatchObject({ steps: [{ retry }] });
  });
});

describe('a gid', () => {
  it('has the same shape on the wire as in core', () => {
    for (const gid of [
      'a',
      'A-z_0:9~',
      'x'.repeat(128),
      '',
      'x'.repeat(129),
      'a.b',
      'a b',
      'ä',
      'a\n',
      '\na',
      'a/b',
    ]) {
      expect(parse(gidSchema, gid).kind === 'valid').toBe(isGid(gid));
    }
  });
});

describe('an action', () => {
  it('says whatever core can be asked for, save for who asks', () => {
    expectTypeOf<ActionBody['action']>().toEqualTypeOf<ActionRequest['action']>();
    const parsed = parse(actionSchema, { action: 'forget', reason: 'gone', unresolved: ['a'], waitMs: 5 });
    expect(parsed.kind).toBe('valid');
    if (parsed.kind !== 'valid') return;
    expect(toAction(parsed.value, 'ops')).toEqual({
      action: 'forget',
      reason: 'gone',
      unresolved: ['a'],
      actor: 'ops',
    });
  });
});
