import { DatabaseSync } from 'node:sqlite';
import { afterEach, describe, expect, expectTypeOf, test, vi } from 'vitest';
import { outcomeOf, thrownBy, turn } from '../../../test/local/world.ts';
import type { StandardSchema } from '../define/standard-schema.ts';
import { nodeSqliteDriver } from '../local/adapters/node-sqlite.ts';
import { createTransactions } from '../local/manager.ts';
import { defineMessages, message } from './define-messages.ts';
import { heldMax, heldWished } from './limits.ts';
import { laneCount, laneOf } from './message.ts';
import { createOutbox, type OutboxOptions } from './outbox.ts';
import { migrateOutbox } from './schema/index.ts';

interface Order {
  readonly id: string;
}

/** Takes `{ id }`, and is done when the test says so. */
class SlowSchema implements StandardSchema<Order> {
  readonly #waiting: (() => void)[] = [];
  readonly '~standard' = {
    version: 1 as const,
    vendor: 'test',
    validate: (value: unknown) =>
      new Promise<{ value: Order } | { issues: { message: string }[] }>((resolve) => {
        const order = value as Order;
        this.#waiting.push(() =>
          resolve(order.id === '' ? { issues: [{ message: 'has no id' }] } : { value: order }),
        );
      }),
  };

  get waiting(): number {
    return this.#waiting.length;
  }

  /** The n-th that waits. */
  answer(at = 0): void {
    this.#waiting.splice(at, 1)[0]?.();
  }
}

const trimmed: StandardSchema<{ readonly id: string }, Order> = {
  '~standard': {
    version: 1,
    vendor: 'test',
    validate(value) {
      const { id } = value as { id: unknown };
      if (typeof id !== 'string') return { issues: [{ message: 'is no text', path: ['id'] }] };
      return { value: { id: id.trim() } };
    },
  },
};

function world(options: OutboxOptions = {}) {
  const db = new DatabaseSync(':memory:');
  opened.push(db);
  const driver = nodeSqliteDriver(db);
  const tx = createTransactions(driver);
  const slow = new SlowSchema();
  const messages = defineMessages({
    note: message<string>({ destination: 'test:notes' }),
    'order.placed': { schema: trimmed, key: ({ id }) => id, destination: 'kafka:orders', version: 2 },
    'order.slow': { schema: slow, destination: 'test:slow' },
    any: message<unknown>({ destination: 'test:any' }),
    keyed: message<{ id: string }>({ key: ({ id }) => id.toUpperCase(), destination: 'test:keyed' }),
  });
  const outbox = createOutbox(tx, messages, options);
  const rows = (table = 'settle_outbox') =>
    db.prepare(`select * from ${table} order by seq`).all() as Record<string, string | number | null>[];
  return {
    db,
    tx,
    slow,
    outbox,
    driver,
    rows,
    migrate: () => migrateOutbox(driver),
    /** The notes that are written, in order. */
    notes: () => rows().map(({ payload }) => JSON.parse(String(payload)) as unknown),
  };
}

async function migrated(options?: OutboxOptions) {
  const made = world(options);
  await made.migrate();
  return made;
}

const opened: DatabaseSync[] = [];
afterEach(() => opened.splice(0).forEach((db) => db.close()));

