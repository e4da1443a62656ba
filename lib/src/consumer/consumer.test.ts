import { DatabaseSync } from 'node:sqlite';
import { beforeEach, describe, expect, test } from 'vitest';
import { InstantClock } from '../../../test/consumer/instant-clock.ts';
import { Ongoing, Refused } from '../define/answers.ts';
import type { StandardSchema } from '../define/standard-schema.ts';
import { createInbox, migrateInbox, type Inbox } from '../inbox/index.ts';
import { nodeSqliteDriver } from '../local/adapters/node-sqlite.ts';
import { createTransactions } from '../local/manager.ts';
import type { Transaction } from '../local/transaction.ts';
import { defineMessages, message } from '../outbox/define-messages.ts';
import { SettleError, type ErrorCode } from '../util/errors.ts';
import { createConsumer, type Consumer, type ConsumerOptions } from './consumer.ts';
import type { ConsumerEvent } from './events.ts';
import type { Handled, IncomingMessage } from './incoming.ts';

const orderSchema: StandardSchema<unknown, { readonly id: string; readonly amount: number }> = {
  '~standard': {
    version: 1,
    vendor: 'test',
    validate(value) {
      const { id, amount = 1 } = value as { id?: unknown; amount?: number };
      if (typeof id === 'string') return { value: { id, amount } };
      return { issues: [{ message: 'is no text', path: ['id'] }] };
    },
  },
};

const messages = defineMessages({
  'order.placed': { schema: orderSchema, destination: 'kafka:orders', version: 2 },
  'order.cancelled': message<{ id: string }>({ destination: 'kafka:orders' }),
});

type Client = Pick<DatabaseSync, 'exec' | 'prepare'>;
type Messages = typeof messages;
type Options = ConsumerOptions<Transaction<Client>, Messages>;

let db: DatabaseSync;
let tx: ReturnType<typeof transactionsOver>;
let inbox: Inbox<Client>;
let clock: InstantClock;
let events: ConsumerEvent[];
const never = new AbortController().signal;

function transactionsOver(database: DatabaseSync) {
  return createTransactions(nodeSqliteDriver(database));
}

beforeEach(async () => {
  db = new DatabaseSync(':memory:');
  db.exec('create table effect (value text)');
  tx = transactionsOver(db);
  await migrateInbox(nodeSqliteDriver(db));
  inbox = createInbox(tx);
  clock = new InstantClock();
  events = [];
});

function consumer(options: Partial<Options>): Consumer {
  return createConsumer<Transaction<Client>, Messages>({
    name: 'stock',
    inbox,
    messages,
    clock,
    random: () => 1,
    onEvent: (event) => events.push(event),
    ...(options.handle === undefined && { handlers: {} }),
    ...options,
  });
}

function incoming(fields: Partial<IncomingMessage> = {}): IncomingMessage {
  return {
    id: 'm1',
    type: 'order.placed',
    version: 2,
    key: 'o-1',
    payload: '{"id":"o-1"}',
    contentType: 'application/json',
    headers: { traceparent: '00-1' },
    source: 'orders',
    ref: 'orders/3@1207',
    ...fields,
  };
}

function write({ client }: Transaction<Client>, value: string): void {
  client.prepare('insert into effect values (?)').run(value);
}

function effects(): readonly unknown[] {
  return db
    .prepare('select value from effect')
    .all()
    .map(({ value }) => value);
}

/** What it comes to, and the pauses on the way, which pass at once. */
async function withPauses<T>(
  promise: Promise<T>,
): Promise<{ readonly result: T; readonly pauses: number[] }> {
  const pauses: number[] = [];
  const over = new AbortController();
  const done = promise.finally(() => over.abort());
  for (let turns = 0; turns < 10_000 && !over.signal.aborted; turns++) {
    await clock.turn();
    const { nextInMs } = clock;
    if (nextInMs === undefined) continue;
    pauses.push(nextInMs);
    clock.pass(nextInMs);
  }
  return { result: await done, pauses };
}

async function deadLetters() {
  return (await inbox.dead.list({ consumer: 'stock' }, { limit: 100 })).items;
}

/** Fails so often. */
function failing(times: number, error: () => Error): (tx: Transaction<Client>) => void {
  let failures = 0;
  return (t) => {
    write(t, 'a');
    if (failures < times) {
      failures++;
      throw error();
    }
  };
}

