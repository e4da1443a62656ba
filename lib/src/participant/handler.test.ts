import { describe, expect, it, vi } from 'vitest';
import { parseBranchName, parseGid } from '../core/ids.ts';
import { Ongoing, Refused } from '../define/answers.ts';
import { SettleError } from '../util/errors.ts';
import { printCallHeaders, type CallHeaders } from '../wire/headers.ts';
import { parseSecret, sign } from '../wire/signature.ts';
import { definitionsHandler } from './definitions.ts';
import { handler, type HandlerOptions, type ParticipantCall, type Work } from './handler.ts';
import { keepAnswer } from './kept-answers.ts';
import type { HandlerRequest, HandlerResponse } from './message.ts';

const call: CallHeaders = { gid: parseGid('g'), branch: parseBranchName('b'), op: 'action', attempt: 1 };

function request(change: Partial<HandlerRequest> = {}): HandlerRequest {
  return { method: 'POST', path: '/', headers: printCallHeaders(call), body: '{"a":1}', ...change };
}

function answer(
  work: Work,
  change?: Partial<HandlerRequest>,
  options?: HandlerOptions,
): Promise<HandlerResponse> {
  return handler(work, options)(request(change));
}

describe('what a participant answers', () => {
  it('hands over the call, and answers 200 with the result', async () => {
    let seen: ParticipantCall | undefined;
    const reply = await answer((asked) => {
      seen = asked;
      return { ok: true };
    });
    expect(seen).toEqual({ ...call, payload: { a: 1 }, signal: expect.any(AbortSignal) as unknown });
    expect(reply).toEqual({
      status: 200,
      headers: { 'content-type': 'application/json' },
      body: '{"ok":true}',
    });
  });

  it('answers 204 when there is no result, and takes a call without payload', async () => {
    expect(await answer(({ payload }) => payload, { body: '' })).toEqual({
      status: 204,
      headers: {},
      body: '',
    });
  });

  it('answers 409 to Refused, with the reason', async () => {
    const reply = await answer(() => Promise.reject(new Refused('no money')));
    expect(reply).toMatchObject({ status: 409, body: '{"reason":"no money"}' });
  });

  it('answers 425 to Ongoing, with whole seconds', async () => {
    expect(await answer(() => Promise.reject(new Ongoing(1_200)))).toEqual({
      status: 425,
      headers: { 'retry-after': '2' },
      body: '',
    });
    expect(await answer(() => Promise.reject(new Ongoing()))).toEqual({ status: 425, headers: {}, body: '' });
  });

  it('answers 500 to anything else, with an id for the log and not a word of the error', async () => {
    const logged: string[] = [];
    const onError: HandlerOptions['onError'] = (error, { id }) => void logged.push(`${id} ${String(error)}`);
    const reply = await answer(() => Promise.reject(new Error('password=canary')), {}, { onError });
    expect(reply.status).toBe(500);
    expect(reply.body).not.toContain('canary');
    expect(logged).toEqual([`${(JSON.parse(reply.body) as { id: string }).id} Error: password=canary`]);
  });

  it('logs such an error by default, with the same id', async () => {
    const log = vi.spyOn(console, 'error').mockImplementation(() => undefined);
    const error = new Error('broken');
    const { id } = JSON.parse((await answer(() => Promise.reject(error))).body) as { id: string };
    expect(log.mock.calls).toEqual([[expect.stringContaining(id), error]]);
    log.mockRestore();
  });

  it('never answers 409 or 425 to an error of ours', async () => {
    for (const code of ['barrier_conflict', 'gid_conflict', 'illegal_action', 'unavailable'] as const) {
      const reply = await answer(
        () => Promise.reject(new SettleError(code, 'x')),
        {},
        { onError: () => undefined },
      );
      expect(reply.status).toBe(code === 'unavailable' ? 503 : 500);
    }
  });

  it('answers 500 to a result that is no JSON', async () => {
    const work = (() => ({ n: 1n })) as unknown as Work;
    expect((await answer(work, {}, { onError: () => undefined })).status).toBe(500);
  });

  it('says that the answer is kept exactly when the barrier kept this answer', async () => {
    const result = { a: 1 };
    const kept = await answer((asked) => {
      keepAnswer(asked, { kind: 'returned', result });
      return result;
    });
    expect(kept.headers).toHaveProperty('settle-barrier', 'stored');
    const changed = await answer((asked) => {
      keepAnswer(asked, { kind: 'returned', result });
      return { ...result };
    });
    expect(changed.headers).not.toHaveProperty('settle-barrier');
  });

  it.each([
    ['GET', { method: 'GET' }, 405],
    ['no gid', { headers: { ...printCallHeaders(call), 'settle-gid': undefined } }, 400],
    ['an unknown op', { headers: { ...printCallHeaders(call), 'settle-op': 'drop' } }, 400],
    ['another content type', { headers: { ...printCallHeaders(call), 'content-type': 'text/plain' } }, 415],
    ['broken JSON', { body: '{"a":' }, 400],
    ['deep JSON', { body: '['.repeat(17) + ']'.repeat(17) }, 400],
    ['a prototype', { body: '{"__proto__":{"x":1}}' }, 400],
    ['bytes that are not UTF-8', { body: new Uint8Array([0xc3, 0x28]) }, 400],
    ['a payload that is too large', { body: `"${'x'.repeat(300)}"` }, 413],
    ['a payload that is too large in bytes only', { body: `"${'ü'.repeat(200)}"` }, 413],
  ] as [string, Partial<HandlerRequest>, number][])(
    'refuses %s without doing anything',
    async (_what, change, status) => {
      let runs = 0;
      const reply = await answer(() => void runs++, change, { bodyBytesMax: 256 });
      expect([reply.status, runs]).toEqual([status, 0]);
      expect(reply.headers['content-type']).toBe('application/problem+json');
    },
  );

  it('serves one work by operation, and 422 for the others', async () => {
    const served = handler({ try: () => 1, cancel: () => 2 });
    const ask = async (op: CallHeaders['op']): Promise<unknown[]> => {
      const { status, body } = await served(request({ headers: printCallHeaders({ ...call, op }) }));
      return [status, status === 200 ? body : ''];
    };
    expect([await ask('try'), await ask('cancel'), await ask('confirm')]).toEqual([
      [200, '1'],
      [200, '2'],
      [422, ''],
    ]);
  });
});

