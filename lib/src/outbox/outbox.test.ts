import { describe, expect, expectTypeOf, test, vi } from 'vitest';
import { outcomeOf, thrownBy, turn } from '../../../test/local/world.ts';
import { many, migrated, world } from '../../../test/outbox/sqlite-outbox.ts';
import { nodeSqliteDriver } from '../local/adapters/node-sqlite.ts';
import { createTransactions } from '../local/manager.ts';
import { defineMessages, message } from './define-messages.ts';
import { heldWished } from './limits.ts';
import { laneCount, laneOf } from './message.ts';
import { createOutbox } from './outbox.ts';

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

  test('and so is one that goes on in the context of a scope that has ended', async () => {
    const { tx, outbox, notes } = await migrated();
    let late: Promise<string> | undefined;
    await tx.run(() => {
      late = outcomeOf(turn().then(() => outbox.send('note', 'late')));
    });
    expect(await late).toBe('scope_ended');
    expect(notes()).toEqual([]);
  });

  test('and in one that only reads', async () => {
    const { tx, outbox, slow } = await migrated();
    const reading = tx.run(() => outbox.send('order.slow', { id: '' }), { readOnly: true });
    expect(await outcomeOf(reading)).toBe('option_conflict');
    expect(slow.waiting).toBe(0);
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

  test('hears of one that wrote all of them early, unless that was undone', async () => {
    const { tx, outbox } = await migrated();
    let heard = 0;
    outbox.onCommitted(() => heard++);
    await tx.run(async () => {
      for (let n = 0; n < 2; n++) await outbox.sendMany(many(heldWished.messages));
    });
    expect(heard).toBe(1);
    await tx.run(async () => {
      const undone = tx.run(
        async () => {
          await outbox.sendMany(many(heldWished.messages));
          throw new Error('undo');
        },
        { propagation: 'nested' },
      );
      await outcomeOf(undone);
    });
    expect(heard).toBe(1);
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