describe('a message', () => {
  test('is handled once, in a transaction, with the payload its schema makes of it', async () => {
    const given: unknown[] = [];
    const { handle } = consumer({
      handlers: {
        'order.placed': async (order, context) => {
          const total: number = order.amount;
          given.push([order, total, context.attempt, context.message.headers, context.tx === tx.current()]);
          write(context.tx, order.id);
        },
      },
    });
    expect(await handle(incoming(), never)).toEqual({ kind: 'handled', duplicate: false });
    expect(await handle(incoming({ ref: 'orders/3@1208' }), never)).toEqual({
      kind: 'handled',
      duplicate: true,
    });
    expect(given).toEqual([[{ id: 'o-1', amount: 1 }, 1, 1, { traceparent: '00-1' }, true]]);
    expect(effects()).toEqual(['o-1']);
    expect(events).toMatchObject([
      { kind: 'handled', duplicate: false, attempt: 1, consumer: 'stock' },
      { kind: 'handled', duplicate: true, message: { ref: 'orders/3@1208' } },
    ]);
  });

  test('is handled by its own transaction, wherever its consumer was started', async () => {
    const { handle } = consumer({ handle: (_, context) => write(context.tx, 'a') });
    let handled: Promise<Handled> | undefined;
    // The transaction around it is of no interest, only that the message has one of its own.
    await tx.run(async () => void (handled = handle(incoming(), never))).catch(() => {});
    expect(await handled).toEqual({ kind: 'handled', duplicate: false });
    expect(effects()).toEqual(['a']);
  });

  test('is tried again with growing pauses, and rolled back in between', async () => {
    const work = failing(3, () => new Error('not yet'));
    const { handle } = consumer({
      handle: (_, context) => work(context.tx),
      retry: { baseMs: 100, maxMs: 300 },
    });
    const { result, pauses } = await withPauses(handle(incoming(), never));
    expect([result, pauses]).toEqual([{ kind: 'handled', duplicate: false }, [100, 200, 300]]);
    expect(effects()).toEqual(['a']);
    expect(events.map(({ kind }) => kind)).toEqual(['failed', 'failed', 'failed', 'handled']);
  });

  test('has full jitter in its pauses', async () => {
    const work = failing(2, () => new Error('not yet'));
    const { handle } = consumer({ handle: (_, context) => work(context.tx), random: () => 0.25 });
    expect((await withPauses(handle(incoming(), never))).pauses).toEqual([50, 100]);
  });

  test('that is ongoing is tried again no sooner than it asks for', async () => {
    const work = failing(1, () => new Ongoing(90_000));
    const { handle } = consumer({ handle: (_, context) => work(context.tx) });
    const { result, pauses } = await withPauses(handle(incoming(), never));
    expect([result.kind, pauses]).toEqual(['handled', [90_000]]);
  });

  test('is handled although a hook after its commit fails, and that is told', async () => {
    const { handle } = consumer({
      handle: (_, context) => {
        write(context.tx, 'a');
        context.tx.onAfterCommit(() => {
          throw new Error('no cache');
        });
      },
    });
    expect(await handle(incoming(), never)).toEqual({ kind: 'handled', duplicate: false });
    expect([effects(), events.map(({ kind }) => kind)]).toEqual([['a'], ['hook-failed', 'handled']]);
  });

  test('is not handled when such an error comes out of its handler: that is of another commit', async () => {
    const error = new SettleError('post_commit_failed', 'another transaction');
    const work = failing(1, () => error);
    const { handle } = consumer({ handle: (_, context) => work(context.tx) });
    const { result } = await withPauses(handle(incoming(), never));
    expect([result.kind, effects(), events.map(({ kind }) => kind)]).toEqual([
      'handled',
      ['a'],
      ['failed', 'handled'],
    ]);
  });

  test('whose attempt takes too long is rolled back, and tried again', async () => {
    let runs = 0;
    const { handle } = consumer({
      timeoutMs: 20,
      handle: async (_, context) => {
        write(context.tx, `run ${++runs}`);
        if (runs === 1) await new Promise(() => {});
      },
    });
    const handled = handle(incoming(), never);
    while (clock.nextInMs === undefined) await new Promise((resolve) => void setTimeout(resolve, 5));
    expect((await withPauses(handled)).result.kind).toBe('handled');
    expect(effects()).toEqual(['run 2']);
    expect(events[0]).toMatchObject({ kind: 'failed', error: { code: 'transaction_timeout' } });
  });
});

