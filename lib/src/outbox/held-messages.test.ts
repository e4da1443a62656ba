import { describe, expect, test } from 'vitest';
import { outcomeOf, turn } from '../../../test/local/world.ts';
import { many, migrated, numbers } from '../../../test/outbox/sqlite-outbox.ts';
import { heldMax, heldWished } from './limits.ts';

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
      expect(await outbox.sendMany([])).toEqual([]);
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