describe('a message', () => {
  test('is a row of its transaction, with the names that Debezium reads', async () => {
    const { tx, outbox, rows } = await migrated();
    const id = await tx.run(() =>
      outbox.send('order.placed', { id: ' o-1 ' }, { headers: { 'X-Tenant': 'ä' } }),
    );
    expect(id).toMatch(/^[0-9A-HJKMNP-TV-Z]{26}$/);
    expect(rows()).toEqual([
      {
        lane: expect.any(Number),
        seq: 1,
        id,
        target: 'kafka',
        aggregatetype: 'orders',
        aggregateid: 'o-1',
        type: 'order.placed',
        payload: '{"id":"o-1"}',
        version: 2,
        headers: '{"x-tenant":"ä"}',
        created_at: expect.any(Number),
        attempts: 0,
        starts: 0,
        due_at: null,
        last_error: null,
      },
    ]);
  });

  test('has the id, key and destination that its send says', async () => {
    const { tx, outbox, rows } = await migrated();
    const own = { id: 'my-id', key: 'k', destination: 'http:https://x.example:80/a?b' } as const;
    expect(await tx.run(() => outbox.send('order.placed', { id: 'o-1' }, own))).toBe('my-id');
    expect(rows()).toMatchObject([
      { id: 'my-id', aggregateid: 'k', target: 'http', aggregatetype: 'https://x.example:80/a?b' },
    ]);
  });

  test('lies in the lane of its key, and without one in all lanes in turn', async () => {
    const { tx, outbox, rows } = await migrated();
    await tx.run(async () => {
      for (let n = 0; n < laneCount; n++) await outbox.send('note', '');
      await outbox.send('order.placed', { id: 'o-1' });
    });
    const lanes = rows().map(({ lane }) => lane);
    expect(lanes.pop()).toBe(laneOf('o-1'));
    expect(new Set(lanes).size).toBe(laneCount);
  });

  test('carries the trace of its sender, unless it has one of its own', async () => {
    let traced = 0;
    const trace = () => ({ traceparent: `trace-${++traced}`, TraceState: 'a=b' });
    const { tx, outbox, rows } = await migrated({ trace });
    await tx.run(async () => {
      await outbox.send('note', 'a');
      await outbox.send('note', 'b', { headers: { traceparent: 'own' } });
    });
    expect(rows().map(({ headers }) => JSON.parse(String(headers)) as unknown)).toEqual([
      { traceparent: 'trace-1', tracestate: 'a=b' },
      { traceparent: 'own', tracestate: 'a=b' },
    ]);
  });

  test('keeps what is delayed apart, with the time of the database', async () => {
    const { tx, outbox, rows, notes } = await migrated();
    await tx.run(() =>
      outbox.sendMany([
        { type: 'note', payload: 'later', delayMs: 60_000 },
        { type: 'note', payload: 'now' },
        { type: 'note', payload: 'much later', delayMs: 120_000 },
      ]),
    );
    expect(notes()).toEqual(['now']);
    const delayed = rows('settle_outbox_delayed');
    expect(delayed.map(({ payload }) => payload)).toEqual(['"later"', '"much later"']);
    expect(delayed.map(({ due_at, created_at }) => Number(due_at) - Number(created_at))).toEqual([
      60_000, 120_000,
    ]);
  });

  test('ids grow in the order of sends', async () => {
    const { tx, outbox } = await migrated();
    const ids = await tx.run(() =>
      outbox.sendMany(Array.from({ length: 20 }, () => ({ type: 'note', payload: '' }) as const)),
    );
    expect([...ids].toSorted()).toEqual(ids);
  });

  test('has the types of its definition', () => {
    const { outbox } = world();
    const wrong = () => [
      // @ts-expect-error -- no such type
      outbox.send('nope', ''),
      // @ts-expect-error -- another payload
      outbox.send('order.placed', { id: 1 }),
      // @ts-expect-error -- the payload of another type
      outbox.sendMany([{ type: 'note', payload: { id: 'o-1' } }]),
    ];
    expectTypeOf(wrong).returns.toExtend<Promise<string | readonly string[]>[]>();
  });
});

