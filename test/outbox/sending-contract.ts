// What sending has to do with every adapter: drivers differ in how they write values, name columns and wrap errors.
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { createTransactions } from '../../lib/src/local/manager.ts';
import type { Transactions } from '../../lib/src/local/transactions.ts';
import {
  createOutbox,
  defineMessages,
  message,
  migrateOutbox,
  type Outbox,
} from '../../lib/src/outbox/index.ts';
import type { OpenDriver } from '../local/subject.ts';
import { outcomeOf } from '../local/world.ts';
import type { OutboxTables } from './tables.ts';

const messages = defineMessages({ note: message<unknown>({ destination: 'test:notes' }) });

/** A driver, and the tables it writes to. */
export interface OpenSubject extends OpenDriver<unknown> {
  readonly tables: OutboxTables;
}

async function notesOf(tables: OutboxTables): Promise<unknown[]> {
  const rows = await tables.rows('select payload from settle_outbox order by seq');
  return rows.map(({ payload }) => JSON.parse(String(payload)) as unknown);
}

export function sendingWorksWith(name: string, open: () => Promise<OpenSubject>): void {
  describe(`sending with ${name}`, () => {
    let opened: OpenSubject | undefined;
    let tables: OutboxTables;
    let tx: Transactions<unknown>;
    let outbox: Outbox<unknown, typeof messages>;

    beforeAll(async () => {
      opened = await open();
      ({ tables } = opened);
      await migrateOutbox(opened.driver);
      tx = createTransactions(opened.driver);
      outbox = createOutbox(tx, messages, { serializeKeys: true });
    });
    afterAll(() => opened?.close());
    beforeEach(async () => {
      for (const table of ['', '_delayed', '_dedup']) await tables.run(`delete from settle_outbox${table}`);
    });

    const texts = [
      'ä€𝄞',
      'a "quote" and \\ and \' and ` and $1 and ? and :a',
      '{a,"b",null}',
      '\u0000\u0001\n',
      '\ud800',
      '',
    ];

    test.each([
      ['few', 1],
      ['many', 3],
    ])('what is sent is stored as it is: %s', async (_, times) => {
      const all = Array.from({ length: times }, () => texts).flat();
      await tx.run(() => outbox.sendMany(all.map((payload) => ({ type: 'note', payload: { payload } }))));
      expect(await notesOf(tables)).toEqual(all.map((payload) => ({ payload })));
      await tx.run(async () => {
        const headers = { 'x-a': texts[1] ?? '', 'x-b': 'ä€𝄞' };
        for (let n = 0; n < times * 4; n++)
          await outbox.send('note', null, { id: `${n}`, key: `${texts[1]} ${n}`, headers });
        await outbox.send('note', null, { id: 'last' });
      });
      const rows = await tables.rows(
        "select id, aggregateid, headers, version, attempts, due_at from settle_outbox where aggregatetype = 'notes' and payload = 'null' order by seq",
      );
      expect(rows).toHaveLength(times * 4 + 1);
      expect(rows[0]).toEqual({
        id: '0',
        aggregateid: `${texts[1]} 0`,
        headers: JSON.stringify({ 'x-a': texts[1], 'x-b': 'ä€𝄞' }),
        version: 1,
        attempts: 0,
        due_at: null,
      });
      expect(rows.at(-1)).toMatchObject({ id: 'last', aggregateid: null, headers: null });
    });

    test('keys and ids are kept byte by byte', async () => {
      const keys = ['a', 'A', 'a ', ' a', 'ä', 'a\u0308', '1', '01'];
      const ids = ['a', 'A', '9007199254740993', '9007199254740992', '-', '%'];
      await tx.run(async () => {
        for (const key of keys) await outbox.send('note', null, { key });
        for (const id of ids) await outbox.send('note', null, { id });
      });
      const rows = await tables.rows('select id, aggregateid from settle_outbox order by seq');
      expect(rows.slice(0, keys.length).map(({ aggregateid }) => aggregateid)).toEqual(keys);
      expect(rows.slice(keys.length).map(({ id }) => id)).toEqual(ids);
    });

    test('what is undone is not there, and what is left is in order', async () => {
      await tx.run(async () => {
        await outbox.send('note', 1);
        const undone = tx.run(
          async () => {
            await outbox.send('note', 'undone');
            throw new Error('undo');
          },
          { propagation: 'nested' },
        );
        expect(await outcomeOf(undone)).toBe('undo');
        await tx.run(() => outbox.send('note', 2), { propagation: 'nested' });
        await tx.run((t) => outbox.with(t.client).send('note', 3));
      });
      const failing = tx.run(async () => {
        await outbox.send('note', 'failed');
        throw new Error('no');
      });
      expect(await outcomeOf(failing)).toBe('no');
      expect(await notesOf(tables)).toEqual([1, 2, 3]);
    });

    test('more than one statement carries keeps its order, and is undone with its savepoint', async () => {
      const many = Array.from({ length: 1_234 }, (_, payload) => ({ type: 'note', payload }) as const);
      await tx.run(async () => {
        const undone = tx.run(
          async () => {
            await outbox.sendMany(many);
            throw new Error('undo');
          },
          { propagation: 'nested' },
        );
        expect(await outcomeOf(undone)).toBe('undo');
        await outbox.sendMany(many);
        await outbox.send('note', 'last');
      });
      expect(await notesOf(tables)).toEqual([...many.map(({ payload }) => payload), 'last']);
    });

    test.each([
      ['few', 2],
      ['many', 20],
    ])('what is delayed is due by the clock of the database: %s', async (_, count) => {
      const delayed = Array.from(
        { length: count },
        (_, n) => ({ type: 'note', payload: n, delayMs: 60_000 + n }) as const,
      );
      await tx.run(() => outbox.sendMany([...delayed, { type: 'note', payload: 'now' }]));
      expect(await notesOf(tables)).toEqual(['now']);
      const rows = await tables.rows(
        'select due_at - created_at as delay_ms, created_at from settle_outbox_delayed order by seq',
      );
      expect(rows.map(({ delay_ms }, n) => Math.abs(Number(delay_ms) - 60_000 - n) <= 5)).toEqual(
        delayed.map(() => true),
      );
      expect(Math.abs(Number(rows[0]?.['created_at']) - Date.now())).toBeLessThan(60_000);
    });

    test('dedup keys let one message pass, and compare byte by byte', async () => {
      await tx.run(async () => {
        await outbox.send('note', 'a', { dedupKey: 'a' });
        await outbox.send('note', 'again', { dedupKey: 'a' });
      });
      const keys = ['A', 'a', 'a ', ' a', 'ä', 'a', 'Ä', 'ä', 'a\u0308', '"', '\\', '1', '01'];
      await tx.run(() =>
        outbox.sendMany(keys.map((dedupKey) => ({ type: 'note', payload: dedupKey, dedupKey }))),
      );
      await tx.run(() => outbox.send('note', 'a', { dedupKey: 'a', id: 'another' }));
      expect(await notesOf(tables)).toEqual([
        'a',
        'A',
        'a ',
        ' a',
        'ä',
        'Ä',
        'a\u0308',
        '"',
        '\\',
        '1',
        '01',
      ]);
    });

    test('of a transaction that cannot be committed any more one hears why, not that its messages cannot be written', async () => {
      const ran = tx.run(async (t) => {
        await outbox.send('note', 'a');
        expect(await outcomeOf(t.query('select nonsense from nowhere'))).not.toMatch(/^returns/);
        if (tx.database !== 'postgres') t.setRollbackOnly();
      });
      expect(await outcomeOf(ran)).toBe(
        tx.database === 'postgres' ? 'unexpected_rollback' : 'returns undefined',
      );
      expect(await notesOf(tables)).toEqual([]);
    });

    test('tables that are missing are an error of their own', async () => {
      await tables.run('alter table settle_outbox rename to elsewhere');
      try {
        expect(await outcomeOf(tx.run(() => outbox.send('note', 'a')))).toBe('tables_missing');
      } finally {
        await tables.run('alter table elsewhere rename to settle_outbox');
      }
    });
  });
}
