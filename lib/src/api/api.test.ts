import { describe, expect, it } from 'vitest';
import { apiWorld, requestOf } from '../testing/api-world.ts';
import { done, refused, silence } from '../testing/scripted-caller.ts';
import { SettleError } from '../util/errors.ts';
import type { Json } from '../util/json.ts';
import { parse } from '../wire/schema.ts';
import { outcomesSchema, pageSchema, problemSchema, transactionSchema } from '../wire/transaction.ts';

const url = 'http://127.0.0.1:4000';

function saga(gid: string | undefined, more: Record<string, Json> = {}): Record<string, Json> {
  const steps = ['reserve', 'charge'].map((name) => ({
    name,
    action: { url: `${url}/${name}`, payload: { quantity: 3 } },
    compensation: { url: `${url}/undo-${name}` },
  }));
  return { ...(gid === undefined ? {} : { gid }), pattern: 'saga', name: 'place-order', steps, ...more };
}

function tcc(gid: string): Record<string, Json> {
  return { gid, pattern: 'tcc', name: 'transfer' };
}

const branch = (name: string): Record<string, Json> => ({
  name,
  try: { url: `${url}/try` },
  confirm: { url: `${url}/confirm` },
  cancel: { url: `${url}/cancel` },
});

describe('submit', () => {
  it('answers 200 with the transaction once it has ended within the wait', async () => {
    const { ask, participants } = await apiWorld();
    const { status, json, headers } = await ask(
      'POST',
      '/v1/transactions',
      saga('order-1', { waitMs: 1_000 }),
    );
    expect([status, json['status'], headers['location']]).toEqual([200, 'committed', undefined]);
    expect(parse(transactionSchema, json).kind).toBe('valid');
    expect(participants.calls[0]).toMatchObject({ address: `${url}/reserve`, payload: { quantity: 3 } });
  });

  it('answers 202 with its place while it goes on, and a gid of its own when none was given', async () => {
    const { ask, participants } = await apiWorld();
    participants.on('reserve/action', silence);
    const { status, json, headers } = await ask('POST', '/v1/transactions', saga(undefined));
    expect([status, json['status']]).toEqual([202, 'running']);
    expect(headers['location']).toBe(`/v1/transactions/${json['gid'] as string}`);
  });

  // covers F3, F4
  it('is idempotent by gid, and names the first difference of another body', async () => {
    const { ask } = await apiWorld();
    await ask('POST', '/v1/transactions', saga('order-1', { waitMs: 1_000 }));
    expect((await ask('POST', '/v1/transactions', saga('order-1'))).json['status']).toBe('committed');
    const other = await ask('POST', '/v1/transactions', saga('order-1', { name: 'other' }));
    expect([other.status, other.json['code'], other.json['gid']]).toEqual([409, 'gid_conflict', 'order-1']);
    expect(other.json['detail']).toContain('/name');
  });

  it('takes bytes as well as text', async () => {
    const { ask } = await apiWorld();
    const body = new TextEncoder().encode(JSON.stringify(saga('bytes', { waitMs: 1_000 })));
    expect((await ask('POST', '/v1/transactions', undefined, { body })).json['status']).toBe('committed');
  });
});

describe('batch', () => {
  it('gives every submit its own outcome', async () => {
    const { ask } = await apiWorld();
    const cycle = saga('cycle');
    const steps = [
      { name: 'a', action: { url }, after: ['b'] },
      { name: 'b', action: { url }, after: ['a'] },
    ];
    const transactions = [saga('one'), { ...cycle, steps }, saga('two')];
    const { status, json } = await ask('POST', '/v1/transactions/batch', { transactions });
    expect(status).toBe(200);
    expect(parse(outcomesSchema, json)).toMatchObject({
      kind: 'valid',
      value: {
        outcomes: [
          { kind: 'accepted', transaction: { gid: 'one' } },
          { kind: 'rejected', error: { code: 'invalid_definition', gid: 'cycle' } },
          { kind: 'accepted', transaction: { gid: 'two' } },
        ],
      },
    });
  });

  it('stores nothing of a batch in which one body is malformed', async () => {
    const { ask, store } = await apiWorld();
    const { status, json } = await ask('POST', '/v1/transactions/batch', {
      transactions: [saga('one'), { ...saga('two'), steps: 1 }],
    });
    expect([status, json['code']]).toEqual([400, 'invalid_request']);
    expect(json['issues']).toEqual([{ path: '/transactions/1/steps', message: 'must be an array, not 1' }]);
    expect(store.batches).toEqual([]);
  });

  it('takes a payload as deep as a single submit may hold', async () => {
    const { ask } = await apiWorld();
    // The body, its steps, one of them, and the action stand around the payload.
    const deep = (levels: number): Json => (levels === 0 ? 1 : [deep(levels - 1)]);
    const steps = (levels: number): Json => [{ name: 'a', action: { url, payload: deep(levels) } }];
    expect((await ask('POST', '/v1/transactions', saga('a', { steps: steps(12) }))).status).toBe(202);
    expect((await ask('POST', '/v1/transactions', saga('b', { steps: steps(13) }))).status).toBe(400);
    const batch = (levels: number): Json => ({ transactions: [saga('c', { steps: steps(levels) })] });
    expect((await ask('POST', '/v1/transactions/batch', batch(12))).status).toBe(200);
    expect((await ask('POST', '/v1/transactions/batch', batch(13))).status).toBe(400);
  });
});