describe('messages are there if and only if their scope is', () => {
  test('not those of a transaction that fails', async () => {
    const { tx, outbox, notes } = await migrated();
    const failing = tx.run(async () => {
      await outbox.send('note', 'a');
      throw new Error('the business failed');
    });
    expect(await outcomeOf(failing)).toBe('the business failed');
    expect(notes()).toEqual([]);
  });

  test('not those of one that is only to be rolled back', async () => {
    const { tx, outbox, notes } = await migrated();
    await tx.run(async (t) => {
      await outbox.send('note', 'a');
      t.setRollbackOnly();
    });
    expect(notes()).toEqual([]);
  });

  test('not those of a savepoint that is rolled back, but those of one released, in the order of sends', async () => {
    const { tx, outbox, notes } = await migrated();
    await tx.run(async () => {
      await outbox.send('note', 'before');
      await tx.run(() => outbox.send('note', 'released'), { propagation: 'nested' });
      await outbox.send('note', 'between');
      const undone = tx.run(
        async () => {
          await outbox.send('note', 'undone');
          await tx.run(() => outbox.send('note', 'released into undone'), { propagation: 'nested' });
          throw new Error('undo');
        },
        { propagation: 'nested' },
      );
      expect(await outcomeOf(undone)).toBe('undo');
      await tx.run(() => outbox.send('note', 'joined'));
      await outbox.send('note', 'after');
    });
    expect(notes()).toEqual(['before', 'released', 'between', 'joined', 'after']);
  });

  test('each transaction has its own', async () => {
    const { db, outbox, tx, notes } = await migrated();
    const other = createTransactions(nodeSqliteDriver(db));
    await tx.run(async () => {
      await outbox.send('note', 'a');
      expect(other.current()).toBeUndefined();
    });
    const failing = tx.run(async () => {
      await outbox.send('note', 'b');
      throw new Error('no');
    });
    await expect(failing).rejects.toThrow('no');
    expect(notes()).toEqual(['a']);
  });

  test('once, although the owner of the transaction tries it again', async () => {
    const { tx, outbox, notes } = await migrated();
    let attempts = 0;
    const busy = Object.assign(new Error('busy'), { errcode: 5 });
    await tx.run(
      async () => {
        await outbox.send('note', `attempt ${++attempts}`);
        if (attempts < 3) throw busy;
      },
      { retry: { attemptsMax: 5, baseMs: 1 } },
    );
    expect(notes()).toEqual(['attempt 3']);
  });

  test('with a client that was handed on, which is the transaction it belongs to', async () => {
    const { tx, outbox, notes } = await migrated();
    const handle = await tx.begin();
    const { client } = handle;
    expect(tx.current()).toBeUndefined();
    await outbox.with(client).send('note', 'a');
    await outbox.send('note', 'b', { client });
    await outbox.with(client).sendMany([{ type: 'note', payload: 'c' }]);
    expect(notes()).toEqual([]);
    await handle.done();
    expect(notes()).toEqual(['a', 'b', 'c']);
    expect(await outcomeOf(outbox.with(client).send('note', 'late'))).toBe('foreign_client');
  });

  test('with an outer client in a savepoint it is part of the savepoint, as a statement would be', async () => {
    const { tx, outbox, notes, db } = await migrated();
    db.exec('create table business (line text)');
    await tx.run(async (t) => {
      const inner = t.run(
        async () => {
          t.client.prepare('insert into business values (?)').run('undone');
          await outbox.with(t.client).send('note', 'undone');
          throw new Error('undo');
        },
        { propagation: 'nested' },
      );
      expect(await outcomeOf(inner)).toBe('undo');
      await outbox.with(t.client).send('note', 'kept');
    });
    expect(notes()).toEqual(['kept']);
    expect(db.prepare('select * from business').all()).toEqual([]);
  });

  test('also those that a hook before the commit sends, whenever it was registered', async () => {
    const { tx, outbox, notes } = await migrated();
    await tx.run(async (t) => {
      t.onBeforeCommit(() => outbox.send('note', 'first hook'));
      await outbox.send('note', 'function');
      t.onBeforeCommit(async () => {
        await turn();
        await outbox.send('note', 'second hook');
      });
    });
    expect(new Set(notes())).toEqual(new Set(['first hook', 'function', 'second hook']));
    expect(notes()).toHaveLength(3);
  });

  test('also those of sends that nobody awaited', async () => {
    const { tx, outbox, notes } = await migrated();
    await tx.run(() => {
      void outbox.send('note', 'a');
      void outbox.send('note', 'b');
    });
    expect(notes()).toEqual(['a', 'b']);
  });

  test('in one statement for all', async () => {
    const { tx, outbox, db, notes } = await migrated();
    await tx.run(() => outbox.send('note', 'the first asks for the version'));
    const prepare = vi.spyOn(db, 'prepare');
    await tx.run(async () => {
      for (const note of ['a', 'b', 'c']) await outbox.send('note', note);
    });
    const sql = prepare.mock.calls.map(([text]) => text).filter((text) => text.includes('settle_'));
    expect(sql).toHaveLength(1);
    expect(notes()).toHaveLength(4);
  });
});

