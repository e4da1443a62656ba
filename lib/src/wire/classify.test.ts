import { isDeepStrictEqual } from 'node:util';
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Op } from '../core/outcome.ts';
import { classify, phaseOf, reasonLengthMax, type Classified, type RawReply } from './classify.ts';
import { ops } from './headers.ts';

const nowMs = Date.parse('2026-11-21T12:00:00Z');
const retryAfter = { minMs: 50, maxMs: 60_000 };
const json = { 'content-type': 'application/json' };

function ask(op: Op, reply: RawReply) {
  return classify(reply, { op, nowMs, retryAfter });
}

function answer(
  status: number,
  body = '',
  headers: Record<string, string | string[]> = body === '' ? {} : json,
): RawReply {
  return { kind: 'response', status, headers, body };
}

const anyText: unknown = expect.any(String);
const anyList: unknown = expect.any(Array);
const unknown = (misconfigured = false) =>
  misconfigured
    ? { kind: 'unknown', reason: anyText, misconfigured: true }
    : { kind: 'unknown', reason: anyText };

const contrary = { kind: 'unknown', reason: anyText, contrary: true };

// covers C10, R5, R6, R7, R8
describe('what an answer means', () => {
  const rows: [what: string, reply: RawReply, phase1: unknown, phase2?: unknown][] = [
    // covers R1
    ['200 with JSON', answer(200, '{"a":[1]}'), { kind: 'done', result: { a: [1] } }],
    ['200 with null', answer(200, 'null'), { kind: 'done', result: null }],
    [
      '201 with JSON and a charset',
      answer(201, '1', { 'content-type': 'application/json; charset=UTF-8' }),
      { kind: 'done', result: 1 },
    ],
    [
      '200 with a +json type',
      answer(200, '1', { 'content-type': 'application/vnd.a.b+json' }),
      { kind: 'done', result: 1 },
    ],
    [
      '200 with an identity encoding',
      answer(200, '1', { ...json, 'content-encoding': 'identity' }),
      { kind: 'done', result: 1 },
    ],
    ['200 without a body', answer(200), { kind: 'done' }],
    ['202 without a body', answer(202), { kind: 'done' }],
    // covers R1
    ['204', answer(204), { kind: 'done' }],
    ['204 with a body that must not be', answer(204, '<p>'), { kind: 'done' }],
    // covers C4, R2
    ['200 with HTML', answer(200, '<p>ok</p>', { 'content-type': 'text/html' }), unknown()],
    ['200 with JSON declared as text', answer(200, '{}', { 'content-type': 'text/plain' }), unknown()],
    ['200 with JSON that is not declared', answer(200, '{}', {}), unknown()],
    [
      '200 with two content types',
      answer(200, '{}', { 'content-type': ['application/json', 'text/html'] }),
      unknown(),
    ],
    [
      '200 in another charset',
      answer(200, '{}', { 'content-type': 'application/json; charset=utf-16' }),
      unknown(),
    ],
    // covers R2
    ['200 with an encoded body', answer(200, '{}', { ...json, 'content-encoding': 'gzip' }), unknown()],
    // covers C4, R2
    ['200 with a cut body', answer(200, '{"a":'), unknown()],
    // covers C4
    ['200 with NaN', answer(200, 'NaN'), unknown()],
    ['200 with a space', answer(200, ' '), unknown()],
    ['200 with a prototype', answer(200, '{"__proto__":{"admin":true}}'), unknown()],
    ['200 with a member twice', answer(200, '{"a":1,"a":2}'), unknown()],
    ['200 nested 16 deep', answer(200, '['.repeat(16) + ']'.repeat(16)), { kind: 'done', result: anyList }],
    ['200 nested 17 deep', answer(200, '['.repeat(17) + ']'.repeat(17)), unknown()],
    // covers C4
    ['200 nested 30,000 deep', answer(200, '['.repeat(30_000) + ']'.repeat(30_000)), unknown()],
    // covers C8, R3
    [
      '409 with a reason',
      answer(409, '{"reason":"no money"}'),
      { kind: 'refused', reason: 'no money' },
      contrary,
    ],
    [
      '409 with a problem',
      answer(409, '{"detail":"none left"}', { 'content-type': 'application/problem+json' }),
      { kind: 'refused', reason: 'none left' },
      contrary,
    ],
    ['409 without a body', answer(409), { kind: 'refused', reason: 'no reason given' }, contrary],
    [
      '409 with HTML',
      answer(409, '<p>secret</p>', { 'content-type': 'text/html' }),
      { kind: 'refused', reason: 'no reason given' },
      contrary,
    ],
    [
      '409 with broken JSON',
      answer(409, '{"reason":'),
      { kind: 'refused', reason: 'no reason given' },
      contrary,
    ],
    ['409 with a list', answer(409, '["reason"]'), { kind: 'refused', reason: 'no reason given' }, contrary],
    [
      '409 whose reason is no text',
      answer(409, '{"reason":7}'),
      { kind: 'refused', reason: 'no reason given' },
      contrary,
    ],
    [
      '409 whose reason is blank',
      answer(409, '{"reason":" \\n"}'),
      { kind: 'refused', reason: 'no reason given' },
      contrary,
    ],
    [
      '409 that forges log lines',
      answer(409, '{"reason":"a\\n\\u001b[31mb\\u2028c"}'),
      { kind: 'refused', reason: 'a [31mb c' },
      contrary,
    ],
    [
      '409 with a long reason',
      answer(409, JSON.stringify({ reason: 'x'.repeat(9_000) })),
      { kind: 'refused', reason: `${'x'.repeat(reasonLengthMax)}…` },
      contrary,
    ],
    ['425', answer(425), { kind: 'ongoing' }],
    // covers R4
    [
      '425 with Retry-After',
      answer(425, '', { 'retry-after': '3' }),
      { kind: 'ongoing', retryAfterMs: 3_000 },
    ],
    ['429', answer(429), unknown()],
    // covers R4
    ['429 with Retry-After', answer(429, '', { 'retry-after': '7' }), { ...unknown(), retryAfterMs: 7_000 }],
    // covers R4
    ['503 with Retry-After', answer(503, '', { 'retry-after': '7' }), { ...unknown(), retryAfterMs: 7_000 }],
    [
      '503 to be asked again at once',
      answer(503, '', { 'retry-after': '0' }),
      { ...unknown(), retryAfterMs: 50 },
    ],
    // covers C7
    [
      '503 to be asked again in years',
      answer(503, '', { 'retry-after': '999999999' }),
      { ...unknown(), retryAfterMs: 60_000 },
    ],
    ['503 with digits without end', answer(503, '', { 'retry-after': '9'.repeat(400) }), unknown()],
    [
      '503 until a date',
      answer(503, '', { 'retry-after': 'Sat, 21 Nov 2026 12:00:10 GMT' }),
      { ...unknown(), retryAfterMs: 10_000 },
    ],
    // covers C7
    [
      '503 until a date in the past',
      answer(503, '', { 'retry-after': 'Sat, 21 Nov 2020 12:00:00 GMT' }),
      { ...unknown(), retryAfterMs: 50 },
    ],
    ['503 until nonsense', answer(503, '', { 'retry-after': 'soon' }), unknown()],
    ['503 until nothing', answer(503, '', { 'retry-after': ' ' }), unknown()],
    ['503 with two times', answer(503, '', { 'retry-after': ['1', '2'] }), unknown()],
    ['500', answer(500, '{"reason":"secret"}'), unknown()],
    ['502', answer(502), unknown()],
    ['504', answer(504), unknown()],
    ['500 that would like to be asked later', answer(500, '', { 'retry-after': '7' }), unknown()],
    ['408', answer(408), unknown()],
    ...[400, 401, 402, 403, 404, 405, 406, 410, 413, 415, 418, 421, 422, 451].map(
      (status): [string, RawReply, unknown] => [String(status), answer(status), unknown(true)],
    ),
    ...[300, 301, 302, 303, 304, 307, 308].map((status): [string, RawReply, unknown] => [
      String(status),
      answer(status, '', { location: 'http://169.254.169.254/' }),
      unknown(true),
    ]),
    ...[0, 100, 103, 199, 600, 999, -1, 200.5e3, Number.NaN, Number.POSITIVE_INFINITY].map(
      (status): [string, RawReply, unknown] => [`status ${status}`, answer(status), unknown()],
    ),
    ...[
      'timeout',
      'aborted',
      'refused-connection',
      'dns',
      'tls',
      'reset',
      'malformed',
      'too-large',
      'truncated',
      'other',
    ].map((failure): [string, RawReply, unknown] => [
      failure,
      { kind: 'failed', failure, detail: 'it broke' },
      unknown(),
    ]),
    ['blocked-address', { kind: 'failed', failure: 'blocked-address', detail: 'private' }, unknown(true)],
  ];

  it.each(rows)('%s', (_what, reply, phase1, phase2 = phase1) => {
    for (const op of ops) {
      expect(ask(op, reply).outcome).toEqual(phaseOf(op) === 1 ? phase1 : phase2);
    }
  });

  // covers C4
  it('keeps a body that was not asked for out of every reason', () => {
    for (const status of [200, 302, 404, 500, 503]) {
      expect(
        JSON.stringify(ask('action', answer(status, 'canary', { 'content-type': 'text/plain' }))),
      ).not.toContain('canary');
    }
  });
});