describe('TCC', () => {
  it('begins, registers branches, and confirms them by a commit', async () => {
    const { ask, participants } = await apiWorld();
    expect((await ask('POST', '/v1/transactions', tcc('t-1'))).status).toBe(202);
    const branches = [branch('debit'), branch('credit')];
    const registered = await ask('POST', '/v1/transactions/t-1/branches', { branches, waitMs: 1_000 });
    expect([registered.status, registered.json['status']]).toEqual([202, 'trying']);
    const committed = await ask('POST', '/v1/transactions/t-1/commit', { waitMs: 1_000 });
    expect([committed.status, committed.json['status']]).toEqual([200, 'committed']);
    expect(participants.story).toEqual(['debit/try', 'credit/try', 'debit/confirm', 'credit/confirm']);
  });

  it('cancels by an abort, whose reason and asker stand in the history', async () => {
    const { ask } = await apiWorld({ keys: [{ name: 'ops', key: 'a-long-enough-key' }] });
    const headers = { authorization: 'Bearer a-long-enough-key' };
    await ask('POST', '/v1/transactions', { ...tcc('t-1'), branches: [branch('debit')] }, { headers });
    const abort = { reason: 'changed my mind', waitMs: 1_000 };
    const aborted = await ask('POST', '/v1/transactions/t-1/abort', abort, { headers });
    expect([aborted.status, aborted.json['status']]).toEqual([200, 'aborted']);
    const { json } = await ask('GET', '/v1/transactions/t-1', undefined, { headers });
    expect(parse(transactionSchema, json).kind).toBe('valid');
    expect(json['history']).toContainEqual(
      expect.objectContaining({ kind: 'action', action: 'abort', reason: 'changed my mind', actor: 'ops' }),
    );
  });
});

describe('message', () => {
  it('is prepared by a submit with a check-back, and delivered by a commit', async () => {
    const { ask, participants } = await apiWorld();
    const prepared = await ask('POST', '/v1/transactions', {
      gid: 'm-1',
      pattern: 'message',
      name: 'order-created',
      check: { url: `${url}/check` },
      targets: [{ name: 'points', deliver: { url: `${url}/award` } }],
    });
    expect([prepared.status, prepared.json['status']]).toEqual([202, 'prepared']);
    const delivered = await ask('POST', '/v1/transactions/m-1/commit', { waitMs: 1_000 });
    expect([delivered.status, delivered.json['status']]).toEqual([200, 'committed']);
    expect(participants.story).toEqual(['points/action']);
  });
});

describe('actions', () => {
  it('takes what the legal table allows, and refuses the rest with its reason', async () => {
    const { ask, clock, participants } = await apiWorld();
    participants.on('reserve/action', async () => {
      await clock.sleep(500);
      return done();
    });
    await ask('POST', '/v1/transactions', saga('order-1'));
    const path = '/v1/transactions/order-1/actions';
    const skip = await ask('POST', path, { action: 'skip-branch', branch: 'reserve', reason: 'by hand' });
    expect([skip.status, skip.json['code'], skip.json['gid']]).toEqual([409, 'illegal_action', 'order-1']);
    const aborted = await ask('POST', path, {
      action: 'force-abort',
      reason: 'ordered twice',
      waitMs: 20_000,
    });
    expect([aborted.status, aborted.json['status'], aborted.json['reason']]).toEqual([
      200,
      'aborted',
      'ordered twice',
    ]);
    const again = await ask('POST', path, { action: 'force-commit', reason: 'no' });
    expect([again.status, again.json['detail']]).toEqual([409, expect.stringContaining('ended')]);
  });
});