describe('outside of a transaction', () => {
  test('a send is refused', async () => {
    const { tx, outbox, notes } = await migrated();
    expect(await outcomeOf(outbox.send('note', 'a'))).toBe('transaction_required');
    const suspended = tx.run(() => tx.run(() => outbox.send('note', 'a'), { propagation: 'notSupported' }));
    expect(await outcomeOf(suspended)).toBe('transaction_required');
    expect(notes()).toEqual([]);
  });

  test('one begins where that is asked for, and is committed when the send resolves', async () => {
    const { tx, outbox, notes } = await migrated();
    await outbox.send('note', 'a', { outsideTransaction: 'begin' });
    expect(notes()).toEqual(['a']);
    await outbox.sendMany([{ type: 'note', payload: 'b' }], { outsideTransaction: 'begin' });
    expect(notes()).toEqual(['a', 'b']);
    const within = tx.run(async () => {
      await outbox.send('note', 'c', { outsideTransaction: 'begin' });
      throw new Error('part of this one');
    });
    expect(await outcomeOf(within)).toBe('part of this one');
    expect(notes()).toEqual(['a', 'b']);
  });

  test('after the end of a scope a send is refused', async () => {
    const { tx, outbox, notes } = await migrated();
    let late: (() => Promise<string>) | undefined;
    await tx.run((t) => {
      const { client } = t;
      late = () => outbox.send('note', 'late', { client });
    });
    expect(await outcomeOf(late?.() ?? Promise.resolve())).toBe('foreign_client');
    expect(notes()).toEqual([]);
  });

  test('and in one that only reads', async () => {
    const { tx, outbox } = await migrated();
    const reading = tx.run(() => outbox.send('note', 'a'), { readOnly: true });
    expect(await outcomeOf(reading)).toBe('option_conflict');
  });
});

const names = (count: number) => Array.from({ length: count }, (_, n) => `h${n}`);
const many = (count: number, from = 0) =>
  Array.from({ length: count }, (_, n) => ({ type: 'note', payload: `${from + n}` }) as const);
const numbers = (count: number) => many(count).map(({ payload }) => payload);

const cycle: Record<string, unknown> = {};
cycle['self'] = cycle;