describe('whether a repeat gets the same answer', () => {
  const stored = { ...json, 'settle-barrier': 'stored' };

  it.each([
    [answer(200, '1', stored), true],
    [answer(409, '{}', stored), true],
    [answer(200, '1', json), false],
    [answer(200, '1', { ...json, 'settle-barrier': 'maybe' }), false],
    [answer(200, '<p>', stored), false],
    [answer(425, '', stored), false],
    [answer(500, '', stored), false],
  ])('%o: %s', (reply, repeatable) => {
    expect(ask('action', reply).repeatable).toBe(repeatable);
  });

  it('is never said of a refusal that may not be', () => {
    expect(ask('confirm', answer(409, '{}', stored)).repeatable).toBe(false);
  });
});

describe('for every reply there could be', () => {
  const anyHeaders = fc.dictionary(
    fc.oneof(
      fc.constantFrom(
        'content-type',
        'content-encoding',
        'retry-after',
        'settle-barrier',
        '__proto__',
        'constructor',
      ),
      fc.string(),
    ),
    fc.oneof(
      fc.constantFrom('application/json', 'stored', 'gzip', '5', '99999999', '-1', 'Infinity'),
      fc.string(),
      fc.array(fc.string()),
    ),
  );
  const anyReply: fc.Arbitrary<RawReply> = fc.oneof(
    fc.record({
      kind: fc.constant('response' as const),
      status: fc.oneof(
        fc.integer({ min: 100, max: 599 }),
        fc.constantFrom(200, 204, 409, 425, 429, 503),
        fc.double(),
      ),
      headers: anyHeaders,
      body: fc.oneof(fc.json(), fc.string(), fc.constant('')),
    }),
    fc.record({ kind: fc.constant('failed' as const), failure: fc.string(), detail: fc.string() }),
  );
  const anyOp = fc.constantFrom(...ops);

  // covers C7
  it('there is an outcome, and done, refused and waiting times keep to their rules', () => {
    fc.assert(
      fc.property(anyOp, anyReply, (op, reply) => {
        expect(brokenRules(op, reply, ask(op, reply))).toEqual([]);
      }),
      { numRuns: 3_000 },
    );
  });
});

