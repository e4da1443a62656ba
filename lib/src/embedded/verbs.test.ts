import { createServer, type IncomingMessage, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { DatabaseSync } from 'node:sqlite';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { createApi } from '../api/api.ts';
import { createEventHub } from '../api/events.ts';
import {
  connect,
  from,
  message,
  newGid,
  Refused,
  saga,
  tcc,
  unchecked,
  type Settle,
} from '../client/index.ts';
import type { Store } from '../engine/ports.ts';
import { definitionsHandler } from '../participant/definitions.ts';
import { nodeHandler } from '../participant/glue/node.ts';
import { handler } from '../participant/handler.ts';
import { sqliteBarrier } from '../participant/sqlite/index.ts';
import { memoryStore } from '../store/memory/index.ts';
import { sqliteStore } from '../store/sqlite/index.ts';
import { openCoordinator, type EmbeddedCoordinator } from './open-coordinator.ts';

/** What the participants did, in order. */
const done: string[] = [];
const folder = mkdtempSync(join(tmpdir(), 'settle-verbs-'));
const db = new DatabaseSync(join(folder, 'shop.db'));
const barrier = sqliteBarrier(db);

const placeOrder = saga('place-order', { input: unchecked<{ user: string; quantity: number }>() })
  .step('reserve', {
    do: ({ quantity }) => {
      done.push(`reserve ${quantity}`);
      return { total: quantity * 10 };
    },
    undo: (_input, reserved) => void done.push(`release ${reserved?.total}`),
  })
  .step('charge', {
    do: ({ user }, ctx) => {
      if (user === 'poor') throw new Refused('no money');
      done.push(`charge ${ctx.results.reserve.total}`);
    },
  });

const transfer = tcc('transfer', { input: unchecked<{ cents: number; to: string }>() })
  .branch('debit', {
    try: ({ cents }) => `hold-${cents}`,
    confirm: (_input, hold) => void done.push(`take ${hold}`),
    cancel: (_input, hold) => void done.push(`free ${hold}`),
  })
  .branch('credit', {
    try: ({ to }) => {
      if (to === 'nobody') throw new Refused('no such account');
      return null;
    },
    confirm: () => void done.push('give'),
    cancel: () => void done.push('forget'),
  });

const orderCreated = message('order-created', {
  input: unchecked<{ order: number }>(),
  check: (ctx) => barrier.check(ctx),
  checkAfterMs: 10,
}).to('points', { deliver: ({ order }) => void done.push(`points for ${order}`) });

const definitions = [placeOrder, transfer, orderCreated];

/** Answers what is posted to `/<name>`: `done`, or `refused` when the payload says so. */
const branch = handler((call) => {
  const payload = call.payload as { no?: string; total?: number } | undefined;
  if (payload?.no === call.op) throw new Refused('says no');
  done.push(`${call.branch} ${call.op}${payload?.total === undefined ? '' : ` ${payload.total}`}`);
  return { total: 7 };
});

let branches: Server;
let branchUrl = '';

beforeAll(async () => {
  barrier.migrate();
  db.exec('create table if not exists orders (id integer primary key)');
  const ofDefinitions = nodeHandler(definitionsHandler(definitions));
  const ofUrls = nodeHandler(branch);
  const ofCheck = nodeHandler(handler({ check: (call) => barrier.check(call) }));
  branches = createServer((request, response) => {
    const { url = '' } = request;
    if (url.startsWith('/settle/')) ofDefinitions(request, response);
    else if (url === '/check') ofCheck(request, response);
    else ofUrls(request, response);
  });
  branchUrl = await listen(branches);
});

afterAll(async () => {
  await closed(branches);
  db.close();
  rmSync(folder, { recursive: true });
});

beforeEach(() => void done.splice(0));

interface World {
  readonly settle: Settle;
  readonly coordinator: EmbeddedCoordinator;
  close(): Promise<void>;
}

async function embedded(store: Store): Promise<World> {
  const coordinator = await openCoordinator({ store, definitions, limits: { claimEveryMs: 20 } });
  return { settle: coordinator, coordinator, close: () => coordinator.close() };
}

async function overHttp(store: Store): Promise<World> {
  const hub = createEventHub();
  const coordinator = await openCoordinator({ store, observe: hub.observe, limits: { claimEveryMs: 20 } });
  const api = createApi({
    coordinator: coordinator.engine,
    events: hub,
    readiness: () => coordinator.engine.readiness(),
    onError: (error) => console.error(error),
  });
  const server = createServer((request, response) => {
    void (async () => {
      const gone = new AbortController();
      response.on('close', () => gone.abort());
      const [path = '', query = ''] = (request.url ?? '').split('?', 2);
      const { method = 'GET', headers } = request;
      const body = await text(request);
      const answer = await api({ method, path, query, headers, body, signal: gone.signal });
      response.writeHead(answer.status, answer.headers);
      if (typeof answer.body === 'string') return response.end(answer.body);
      response.flushHeaders();
      for await (const chunk of answer.body) response.write(chunk);
      return response.end();
    })();
  });
  const settle = connect(await listen(server), { servedAt: `${branchUrl}/settle` });
  return {
    settle,
    coordinator,
    async close() {
      await settle.close();
      server.closeAllConnections();
      await closed(server);
      await coordinator.close();
    },
  };
}

let stores = 0;

describe.each<[string, (store: Store) => Promise<World>, () => Store]>([
  ['embedded, in memory', embedded, () => memoryStore()],
  ['embedded, on SQLite', embedded, () => sqliteStore(join(folder, `${stores++}.db`))],
  ['over HTTP, on SQLite', overHttp, () => sqliteStore(join(folder, `${stores++}.db`))],
])('the verbs %s', (_where, open, store) => {
  let world: World;
  let settle: Settle;

  beforeAll(async () => {
    world = await open(store());
    ({ settle } = world);
  });
  afterAll(() => world.close());

  it('run a saga as code to its end, with typed results', async () => {
    const outcome = await settle.run(placeOrder, { user: 'rich', quantity: 3 });
    expect(outcome).toMatchObject({ status: 'committed', results: { reserve: { total: 30 }, charge: null } });
    expect(done).toEqual(['reserve 3', 'charge 30']);
  });

  it('undo what a saga did when a step refuses', async () => {
    const outcome = await settle.run(placeOrder, { user: 'poor', quantity: 3 });
    expect(outcome).toMatchObject({ status: 'aborted', reason: 'charge refused: no money' });
    expect(done).toEqual(['reserve 3', 'release 30']);
  });

  it('run one transaction for one gid, however often it is asked for', async () => {
    const gid = newGid();
    const input = { user: 'rich', quantity: 1 };
    const outcomes = await Promise.all([1, 2, 3].map(() => settle.run(placeOrder, input, { gid })));
    expect(outcomes.map(({ status }) => status)).toEqual(['committed', 'committed', 'committed']);
    expect(done).toEqual(['reserve 1', 'charge 10']);
    await expect(settle.run(placeOrder, { ...input, quantity: 2 }, { gid })).rejects.toMatchObject({
      code: 'gid_conflict',
      gid,
    });
  });

  it('confirm a TCC transaction as code, or cancel all of it', async () => {
    const good = await settle.run(transfer, { cents: 5, to: 'b' });
    expect(good).toMatchObject({ status: 'committed', results: { debit: 'hold-5', credit: null } });
    expect(done.toSorted()).toEqual(['give', 'take hold-5']);
    done.splice(0);
    const bad = await settle.run(transfer, { cents: 5, to: 'nobody' });
    expect(bad).toMatchObject({ status: 'aborted', reason: 'credit refused: no such account' });
    // Tried side by side: the refusal may come before the answer of the other try.
    expect(done).toEqual([expect.stringMatching(/^free (hold-5|undefined)$/)]);
  });

  it('run a saga of URLs, handing results on', async () => {
    const outcome = await settle
      .saga('order')
      .step('reserve', { action: `${branchUrl}/r`, compensate: `${branchUrl}/r` })
      .step('charge', { action: `${branchUrl}/c`, payload: { total: from('reserve', 'total') } })
      .submit({ waitMs: 10_000 });
    expect(outcome).toMatchObject({ status: 'committed', results: { charge: { total: 7 } } });
    expect(done).toEqual(['reserve action', 'charge action 7']);
  });

  it('answer a submit without a wait once it is durable', async () => {
    const outcome = await settle
      .saga('order')
      .step('a', { action: `${branchUrl}/a` })
      .submit();
    expect(['pending', 'committed']).toContain(outcome.status);
    await expect(settle.get(outcome.gid, { waitMs: 10_000 })).resolves.toMatchObject({ status: 'committed' });
  });

  it('confirm a TCC transaction of URLs when its callback returns', async () => {
    const outcome = await settle.tcc('transfer', async (tx) => {
      await tx.branch('debit', tccBranch());
      await tx.branch('credit', tccBranch());
    });
    expect(outcome.status).toBe('committed');
    expect(done.toSorted()).toEqual(['credit confirm', 'credit try', 'debit confirm', 'debit try']);
  });

  it('tell the callback of a TCC transaction which try refused, and cancel', async () => {
    const outcome = await settle.tcc('transfer', async (tx) => {
      await tx.branch('debit', tccBranch());
      await tx.branch('credit', tccBranch('try'));
    });
    expect(outcome).toMatchObject({ status: 'aborted', reason: 'credit refused: says no' });
    expect(done).toEqual(['debit try', 'debit cancel']);
  });

  it('cancel a TCC transaction whose callback throws, and throw on', async () => {
    const broken = settle.tcc('transfer', async (tx) => {
      await tx.branch('debit', tccBranch());
      throw new TypeError('a bug');
    });
    await expect(broken).rejects.toThrow(new TypeError('a bug'));
    expect(done).toEqual(['debit try', 'debit cancel']);
  });

  it('deliver a message to every target', async () => {
    const outcome = await settle
      .message('created')
      .to('points', { deliver: `${branchUrl}/p`, payload: { total: 1 } })
      .to('mail', { deliver: `${branchUrl}/m` })
      .submit({ waitMs: 10_000 });
    expect(outcome.status).toBe('committed');
    expect(done.toSorted()).toEqual(['mail action', 'points action 1']);
  });

  it('deliver a message if the local transaction commits', async () => {
    const { value, message: sent } = await settle
      .send(orderCreated, { order: 1 })
      .withLocalTransaction(barrier, () => addOrder(), { waitMs: 10_000 });
    expect(sent).toMatchObject({ status: 'committed' });
    expect(done).toEqual(['points for 1']);
    expect(hasOrder(value)).toBe(true);
  });

  it('drop a message whose local transaction throws', async () => {
    const gid = newGid();
    const failing = settle.send(orderCreated, { order: 1 }).withLocalTransaction(
      barrier,
      () => {
        addOrder(9_000);
        throw new TypeError('a bug');
      },
      { gid },
    );
    await expect(failing).rejects.toThrow(new TypeError('a bug'));
    // On a busy machine the check-back may come first, and say the same.
    const reason: unknown = expect.stringMatching(/^a bug$|did not commit/);
    await expect(settle.get(gid)).resolves.toMatchObject({ status: 'aborted', reason });
    expect([done, hasOrder(9_000)]).toEqual([[], false]);
  });

  it('leave a message to the check-back when we die between commit and submit', async () => {
    const gid = newGid();
    // The commit happened, and then its answer was lost.
    const lost = {
      async prepare(id: string, work: () => number): Promise<never> {
        await barrier.prepare(id, work);
        throw new Error('connection lost');
      },
    };
    const check = `${branchUrl}/check`;
    const sending = settle
      .message('created', { check, checkAfterMs: 10 })
      .to('points', { deliver: `${branchUrl}/p` })
      .withLocalTransaction(lost as never, () => addOrder(), { gid });
    await expect(sending).rejects.toThrow('connection lost');
    await expect(settle.get(gid, { waitMs: 10_000 })).resolves.toMatchObject({ status: 'committed' });
    expect(done).toEqual(['points action']);
  });

  it('list page by page, newest first, what matches', async () => {
    const gids: string[] = [];
    for (let i = 0; i < 5; i++) {
      const { gid } = await settle
        .saga('listed')
        .step('a', { action: `${branchUrl}/a` })
        .submit();
      gids.unshift(gid);
    }
    const found: string[] = [];
    for await (const { gid } of settle.list({ name: 'listed', limit: 2 })) found.push(gid);
    expect(found).toEqual(gids);
  });

  it('follow changes until the signal aborts', async () => {
    const stop = new AbortController();
    const seen: string[] = [];
    const gid = newGid();
    const following = (async () => {
      for await (const change of settle.events({ gid }, { signal: stop.signal })) {
        seen.push(change.status);
        if (change.status === 'committed') stop.abort();
      }
    })();
    await settle.get(newGid()).catch(() => undefined);
    // Over HTTP the stream opens meanwhile: a delayed message gives it the time.
    await settle.submit(
      {
        pattern: 'message',
        name: 'later',
        delayMs: 300,
        targets: [{ name: 'a', deliver: { address: `${branchUrl}/a` } }],
      },
      { gid },
    );
    await following;
    expect(seen.at(-1)).toBe('committed');
  });

  it('abort what has not been decided, once and again', async () => {
    const gid = newGid();
    await settle.submit(
      {
        pattern: 'message',
        name: 'held',
        check: { address: `${branchUrl}/check` },
        checkAfterMs: 60_000,
        targets: [{ name: 'a', deliver: { address: `${branchUrl}/a` } }],
      },
      { gid },
    );
    await settle.abort(gid, 'changed my mind');
    await expect(settle.abort(gid, 'again')).resolves.toMatchObject({ status: 'aborted' });
    await expect(settle.act(gid, { action: 'force-commit', reason: 'no' })).rejects.toMatchObject({
      code: 'illegal_action',
      gid,
    });
  });

  it('throw what is wrong with the request, and store nothing', async () => {
    const gid = newGid();
    const far = settle.saga('far').step('a', { action: 'http://198.51.100.1/a' });
    await expect(far.submit({ gid })).rejects.toMatchObject({ code: 'address_not_allowed' });
    await expect(settle.get(gid)).rejects.toMatchObject({ code: 'transaction_not_found', gid });
    await expect(settle.get('not a gid')).rejects.toMatchObject({ code: 'invalid_request' });
  });

  it('stop waiting when the signal aborts, without stopping the transaction', async () => {
    const gid = newGid();
    const stop = new AbortController();
    const waiting = settle.submit(
      {
        pattern: 'message',
        name: 'later',
        delayMs: 100,
        targets: [{ name: 'a', deliver: { address: `${branchUrl}/a` } }],
      },
      { gid, waitMs: 20_000, signal: stop.signal },
    );
    stop.abort(new Error('enough'));
    await expect(waiting).rejects.toThrow('enough');
  });
});

describe('an embedded coordinator', () => {
  it('goes on after a restart with what it had not finished', async () => {
    const path = join(folder, 'restart.db');
    let answer = false;
    const slow = saga('slow').step('wait', {
      do: () => {
        if (!answer) throw new Error('not yet');
        return 'at last';
      },
      retry: { kind: 'exponential', baseMs: 5, factor: 1, maxMs: 5 },
    });
    const first = await openCoordinator({ store: sqliteStore(path), definitions: [slow] });
    const outcome = await first.run(slow, null, { waitMs: 0 });
    expect(outcome.status).toBe('pending');
    await first.close();
    answer = true;
    await using second = await openCoordinator({ store: sqliteStore(path), definitions: [slow] });
    const view = await second.get(outcome.gid, { waitMs: 10_000 });
    expect(view).toMatchObject({ status: 'committed', branches: [{ result: 'at last' }] });
  });

  it('refuses a definition it was not opened with', async () => {
    await using coordinator = await openCoordinator({ store: memoryStore() });
    await expect(coordinator.run(placeOrder, { user: 'a', quantity: 1 })).rejects.toMatchObject({
      code: 'address_not_allowed',
    });
  });

  it('closes its store when it cannot open', async () => {
    let closes = 0;
    const store: Store = { ...memoryStore(), close: async () => void closes++ };
    await expect(openCoordinator({ store, allow: ['ftp://x'] })).rejects.toMatchObject({
      code: 'config_invalid',
    });
    expect(closes).toBe(1);
  });

  it('closes once, however often it is asked', async () => {
    const coordinator = await openCoordinator({ store: memoryStore() });
    await Promise.all([coordinator.close(), coordinator.close()]);
    await coordinator.close();
    await expect(coordinator.run(placeOrder, { user: 'a', quantity: 1 })).rejects.toMatchObject({
      code: 'shutting_down',
    });
  });
});

function tccBranch(no?: string) {
  return {
    try: `${branchUrl}/b`,
    confirm: `${branchUrl}/b`,
    cancel: `${branchUrl}/b`,
    ...(no === undefined ? {} : { payload: { no } }),
  };
}

function addOrder(id?: number): number {
  const { lastInsertRowid } = db.prepare('insert into orders (id) values (?)').run(id ?? null);
  return Number(lastInsertRowid);
}

function hasOrder(id: number): boolean {
  return db.prepare('select 1 from orders where id = ?').get(id) !== undefined;
}

async function listen(server: Server): Promise<string> {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

function closed(server: Server): Promise<void> {
  return new Promise((resolve) => {
    server.close(() => resolve());
    server.closeAllConnections();
  });
}

async function text(request: IncomingMessage): Promise<string> {
  let body = '';
  for await (const chunk of request) body += String(chunk);
  return body;
}