describe('what cannot be a message is refused at the call, and the transaction goes on:', () => {
  type Refused = [string, (outbox: ReturnType<typeof world>['outbox']) => Promise<unknown>, RegExp];
  test.each<Refused>([
    ['a bigint', (outbox) => outbox.send('any', { id: 1n }, { id: 'm1' }), /any m1: .*JSON/],
    ['a cycle', (outbox) => outbox.send('any', cycle, { id: 'm1' }), /any m1: .*JSON/],
    ['undefined', (outbox) => outbox.send('any', undefined, { id: 'm1' }), /any m1: .*nothing that JSON/],
    ['a function', (outbox) => outbox.send('any', () => 1, { id: 'm1' }), /any m1: .*nothing that JSON/],
    [
      'a payload that its schema refuses',
      (outbox) => outbox.send('order.placed', { id: 5 as unknown as string }, { id: 'm1' }),
      /order\.placed m1: its payload is not valid: \/id is no text/,
    ],
    [
      'a payload that is too large',
      (outbox) => outbox.send('note', 'ä'.repeat(524_288), { id: 'm1' }),
      /note m1: its payload has 1048578 bytes, more than 1048576/,
    ],
    [
      'an unknown type',
      (outbox) => outbox.send('toString' as 'note', '', { id: 'm1' }),
      /toString m1: its type is unknown/,
    ],
    ['an empty id', (outbox) => outbox.send('note', '', { id: '' }), /its id is not/],
    ['an id with a space', (outbox) => outbox.send('note', '', { id: 'a ' }), /its id is not/],
    ['an id beyond ASCII', (outbox) => outbox.send('note', '', { id: 'ä' }), /its id is not/],
    ['an id that is too long', (outbox) => outbox.send('note', '', { id: 'x'.repeat(256) }), /its id is not/],
    ['an id that is no text', (outbox) => outbox.send('note', '', { id: 5 as unknown as string }), /its id/],
    ['an empty key', (outbox) => outbox.send('note', '', { key: '' }), /its key has 0 characters/],
    [
      'a key that is too long',
      (outbox) => outbox.send('note', '', { key: 'x'.repeat(256) }),
      /its key has 256/,
    ],
    ['a key with U+0000', (outbox) => outbox.send('note', '', { key: 'a\0' }), /its key has a character/],
    [
      'half a surrogate pair',
      (outbox) => outbox.send('note', '', { key: '\ud800' }),
      /its key has a character/,
    ],
    [
      'a key that is no text',
      (outbox) => outbox.send('note', '', { key: 5 as unknown as string }),
      /its key/,
    ],
    [
      'a payload from which no key can be told',
      (outbox) => outbox.send('keyed', {} as { id: string }, { id: 'm1' }),
      /keyed m1: its payload gives no key/,
    ],
    ['an empty dedup key', (outbox) => outbox.send('note', '', { dedupKey: '' }), /its dedup key has 0/],
    ['a delay below 0', (outbox) => outbox.send('note', '', { delayMs: -1 }), /delayMs is -1/],
    ['a delay of more than a year', (outbox) => outbox.send('note', '', { delayMs: 4e10 }), /delayMs is 4/],
    ['half a millisecond', (outbox) => outbox.send('note', '', { delayMs: 0.5 }), /delayMs is 0.5/],
    [
      'no destination',
      (outbox) => outbox.send('note', '', { destination: 'kafka' as 'kafka:' }),
      /"kafka" is no destination/,
    ],
    [
      'a header of ours',
      (outbox) => outbox.send('note', '', { headers: { 'Settle-Id': '' } }),
      /not the sender's/,
    ],
    ['a header without a name', (outbox) => outbox.send('note', '', { headers: { '': '' } }), /no name/],
    [
      'a header with a line break',
      (outbox) => outbox.send('note', '', { headers: { a: 'b\r\nc: d' } }),
      /the header a is not text without control/,
    ],
    [
      'too many headers',
      (outbox) =>
        outbox.send('note', '', { headers: Object.fromEntries(names(65).map((name) => [name, ''])) }),
      /65 headers, more than 64/,
    ],
    [
      'headers that are too large',
      (outbox) => outbox.send('note', '', { headers: { a: 'x'.repeat(16_384) } }),
      /its headers have 16392 bytes/,
    ],
  ])('%s', async (_, send, text) => {
    const { tx, outbox, notes } = await migrated();
    await tx.run(async () => {
      await outbox.send('note', 'before');
      const error = await thrownBy(send(outbox));
      expect(error.code).toBe('message_invalid');
      expect(error.message).toMatch(text);
      await outbox.send('note', 'after');
    });
    expect(notes()).toEqual(['before', 'after']);
  });

  test('of many none is sent where one is invalid', async () => {
    const { tx, outbox, notes, slow } = await migrated();
    await tx.run(async () => {
      const many = outbox.sendMany([
        { type: 'note', payload: 'valid' },
        { type: 'order.slow', payload: { id: '' } },
        { type: 'order.placed', payload: { id: 5 as unknown as string } },
      ]);
      expect(await outcomeOf(many)).toBe('message_invalid');
      slow.answer();
      await turn();
      await outbox.send('note', 'after');
    });
    expect(notes()).toEqual(['after']);
  });
});

describe('a schema that takes its time', () => {
  test('keeps the order of the sends, whichever is done first', async () => {
    const { tx, outbox, rows, slow } = await migrated();
    const ran = tx.run(() =>
      Promise.all([
        outbox.send('order.slow', { id: '1' }),
        outbox.send('note', '2'),
        outbox.send('order.slow', { id: '3' }),
      ]),
    );
    await turn();
    expect(slow.waiting).toBe(2);
    slow.answer(1);
    await turn();
    slow.answer(0);
    await ran;
    expect(rows().map(({ payload }) => payload)).toEqual(['{"id":"1"}', '"2"', '{"id":"3"}']);
  });

  test('is waited for by the commit, although the send was not awaited', async () => {
    const { tx, outbox, rows, slow } = await migrated();
    let isDone = false;
    const ran = tx
      .run(() => void outbox.send('order.slow', { id: '1' }))
      .then(() => {
        isDone = true;
      });
    await turn();
    expect(isDone).toBe(false);
    slow.answer();
    await ran;
    expect(rows()).toHaveLength(1);
  });

  test('fails the transaction when nobody hears of what is invalid', async () => {
    const { tx, outbox, rows, slow } = await migrated();
    const sends: Promise<unknown>[] = [];
    const ran = tx.run(async () => {
      await outbox.send('note', 'a');
      sends.push(outcomeOf(outbox.send('order.slow', { id: '' })));
    });
    await turn();
    slow.answer();
    expect(await outcomeOf(ran)).toBe('message_invalid');
    expect(await Promise.all(sends)).toEqual(['message_invalid']);
    expect(rows()).toEqual([]);
  });

  test('does not fail it when its sender heard of it', async () => {
    const { tx, outbox, notes, slow } = await migrated();
    const ran = tx.run(async () => {
      const invalid = outbox.send('order.slow', { id: '' });
      slow.answer();
      expect(await outcomeOf(invalid)).toBe('message_invalid');
      await outbox.send('note', 'a');
    });
    await ran;
    expect(notes()).toEqual(['a']);
  });

  test('is not waited for in a savepoint that is undone', async () => {
    const { tx, outbox, notes, slow } = await migrated();
    const sends: Promise<unknown>[] = [];
    await tx.run(async () => {
      const undone = tx.run(
        () => {
          sends.push(outcomeOf(outbox.send('order.slow', { id: 'never answered' })));
          throw new Error('undo');
        },
        { propagation: 'nested' },
      );
      expect(await outcomeOf(undone)).toBe('undo');
      await outbox.send('note', 'a');
    });
    expect(notes()).toEqual(['a']);
    slow.answer();
    await Promise.all(sends);
  });
});