describe('a dead letter', () => {
  test('is what failed as often as it is to be tried, and is kept before that is said', async () => {
    const died: unknown[] = [];
    const { handle } = consumer({
      handle: (_, context) => {
        write(context.tx, 'gone');
        throw new Error('no stock');
      },
      retry: { attemptsMax: 3 },
      onDead: async (dead, letter) => died.push([dead.id, letter, (await deadLetters()).length]),
    });
    const { result, pauses } = await withPauses(handle(incoming(), never));
    expect([result, pauses]).toEqual([{ kind: 'dead', reason: 'no stock' }, [200, 400]]);
    expect(effects()).toEqual([]);
    const letter = { cause: 'attempts', reason: 'no stock' };
    expect(died).toEqual([['m1', letter, 1]]);
    expect(await deadLetters()).toMatchObject([{ ...letter, attempts: 3, messageId: 'm1' }]);
    expect(JSON.parse((await deadLetters())[0]?.message ?? '')).toEqual(incoming());
    expect(events.at(-1)).toMatchObject({ kind: 'dead', ...letter, attempts: 3 });
  });

  test('is at once what its handler refuses', async () => {
    const { handle } = consumer({
      handle: () => {
        throw new Refused('no such order');
      },
    });
    expect(await handle(incoming(), never)).toEqual({ kind: 'dead', reason: 'no such order' });
    expect(await deadLetters()).toMatchObject([{ cause: 'refused', reason: 'no such order', attempts: 1 }]);
  });

  const id = 'x'.repeat(600);
  test.each<[string, Partial<IncomingMessage>, string, string]>([
    ['no JSON', { payload: '{' }, 'm1', 'the payload is no JSON'],
    ['not of its shape', { payload: '{"id":7}' }, 'm1', 'the payload: /id is no text'],
    ['without an id', { id: '' }, 'ref:orders/3@1207', 'the id is empty'],
    ['with too long an id', { id }, 'ref:orders/3@1207', 'the id has more than 512 bytes'],
    ['no CloudEvent', { contentType: 'application/cloudevents+json; charset=utf-8' }, 'm1', 'specversion'],
  ])('is what is %s', async (_, fields, messageId, reason) => {
    const { handle } = consumer({ handle: () => {} });
    const handled = await handle(incoming(fields), never);
    expect(handled).toMatchObject({ kind: 'dead', reason: expect.stringContaining(reason) });
    expect(await deadLetters()).toMatchObject([{ cause: 'invalid', messageId, attempts: 0 }]);
    expect(JSON.parse((await deadLetters())[0]?.message ?? '')).toEqual(incoming(fields));
  });

  test('is handled again, by its own handler, and then is dead no more', async () => {
    let isOpen = false;
    const shop = consumer({
      handle: (_, context) => {
        if (!isOpen) throw new Refused('closed');
        write(context.tx, context.message.id);
      },
    });
    for (const one of ['m1', 'm2', 'm3']) await shop.handle(incoming({ id: one, key: undefined }), never);
    expect(await shop.replayDead({ messageIds: ['m1'] })).toEqual({ handled: 0, dead: 1, left: 0 });
    isOpen = true;
    expect(await shop.replayDead({ cause: 'attempts' })).toEqual({ handled: 0, dead: 0, left: 0 });
    expect(await shop.replayDead({}, { limit: 2 })).toEqual({ handled: 2, dead: 0, left: 0 });
    expect(await deadLetters()).toHaveLength(1);
    // One that came again by itself meanwhile.
    const [left] = await deadLetters();
    await shop.handle(incoming({ id: left?.messageId ?? '' }), never);
    expect(await shop.replayDead()).toEqual({ handled: 1, dead: 0, left: 0 });
    expect([new Set(effects()), await deadLetters()]).toEqual([new Set(['m1', 'm2', 'm3']), []]);
  });

  test('stays when it has died again while it was replayed', async () => {
    let isOpen = false;
    const shop = consumer({
      handle: () => {
        if (!isOpen) throw new Refused('closed');
      },
      onEvent: ({ kind }) => {
        const [messageId, reason] = ['m1', 'of another delivery'];
        const letter = {
          consumer: 'stock',
          messageId,
          message: '{}',
          cause: 'refused',
          reason,
          attempts: 1,
        } as const;
        if (kind === 'handled') void inbox.dead.add(letter);
      },
    });
    await shop.handle(incoming(), never);
    db.exec('update settle_inbox_dead set died_at = died_at - 1000');
    isOpen = true;
    expect(await shop.replayDead()).toEqual({ handled: 1, dead: 0, left: 0 });
    expect(await deadLetters()).toMatchObject([{ reason: 'of another delivery' }]);
  });

  test('is left where it is when the replay is stopped', async () => {
    const shop = consumer({
      handle: () => {
        throw new Refused('closed');
      },
    });
    await shop.handle(incoming(), never);
    expect(await shop.replayDead({}, { signal: AbortSignal.abort() })).toEqual({
      handled: 0,
      dead: 0,
      left: 1,
    });
  });

  test('that cannot be written leaves the message with its broker', async () => {
    const broken = { ...inbox.dead, add: () => Promise.reject(new Error('disk full')) };
    const { handle } = consumer({
      inbox: { once: (...args) => inbox.once(...args), dead: broken },
      handle: () => {
        throw new Refused('never');
      },
      retry: { attemptsMax: 3 },
    });
    const { result, pauses } = await withPauses(handle(incoming(), never));
    expect(result).toEqual({
      kind: 'not-handled',
      reason: 'never; and no dead letter could be kept: disk full',
    });
    expect(pauses).toEqual([200, 400]);
  });
});