describe('a participant with secrets', () => {
  const texts = [1, 2].map((fill) => `whsec_${Buffer.alloc(32, fill).toString('base64')}`);
  const [old, current] = texts.map(parseSecret);
  const nowMs = 1_700_000_000_000;
  const options: HandlerOptions = { secrets: texts, now: () => nowMs };

  function signed(secret = current, from: CallHeaders = call, at = nowMs): HandlerRequest['headers'] {
    const headers = printCallHeaders(from);
    const timestamp = String(at / 1_000);
    const parts = { id: headers['webhook-id'] ?? '', timestamp, body: '{"a":1}' };
    return {
      ...headers,
      'webhook-timestamp': timestamp,
      'webhook-signature': sign(secret === undefined ? [] : [secret], parts),
    };
  }

  const stranger = parseSecret(`whsec_${Buffer.alloc(32, 3).toString('base64')}`);
  const moved = { ...signed(), 'settle-op': 'compensate' };
  const elsewhere = { ...signed(), 'settle-gid': 'other' };
  it.each([
    ['takes the current secret', { headers: signed() }, 200],
    ['takes the old secret while both are there', { headers: signed(old) }, 200],
    ['refuses a call that is not signed', {}, 401],
    ['refuses another secret', { headers: signed(stranger) }, 401],
    ['refuses a body that was changed', { headers: signed(), body: '{"a":2}' }, 401],
    ['refuses a replay after 5 minutes', { headers: signed(current, call, nowMs - 301_000) }, 401],
    ['refuses a signature moved to another operation', { headers: moved }, 401],
    ['refuses a signature moved to another transaction', { headers: elsewhere }, 401],
  ] as [string, Partial<HandlerRequest>, number][])('%s', async (_what, change, status) => {
    let runs = 0;
    const reply = await answer(() => ++runs, change, options);
    expect([reply.status, runs]).toEqual([status, status === 200 ? 1 : 0]);
  });

  it('does not start with a secret it cannot read', () => {
    expect(() => handler(() => 1, { secrets: ['secret'] })).toThrow('config_invalid');
  });
});

describe('definitions served to a coordinator elsewhere', () => {
  const functions = new Map([
    ['fn:order/b/action', { call: () => Promise.resolve(1), idempotent: true }],
    ['fn:order/b/compensate', { call: () => Promise.resolve(undefined), idempotent: false }],
  ]);
  const served = definitionsHandler([{ name: 'order', functions }]);

  it('finds the function by the end of the path and the operation', async () => {
    expect(await served(request({ path: '/any/where/order/b?x=1' }))).toMatchObject({
      status: 200,
      body: '1',
    });
    const undo = request({ path: '/order/b', headers: printCallHeaders({ ...call, op: 'compensate' }) });
    expect(await served(undo)).toEqual({ status: 204, headers: {}, body: '' });
  });

  it('announces a function declared idempotent', async () => {
    expect((await served(request({ path: '/order/b' }))).headers).toHaveProperty('settle-barrier', 'stored');
  });

  it.each(['/order/other', '/other/b', '/b', '/', '', '/__proto__/constructor'])(
    'answers 422 at %j',
    async (path) => {
      expect((await served(request({ path }))).status).toBe(422);
    },
  );

  it('refuses two definitions of one name', () => {
    expect(() =>
      definitionsHandler([
        { name: 'a', functions },
        { name: 'a', functions },
      ]),
    ).toThrow('invalid_definition');
  });
});