describe('a dedup key', () => {
  test('lets the first message pass, and no other, in the same transaction or later', async () => {
    const { tx, outbox, notes, db } = await migrated();
    const first = await tx.run(async () => {
      const id = await outbox.send('note', 'first', { dedupKey: 'k' });
      await outbox.send('note', 'second', { dedupKey: 'k' });
      await outbox.send('note', 'other', { dedupKey: 'K' });
      await outbox.send('note', 'none');
      return id;
    });
    await tx.run(() => outbox.send('note', 'later', { dedupKey: 'k', id: first }));
    await tx.run(() => outbox.send('note', 'with a space', { dedupKey: 'k ' }));
    expect(notes()).toEqual(['first', 'other', 'none', 'with a space']);
    expect(db.prepare('select * from settle_outbox_dedup').all()).toHaveLength(3);
  });

  test('is free again when the first is rolled back', async () => {
    const { tx, outbox, notes } = await migrated();
    await tx.run(async (t) => {
      await outbox.send('note', 'first', { dedupKey: 'k' });
      t.setRollbackOnly();
    });
    await tx.run(async () => {
      const undone = tx.run(
        async () => {
          await outbox.send('note', 'second', { dedupKey: 'k' });
          throw new Error('undo');
        },
        { propagation: 'nested' },
      );
      await outcomeOf(undone);
      await outbox.send('note', 'third', { dedupKey: 'k' });
    });
    expect(notes()).toEqual(['third']);
  });
});