describe('what is no fault of the message', () => {
  const codes: ErrorCode[] = [
    'database_unreachable',
    'pool_exhausted',
    'commit_unknown',
    'unavailable',
    'tables_missing',
  ];
  test.each(codes)('does not kill it: %s', async (code) => {
    const error = new SettleError(code, 'away', code === 'unavailable' ? { retryAfterMs: 5_000 } : {});
    const { handle } = consumer({
      inbox: { once: () => Promise.reject(error), dead: inbox.dead },
      handle: () => {},
      retry: { attemptsMax: 2 },
    });
    const { result, pauses } = await withPauses(handle(incoming(), never));
    expect(result).toEqual({ kind: 'not-handled', reason: `${code}: away` });
    expect(pauses).toEqual([code === 'unavailable' ? 5_000 : 200]);
    expect(await deadLetters()).toEqual([]);
  });

  test('does not count against its attempts', async () => {
    const thrown = ['message', 'database_unreachable', 'database_unreachable', 'message', 'none'];
    const { handle } = consumer({
      inbox: {
        once(...args) {
          const next = thrown.shift();
          if (next === 'message') return Promise.reject(new Error('no stock'));
          if (next === 'none') return inbox.once(...args);
          return Promise.reject(new SettleError('database_unreachable', 'away'));
        },
        dead: inbox.dead,
      },
      handle: (_, context) => write(context.tx, 'a'),
      retry: { attemptsMax: 3 },
    });
    const { result, pauses } = await withPauses(handle(incoming(), never));
    expect([result.kind, pauses, effects()]).toEqual(['handled', [200, 400, 800, 1600], ['a']]);
  });
});

describe('a type', () => {
  test('that is defined and has no handler is skipped', async () => {
    const { handle } = consumer({ handlers: { 'order.placed': () => {} } });
    const cancelled = incoming({ type: 'order.cancelled', version: 1 });
    expect(await handle(cancelled, never)).toEqual({ kind: 'handled', duplicate: false });
    expect(events).toMatchObject([{ kind: 'skipped' }]);
  });

  test.each<[string, Partial<IncomingMessage>, RegExp]>([
    ['that is not defined', { type: 'order.shipped' }, /the type order.shipped is not defined here/],
    ['that every object inherits', { type: 'constructor' }, /the type constructor is not defined here/],
    ['of a newer version', { version: 3 }, /version 3 of order.placed is newer than 2/],
  ])('%s stays with its broker, after a pause', async (_, fields, reason) => {
    const { handle } = consumer({ handle: () => {} });
    const { result, pauses } = await withPauses(handle(incoming(fields), never));
    expect(result).toEqual({ kind: 'not-handled', reason: expect.stringMatching(reason) });
    expect(pauses).toEqual([10_000]);
    expect(await deadLetters()).toEqual([]);
  });

  test('that is not known is skipped or dead where that was asked for', async () => {
    const shipped = incoming({ type: 'order.shipped' });
    const skipping = consumer({ handle: () => {}, unknownType: 'skip' });
    expect(await skipping.handle(shipped, never)).toEqual({ kind: 'handled', duplicate: false });
    const burying = consumer({ handle: () => {}, unknownType: 'dead' });
    expect((await burying.handle(shipped, never)).kind).toBe('dead');
    expect(await deadLetters()).toMatchObject([{ cause: 'unknown-type' }]);
  });

  test('is whatever it is where no messages are defined', async () => {
    const given: unknown[] = [];
    const { handle } = createConsumer({
      name: 'stock',
      inbox,
      handlers: { known: (payload) => given.push(payload) },
      clock,
    });
    expect((await handle(incoming({ type: 'known', payload: '[1]' }), never)).kind).toBe('handled');
    expect((await withPauses(handle(incoming({ type: 'toString' }), never))).result.kind).toBe('not-handled');
    expect(given).toEqual([[1]]);
  });
});