function brokenRules(op: Op, reply: RawReply, { outcome, repeatable }: Classified): string[] {
  const response = reply.kind === 'response' ? reply : undefined;
  const status = response?.status ?? 0;
  const isPlain = status === 204 || response?.body === '';
  const isJson = /json/i.test(String(response?.headers['content-type']));
  const waitMs = 'retryAfterMs' in outcome ? outcome.retryAfterMs : retryAfter.minMs;
  const rules: Record<string, boolean> = {
    'done only for 2xx': outcome.kind !== 'done' || (status >= 200 && status < 300),
    'done only with JSON, or nothing': outcome.kind !== 'done' || isPlain || isJson,
    'the result is the body':
      !('result' in outcome) || isDeepStrictEqual(outcome.result, JSON.parse(response?.body ?? '')),
    'refused only for 409 in phase 1': outcome.kind !== 'refused' || (status === 409 && phaseOf(op) === 1),
    'ongoing only for 425': outcome.kind !== 'ongoing' || status === 425,
    'an unknown is never repeatable': outcome.kind !== 'unknown' || !repeatable,
    'waiting times within limits': waitMs >= retryAfter.minMs && waitMs <= retryAfter.maxMs,
    'reasons are short': !('reason' in outcome) || outcome.reason.length <= 2 * reasonLengthMax,
  };
  return Object.keys(rules).filter((rule) => rules[rule] === false);
}