describe('more than a transaction holds back', () => {
  test('is written early, in order, and gone with the transaction', async () => {
    const { tx, outbox, notes, db } = await migrated();
    await tx.run(async (t) => {
      for (let n = 0; n < heldWished.messages; n++) await outbox.send('note', String(n));
      const { rows } = await t.query('select count(*) as written from settle_outbox');
      expect(rows).toEqual([{ written: heldWished.messages }]);
      await outbox.sendMany(many(2_500, heldWished.messages));
    });
    expect(notes()).toEqual(numbers(heldWished.messages + 2_500));
    db.exec('delete from settle_outbox');
    const failing = tx.run(async () => {
      await outbox.sendMany(many(5_000));
      throw new Error('no');
    });
    expect(await outcomeOf(failing)).toBe('no');
    expect(notes()).toEqual([]);
  });

  test('is written early by its bytes, too', async () => {
    const { tx, outbox } = await migrated();
    await tx.run(async (t) => {
      for (let n = 0; n < 5; n++) await outbox.send('note', 'x'.repeat(1_000_000));
      const { rows } = await t.query('select count(*) as written from settle_outbox');
      expect(rows).toEqual([{ written: 5 }]);
    });
  });

  test('is written in the savepoint it belongs to, and undone with it', async () => {
    const { tx, outbox, notes } = await migrated();
    await tx.run(async () => {
      const undone = tx.run(
        async () => {
          await outbox.sendMany(many(1_500));
          throw new Error('undo');
        },
        { propagation: 'nested' },
      );
      expect(await outcomeOf(undone)).toBe('undo');
      await tx.run(() => outbox.sendMany(many(1_500)), { propagation: 'nested' });
      await outbox.send('note', 'last');
    });
    expect(notes()).toEqual([...numbers(1_500), 'last']);
  });

  test('is held on while a scope around has messages that come before it', async () => {
    const { tx, outbox, notes } = await migrated();
    await tx.run(async () => {
      await outbox.send('note', 'around');
      const undone = tx.run(
        async (t) => {
          await outbox.sendMany(many(1_500));
          expect((await t.query('select * from settle_outbox')).rows).toEqual([]);
          throw new Error('undo');
        },
        { propagation: 'nested' },
      );
      expect(await outcomeOf(undone)).toBe('undo');
      await tx.run(() => outbox.sendMany(many(1_500)), { propagation: 'nested' });
    });
    expect(notes()).toEqual(['around', ...numbers(1_500)]);
  });

  test('is refused where it may not be written yet, and nothing of it is sent', async () => {
    const { tx, outbox, notes } = await migrated();
    await tx.run(async () => {
      await outbox.send('note', 'around');
      await tx.run(
        async () => {
          await outbox.sendMany(many(heldMax.messages - 1));
          expect(await outcomeOf(outbox.send('note', 'too much'))).toBe('limit_exceeded');
        },
        { propagation: 'nested' },
      );
      expect(await outcomeOf(outbox.sendMany(many(heldMax.messages + 1)))).toBe('limit_exceeded');
      await outbox.send('note', 'room again');
    });
    expect(notes()).toEqual(['around', ...numbers(heldMax.messages - 1), 'room again']);
  });

  test('has room again when a savepoint is undone', async () => {
    const { tx, outbox, notes } = await migrated();
    await tx.run(async () => {
      await outbox.send('note', 'around');
      const undone = tx.run(
        async () => {
          await outbox.sendMany(many(heldMax.messages - 1));
          throw new Error('undo');
        },
        { propagation: 'nested' },
      );
      await outcomeOf(undone);
      await tx.run(() => outbox.sendMany(many(heldMax.messages - 1)), { propagation: 'nested' });
    });
    expect(notes()).toHaveLength(heldMax.messages);
  });

  test('fails the transaction when it could not be written, whoever caught that', async () => {
    const { tx, outbox, db, notes } = await migrated();
    db.exec(`create trigger refuse before insert on settle_outbox begin select raise(abort, 'refused'); end`);
    const ran = tx.run(async () => {
      expect(await outcomeOf(outbox.sendMany(many(1_000)))).toBe('refused');
    });
    expect(await outcomeOf(ran)).toBe('refused');
    await tx.run(async () => {
      const undone = tx.run(() => outbox.sendMany(many(1_000)), { propagation: 'nested' });
      expect(await outcomeOf(undone)).toBe('refused');
      db.exec('drop trigger refuse');
      await outbox.send('note', 'undone alone');
    });
    expect(notes()).toEqual(['undone alone']);
  });

  test('is held on behind a message whose schema takes its time', async () => {
    const { tx, outbox, rows, slow } = await migrated();
    await tx.run(async (t) => {
      const first = outbox.send('order.slow', { id: 'first' });
      await outbox.sendMany(many(1_500));
      expect((await t.query('select * from settle_outbox')).rows).toEqual([]);
      slow.answer();
      await first;
    });
    expect(rows().map(({ payload }) => payload)).toEqual([
      '{"id":"first"}',
      ...numbers(1_500).map((number) => JSON.stringify(number)),
    ]);
  });

  test('finds room by being written, also for what a slow schema has checked', async () => {
    const { tx, outbox, rows, slow } = await migrated();
    const released = () =>
      tx.run(() => outbox.sendMany(many(heldMax.messages - 1)), { propagation: 'nested' });
    await tx.run(async () => {
      await outbox.send('note', 'around');
      await released();
      const last = outbox.send('order.slow', { id: 'last' });
      slow.answer();
      await last;
    });
    expect(rows().at(-1)).toMatchObject({ payload: '{"id":"last"}' });
    expect(rows()).toHaveLength(heldMax.messages + 1);
  });

  test('has room for ever more that nobody awaits, where it may be written', async () => {
    const { tx, outbox, notes } = await migrated();
    const count = 2 * heldMax.messages + 5_000;
    await tx.run(() => Promise.all(many(count).map(({ type, payload }) => outbox.send(type, payload))));
    expect(notes()).toEqual(numbers(count));
  });

  test('keeps its order when nobody awaits the sends', async () => {
    const { tx, outbox, notes } = await migrated();
    await tx.run(async () => {
      const sends = many(3_000).map(({ type, payload }) => outbox.send(type, payload));
      await Promise.all(sends);
    });
    expect(notes()).toEqual(numbers(3_000));
  });
});