describe('a consumer that stops', () => {
  test('begins nothing any more', async () => {
    const { handle } = consumer({ handle: (_, context) => write(context.tx, 'a') });
    const { kind } = await handle(incoming(), AbortSignal.abort());
    expect([kind, effects()]).toEqual(['not-handled', []]);
  });

  test('rolls back what is at work, and leaves it with its broker', async () => {
    const stopping = new AbortController();
    const { handle } = consumer({
      // Its last attempt.
      retry: { attemptsMax: 1 },
      handle: async (_, context) => {
        write(context.tx, 'gone');
        expect(context.signal).toBe(stopping.signal);
        stopping.abort();
        await new Promise(() => {});
      },
    });
    expect(await handle(incoming(), stopping.signal)).toEqual({
      kind: 'not-handled',
      reason: 'the consumer is stopping',
    });
    expect([effects(), await deadLetters()]).toEqual([[], []]);
  });

  test('does not wait for a pause to end', async () => {
    const stopping = new AbortController();
    const { handle } = consumer({
      handle: () => {
        throw new Error('no stock');
      },
    });
    const handled = handle(incoming(), stopping.signal);
    while (clock.pending === 0) await clock.turn();
    stopping.abort();
    expect([(await handled).kind, clock.pending, await deadLetters()]).toEqual(['not-handled', 0, []]);
  });
});

function fail(): never {
  throw new Error('no metrics');
}

test('who listens badly changes nothing', async () => {
  const { handle } = consumer({ handle: () => {}, onEvent: fail });
  expect(await handle(incoming(), never)).toEqual({ kind: 'handled', duplicate: false });
  const burying = consumer({ handle: () => Promise.reject(new Refused('no')), onEvent: fail, onDead: fail });
  expect((await burying.handle(incoming({ id: 'm2' }), never)).kind).toBe('dead');
});

test('a CloudEvent that is all in its body is read from there', async () => {
  const given: unknown[] = [];
  const { handle } = consumer({
    handlers: { 'order.placed': (order, { message: m }) => given.push([order, m]) },
  });
  const event = {
    specversion: '1.0',
    id: 'e1',
    type: 'order.placed',
    source: 'shop',
    partitionkey: 'o-9',
    dataversion: 2,
    traceparent: '00-2',
    datacontenttype: 'application/json',
    data: { id: 'o-9' },
  };
  const structured = incoming({
    id: 'kafka:orders/3@1',
    type: '',
    version: 1,
    key: undefined,
    contentType: 'application/cloudevents+json',
    payload: JSON.stringify(event),
  });
  expect((await handle(structured, never)).kind).toBe('handled');
  expect(given).toMatchObject([
    [{ id: 'o-9' }, { id: 'e1', version: 2, key: 'o-9', headers: { traceparent: '00-2' } }],
  ]);
});

test('the position behind a message is stored with its work, where that was asked for', async () => {
  const { handle } = consumer({ handle: () => {}, storePositions: true });
  await handle(incoming(), never);
  await handle(incoming({ id: 'm2', ref: 'somewhere' }), never);
  expect(await inbox.positions.read('stock', 'orders')).toEqual(new Map([[3, 1208n]]));
});

describe('options', () => {
  test.each<[string, Partial<Options>]>([
    ['a name that is none', { name: 'a b' }],
    ['no attempts', { retry: { attemptsMax: 0 } }],
    ['endless attempts', { retry: { attemptsMax: Infinity } }],
    ['no time', { timeoutMs: 0 }],
    ['a pause that is none', { retry: { baseMs: Number.NaN } }],
    [
      'positions where there are none',
      {
        storePositions: true,
        inbox: { once: () => Promise.reject(new Error('never asked')), dead: {} as never },
      },
    ],
    // @ts-expect-error -- no such type
    ['a handler of what is not defined', { handlers: { 'order.shipped': () => {} } }],
  ])('with %s are refused', (_, options) => {
    expect(() => consumer(options)).toThrow('config_invalid');
  });

  test('without a handler are refused', () => {
    expect(() => createConsumer({ name: 'stock', inbox })).toThrow(
      'config_invalid: the consumer: there is no handler',
    );
  });
});
