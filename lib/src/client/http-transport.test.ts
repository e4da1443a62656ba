import { describe, expect, it } from 'vitest';
import type { HttpExchange, HttpReply, HttpRequest } from '../http/exchange.ts';
import type { Gid } from '../core/ids.ts';
import type { TransactionView } from '../core/patterns.ts';
import { SettleError } from '../util/errors.ts';
import { toProblem } from '../wire/problem.ts';
import { connect } from './connect.ts';
import { followEvents, parseEvents } from './follow-events.ts';
import { newGid, type Settle } from './settle.ts';

const view: TransactionView = {
  gid: 'g' as Gid,
  pattern: 'saga',
  name: 's',
  status: 'committed',
  stuck: false,
  createdAtMs: 1,
  updatedAtMs: 1,
  branches: [],
};

const ok: HttpReply = { kind: 'response', status: 200, headers: {}, body: JSON.stringify(view) };
const lost: HttpReply = { kind: 'failed', failure: 'reset', sent: true, detail: 'reset' };
const neverLeft: HttpReply = { kind: 'failed', failure: 'refused-connection', sent: false, detail: 'no' };

function problem(code: ConstructorParameters<typeof SettleError>[0], retryAfterMs = 0): HttpReply {
  const body = toProblem(new SettleError(code, 'said so', { retryAfterMs }), 'g');
  return { kind: 'response', status: body.status, headers: {}, body: JSON.stringify(body) };
}

/** A client whose coordinator gives these answers, in order, and the requests it saw. */
function scripted(...replies: readonly HttpReply[]): {
  readonly settle: Settle;
  readonly seen: HttpRequest[];
} {
  const seen: HttpRequest[] = [];
  const left = [...replies];
  const exchange: HttpExchange = async (request) => {
    seen.push(request);
    return left.shift() ?? neverLeft;
  };
  const patience = { forMs: 5_000, baseMs: 1, maxMs: 1 };
  return { settle: connect('http://127.0.0.1:1/base/', { exchange, apiKey: 'k', patience }), seen };
}

const definition = {
  pattern: 'saga',
  name: 's',
  steps: [{ name: 'a', action: { address: 'http://x/' } }],
} as const;

describe('a submit over HTTP', () => {
  // covers F3
  it('carries one gid through every attempt', async () => {
    const { settle, seen } = scripted(lost, problem('overloaded'), problem('unavailable'), ok);
    await expect(settle.submit(definition)).resolves.toMatchObject({ status: 'committed' });
    const gids = seen.map(({ body }) => (JSON.parse(body ?? '') as { gid: string }).gid);
    expect(gids).toHaveLength(4);
    expect(new Set(gids).size).toBe(1);
    expect(gids[0]).toMatch(/^[0-9A-HJKMNP-TV-Z]{26}$/);
  });

  it('goes below the base URL, with the key', async () => {
    const { settle, seen } = scripted(ok);
    await settle.submit(definition);
    expect(seen[0]).toMatchObject({
      origin: 'http://127.0.0.1:1',
      path: '/base/v1/transactions',
      headers: { authorization: 'Bearer k' },
    });
  });

  it.each(['gid_conflict', 'invalid_definition', 'address_not_allowed', 'unauthenticated'] as const)(
    'is not repeated after %s',
    async (code) => {
      const { settle, seen } = scripted(problem(code), ok);
      await expect(settle.submit(definition)).rejects.toMatchObject({ code, gid: 'g' });
      expect(seen).toHaveLength(1);
    },
  );

  it('gives up when the pause it is asked for is longer than its patience', async () => {
    const { settle, seen } = scripted(problem('overloaded', 60_000), ok);
    await expect(settle.submit(definition)).rejects.toMatchObject({
      code: 'overloaded',
      retryAfterMs: 60_000,
    });
    expect(seen).toHaveLength(1);
  });

  it.each(['<html>', '[]', '{}', 'null', ''])('takes %j for no answer of a coordinator', async (body) => {
    const { settle } = scripted({ kind: 'response', status: 200, headers: {}, body });
    await expect(settle.submit(definition)).rejects.toMatchObject({ code: 'unavailable' });
  });

  it('is not repeated once the signal aborted', async () => {
    const stop = new AbortController();
    const { settle, seen } = scripted(problem('overloaded', 2_000), ok);
    const waiting = settle.submit(definition, { signal: stop.signal });
    setImmediate(() => stop.abort(new Error('enough')));
    await expect(waiting).rejects.toThrow('enough');
    expect(seen).toHaveLength(1);
  });
});

describe('an operator’s action over HTTP', () => {
  it('is repeated when it surely did not arrive', async () => {
    const { settle, seen } = scripted(neverLeft, problem('overloaded'), ok);
    await settle.act(newGid(), { action: 'force-commit', reason: 'r' });
    expect(seen).toHaveLength(3);
  });

  it.each([lost, problem('unavailable')])('is not repeated when it may have arrived', async (reply) => {
    const { settle, seen } = scripted(reply, ok);
    await expect(settle.act(newGid(), { action: 'force-commit', reason: 'r' })).rejects.toMatchObject({
      code: 'unavailable',
    });
    expect(seen).toHaveLength(1);
  });

  it('is repeated when it is an abort, which finds itself done', async () => {
    const { settle, seen } = scripted(lost, ok);
    await settle.abort(newGid(), 'r');
    expect(seen).toHaveLength(2);
  });
});

describe('connect', () => {
  it.each(['', 'localhost:1', 'ftp://x', 'http://user:secret@x'])('refuses %j as a URL', (url) => {
    expect(() => connect(url)).toThrow(/^invalid_request: the URL of the coordinator /);
  });
});

describe('the stream of events', () => {
  it('is read whatever the chunks', async () => {
    const bytes = new TextEncoder().encode(
      ': hi\n\nevent: a\ndata: 1\ndata: ü\n\r\nevent:b\r\ndata:2\r\n\r\n',
    );
    for (let size = 1; size < bytes.length; size++) {
      const seen: unknown[] = [];
      for await (const event of parseEvents(pieces(bytes, size))) seen.push(event);
      expect(seen).toEqual([
        { name: 'a', data: '1\nü' },
        { name: 'b', data: '2' },
      ]);
    }
  });

  it.each([
    ['event: dropped\ndata: {}\n\n', 'too slow'],
    ['event: closing\ndata: {}\n\n', 'shuts down'],
    ['', 'ended'],
  ])('tells that changes may have been missed after %j', async (text, why) => {
    const fetch = async () => new Response(text);
    const reading = (async () => {
      for await (const _ of followEvents({ url: 'http://x', headers: {}, fetch, signal: undefined })) void _;
    })();
    await expect(reading).rejects.toThrow(new RegExp(`^unavailable: changes may have been missed: .*${why}`));
  });
});

async function* pieces(bytes: Uint8Array, size: number): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
}