describe('tables', () => {
  test('that are missing are an error of their own', async () => {
    const { tx, outbox } = world();
    const error = await thrownBy(tx.run(() => outbox.send('note', 'a')));
    expect(error).toMatchObject({ code: 'tables_missing', next: expect.stringContaining('migrateOutbox') });
  });

  test('that a newer version has made are refused', async () => {
    const { tx, outbox, db, notes } = await migrated();
    db.exec(`update settle_schema set version = 99`);
    expect(await outcomeOf(tx.run(() => outbox.send('note', 'a')))).toBe('store_newer');
    expect(notes()).toEqual([]);
  });
});

describe('who listens for commits', () => {
  test('hears of each transaction that wrote messages, once, outside of it', async () => {
    const { tx, outbox } = await migrated();
    const heard: unknown[] = [];
    const forget = outbox.onCommitted(() => heard.push(tx.current() ?? 'outside'));
    await tx.run(() => outbox.sendMany([{ type: 'note', payload: 'a' }]));
    await tx.run(async (t) => {
      await outbox.send('note', 'b');
      t.onBeforeCommit(() => outbox.send('note', 'c'));
    });
    expect(heard).toEqual(['outside', 'outside']);
    forget();
    await tx.run(() => outbox.send('note', 'd'));
    expect(heard).toHaveLength(2);
  });

  test('hears nothing of one that was rolled back, or wrote none', async () => {
    const { tx, outbox } = await migrated();
    await tx.run(() => outbox.send('note', 'a', { dedupKey: 'k' }));
    let heard = 0;
    outbox.onCommitted(() => heard++);
    await tx.run(async (t) => {
      await outbox.send('note', 'b');
      t.setRollbackOnly();
    });
    await tx.run(async () => {
      const undone = tx.run(
        async () => {
          await outbox.send('note', 'c');
          throw new Error('undo');
        },
        { propagation: 'nested' },
      );
      await outcomeOf(undone);
    });
    await tx.run(() => outbox.send('note', 'again', { dedupKey: 'k' }));
    await tx.run(() => undefined);
    expect(heard).toBe(0);
  });

  test('cannot make a commit look as if it had failed', async () => {
    const { tx, outbox, notes } = await migrated();
    const warned = vi.spyOn(process, 'emitWarning').mockReturnValue();
    let heard = 0;
    outbox.onCommitted(() => {
      throw new Error('the listener failed');
    });
    outbox.onCommitted(() => heard++);
    await tx.run(() => outbox.send('note', 'a'));
    expect(notes()).toEqual(['a']);
    expect(heard).toBe(1);
    expect(warned.mock.calls).toEqual([[expect.objectContaining({ code: 'hook_failed' })]]);
    warned.mockRestore();
  });
});

describe('an end that nobody knows', () => {
  test.each([
    ['committed', ['a'], true],
    ['rolled back', [], false],
  ] as const)('may be %s: the message is, too, and who listens looks', async (_, stored, isCommitted) => {
    const { db, notes, migrate } = world();
    await migrate();
    const driver = nodeSqliteDriver(db);
    const lost = Object.assign(new Error('disk I/O error'), { errcode: 10 });
    const tx = createTransactions({
      ...driver,
      async acquire(need) {
        const connection = await driver.acquire(need);
        return {
          ...connection,
          execute(sql: string) {
            if (sql !== 'commit') return connection.execute(sql);
            void connection.execute(isCommitted ? 'commit' : 'rollback');
            throw lost;
          },
        };
      },
    });
    const outbox = createOutbox(tx, defineMessages({ note: message<string>({ destination: 'test:notes' }) }));
    let heard = 0;
    outbox.onCommitted(() => heard++);
    expect(await outcomeOf(tx.run(() => outbox.send('note', 'a')))).toBe('commit_unknown');
    expect(notes()).toEqual(stored);
    expect(heard).toBe(1);
  });
});

test.each([0, 1.5, Number.NaN])('refuses payloadBytesMax %d', (payloadBytesMax) => {
  expect(() => world({ payloadBytesMax })).toThrow(/config_invalid/);
});