describe('reading', () => {
  it('waits for the end when asked to', async () => {
    const { ask, clock, participants } = await apiWorld();
    participants.on('charge/action', async () => {
      await clock.sleep(500);
      return done();
    });
    await ask('POST', '/v1/transactions', saga('order-1'));
    expect((await ask('GET', '/v1/transactions/order-1')).json['status']).toBe('running');
    expect((await ask('GET', '/v1/transactions/order-1?waitMs=5000')).json['status']).toBe('committed');
  });

  it('finds an escaped gid', async () => {
    const { ask } = await apiWorld();
    await ask('POST', '/v1/transactions', saga('a:b~c'));
    expect((await ask('GET', `/v1/transactions/${encodeURIComponent('a:b~c')}`)).json['gid']).toBe('a:b~c');
  });

  it('finds a transaction whose gid is the name of a route', async () => {
    const { ask } = await apiWorld();
    await ask('POST', '/v1/transactions', saga('batch'));
    expect((await ask('GET', '/v1/transactions/batch')).json['gid']).toBe('batch');
  });

  it('lists by status, pattern, name, stuckness and text of the gid, page by page', async () => {
    const { ask, participants } = await apiWorld();
    for (const gid of ['one', 'two', 'three']) {
      await ask('POST', '/v1/transactions', saga(gid, { waitMs: 1_000 }));
    }
    participants.on('reserve/action', () => refused());
    await ask('POST', '/v1/transactions', saga('none', { waitMs: 1_000 }));
    const gids = async (query: string): Promise<readonly unknown[]> => {
      const { status, json } = await ask('GET', `/v1/transactions${query}`);
      expect([status, parse(pageSchema, json).kind]).toEqual([200, 'valid']);
      return (json['items'] as readonly { gid: string }[]).map((item) => item.gid).toSorted();
    };
    expect(await gids('')).toEqual(['none', 'one', 'three', 'two']);
    expect(await gids('?status=aborted')).toEqual(['none']);
    expect(await gids('?status=aborted,committed&gidContains=t')).toEqual(['three', 'two']);
    expect(await gids('?status=aborted&status=committed&stuck=false&pattern=saga')).toHaveLength(4);
    expect(await gids('?stuck=true')).toEqual([]);
    expect(await gids('?name=other')).toEqual([]);
    const first = (await ask('GET', '/v1/transactions?limit=3')).json;
    expect(first['items']).toHaveLength(3);
    expect(await gids(`?limit=3&cursor=${encodeURIComponent(first['next'] as string)}`)).toHaveLength(1);
  });
});

describe('the rest', () => {
  it('prints the legal table and the OpenAPI document', async () => {
    const { ask } = await apiWorld();
    const legal = (await ask('GET', '/v1/legal')).json;
    expect(legal).toMatchObject({ table: { running: { abort: 'legal', 'skip-branch': 'when-stuck' } } });
    const document = (await ask('GET', '/v1/openapi.json')).json;
    expect(document).toMatchObject({ openapi: '3.1.0', info: { version: '1.2.3' } });
  });

  it('is live always, and ready only while the coordinator takes work', async () => {
    const { ask, clock, engine } = await apiWorld();
    expect((await ask('GET', '/health/ready')).json).toEqual({ status: 'ready' });
    await clock.until(engine.stop());
    expect((await ask('GET', '/health/live')).json).toEqual({ status: 'live' });
    const { status, headers, json } = await ask('GET', '/health/ready');
    expect([status, json['code'], headers['retry-after']]).toEqual([503, 'unavailable', '1']);
    const submit = await ask('POST', '/v1/transactions', saga('late'));
    expect([submit.status, submit.json['code'], submit.json['gid']]).toEqual([503, 'shutting_down', 'late']);
  });

  it.each([
    new Error('password=hunter2'),
    new SettleError('internal', 'password=hunter2'),
    new TypeError('password=hunter2'),
  ])('hides the defect %# behind an id that only the log explains', async (secret) => {
    const { engine } = await apiWorld();
    const world = await apiWorld({ coordinator: { ...engine, get: () => Promise.reject(secret) } });
    const { status, json } = await world.ask('GET', '/v1/transactions/order-1');
    expect([status, json['code'], json['gid']]).toEqual([500, 'internal', 'order-1']);
    expect(parse(problemSchema, json).kind).toBe('valid');
    expect(JSON.stringify(json)).not.toContain('hunter2');
    expect(world.defects).toEqual([{ error: secret, id: json['id'] }]);
  });

  it('answers even when the listener for defects fails', async () => {
    const { ask } = await apiWorld({
      readiness: () => {
        throw new TypeError('defect');
      },
      onError: () => {
        throw new Error('the log is full');
      },
    });
    expect((await ask('GET', '/health/ready')).status).toBe(500);
  });

  it('streams the changes of transactions', async () => {
    const { ask, api } = await apiWorld();
    const { status, headers, body } = await api(requestOf('GET', '/v1/events?status=committed'));
    expect([status, headers['content-type']]).toEqual([200, 'text/event-stream']);
    if (typeof body === 'string') throw new Error('not a stream');
    const chunks = body[Symbol.asyncIterator]();
    expect(String((await chunks.next()).value)).toContain('retry: 2000');
    await ask('POST', '/v1/transactions', saga('order-1', { waitMs: 1_000 }));
    const { value } = (await chunks.next()) as { value: string };
    expect(value).toMatch(/^event: transaction\ndata: \{.*"gid":"order-1".*"status":"committed".*\}\n\n$/);
    await chunks.return?.();
  });
});
