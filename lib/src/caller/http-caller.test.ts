import { describe, expect, it } from 'vitest';
import { parseBranchName, parseGid } from '../core/ids.ts';
import type { BranchCall } from '../engine/ports.ts';
import { allowAddresses } from '../http/allow-addresses.ts';
import type { HttpExchange, HttpReply, HttpRequest } from '../http/exchange.ts';
import { parseSecret, verify } from '../wire/signature.ts';
import { httpCaller, type HttpCallerOptions } from './http-caller.ts';

const nowMs = 1_700_000_000_000;
const signal = new AbortController().signal;
const asked: BranchCall = {
  gid: parseGid('g1'),
  branch: parseBranchName('reserve'),
  op: 'action',
  address: 'http://127.0.0.1:3000/reserve?a=1',
  payload: { sku: 'tea' },
  attempt: 2,
  timeoutMs: 700,
};
const created: HttpReply = {
  kind: 'response',
  status: 201,
  headers: { 'content-type': 'application/json', 'settle-barrier': 'stored' },
  body: '7',
};

function callerOver(reply: HttpReply | Error, options: Partial<HttpCallerOptions> = {}) {
  const requests: HttpRequest[] = [];
  const exchange: HttpExchange = (request) => {
    requests.push(request);
    return reply instanceof Error ? Promise.reject(reply) : Promise.resolve(reply);
  };
  const whyNotAllowed = allowAddresses([{ kind: 'loopback' }]);
  return { requests, caller: httpCaller({ exchange, whyNotAllowed, now: () => nowMs, ...options }) };
}

describe('a branch call over HTTP', () => {
  it('posts the payload with the headers of the protocol, within the limits', async () => {
    const { caller, requests } = callerOver(created);
    const reply = await caller.call(asked, signal);
    expect(reply).toEqual({ outcome: { kind: 'done', result: 7 }, repeatable: true });
    expect(requests).toEqual([
      {
        origin: 'http://127.0.0.1:3000',
        path: '/reserve?a=1',
        method: 'POST',
        headers: {
          'content-type': 'application/json',
          'settle-gid': 'g1',
          'settle-branch': 'reserve',
          'settle-op': 'action',
          'settle-attempt': '2',
          'webhook-id': 'g1:reserve:action',
        },
        body: '{"sku":"tea"}',
        timeoutMs: 700,
        maxResponseBytes: 65_536,
      },
    ]);
  });

  it('signs with every secret of the origin', async () => {
    const secrets = [1, 2].map((fill) => parseSecret(`whsec_${Buffer.alloc(24, fill).toString('base64')}`));
    const { caller, requests } = callerOver(created, {
      secretsOf: (origin) => (origin === 'http://127.0.0.1:3000' ? secrets : []),
    });
    await caller.call(asked, signal);
    await caller.call({ ...asked, address: 'http://127.0.0.1:4000/' }, signal);
    const [first, second] = requests;
    for (const secret of secrets) {
      const received = {
        id: first?.headers['webhook-id'],
        timestamp: first?.headers['webhook-timestamp'],
        signature: first?.headers['webhook-signature'],
        body: first?.body ?? '',
      };
      expect(verify([secret], received, { nowMs }).kind).toBe('valid');
    }
    expect(second?.headers).not.toHaveProperty('webhook-signature');
  });

  it('sends no body for no payload, and the trace it is given', async () => {
    const { caller, requests } = callerOver(created, { traceparent: () => '00-a-b-01' });
    await caller.call({ ...asked, payload: undefined }, signal);
    expect(requests[0]).toMatchObject({ body: '', headers: { traceparent: '00-a-b-01' } });
  });

  it('opens nothing for an address that is not allowed, and calls it misconfigured', async () => {
    const { caller, requests } = callerOver(created);
    const reply = await caller.call({ ...asked, address: 'http://169.254.169.254/' }, signal);
    expect(reply).toMatchObject({ outcome: { kind: 'unknown', misconfigured: true }, repeatable: false });
    expect(requests).toEqual([]);
  });

  it('says before anything is stored why an address may not be called', () => {
    const { caller } = callerOver(created);
    expect(caller.whyNotAllowed(asked.address)).toBeUndefined();
    expect(caller.whyNotAllowed('http://10.0.0.1/')).toMatch(/not on the list/);
  });

  it('shares a destination among the paths of an origin', () => {
    const { caller } = callerOver(created);
    expect(caller.destinationOf(asked.address)).toBe('http://127.0.0.1:3000');
    expect(caller.destinationOf('nonsense')).toBe('nonsense');
  });

  it('is unknown when the exchange breaks its promise and rejects', async () => {
    const { caller } = callerOver(new Error('broken'));
    expect((await caller.call(asked, signal)).outcome).toMatchObject({ kind: 'unknown' });
  });
});
