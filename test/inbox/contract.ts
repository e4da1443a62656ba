// The facts of the inbox, on whatever database and adapter.
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { createInbox, migrateInbox, resultBytesMax, type Inbox } from '../../lib/src/inbox/index.ts';
import { messageIdBytesMax } from '../../lib/src/inbox/message-key.ts';
import { inboxSchema } from '../../lib/src/inbox/schema.ts';
import type { Driver } from '../../lib/src/local/driver.ts';
import { createTransactions } from '../../lib/src/local/manager.ts';
import type { Transaction } from '../../lib/src/local/transaction.ts';
import type { Transactions } from '../../lib/src/local/transactions.ts';
import { isSettleError } from '../../lib/src/util/errors.ts';
import { counted, type InboxSubject, type OpenSubject } from './subject.ts';

const windowMs = 1_000_000;
const connectionsMax = 16;
const duplicates = 64;

export function inboxContract(subject: InboxSubject): void {
  let opened: OpenSubject;
  let tx: Transactions<unknown>;
  let inbox: Inbox<unknown>;

  beforeAll(async () => {
    opened = await subject.open(connectionsMax);
    tx = transactionsOver(opened.driver);
    await tx
      .run((t) => t.query('create table if not exists effect (value varchar(100) not null)'))
      .catch(() => {});
  });
  beforeEach(async () => {
    await migrateInbox(opened.driver);
    inbox = createInbox(tx, { redeliveryWindowMs: windowMs });
    for (const table of ['effect', 'settle_inbox', 'settle_inbox_dead', 'settle_inbox_offsets']) {
      await tx.run((t) => t.query(`delete from ${table}`));
    }
  });
  afterAll(() => opened.close());

  const read = async (sql: string): Promise<readonly unknown[]> => (await tx.run((t) => t.query(sql))).rows;
  const effects = async (): Promise<readonly string[]> =>
    (await read('select value from effect order by value')).map((row) => (row as { value: string }).value);

  const age = (ms: number): Promise<unknown> =>
    tx.run((t) => t.query(`update settle_inbox set created_at = created_at - ${ms}`));
  const setVersion = (version: number): Promise<unknown> =>
    tx.run((t) => t.query(`update settle_schema set version = ${version} where name = 'inbox'`));

  describe(`the inbox, with ${subject.name}`, () => {
    test('runs the work of a message once, and gives its result to a repeat', async () => {
      let runs = 0;
      const once = () =>
        inbox.once('stock', 'm1', async (t) => {
          await write(t, 'a');
          return { run: ++runs, text: 'žluťoučký 🐴 \0' };
        });
      const result = { run: 1, text: 'žluťoučký 🐴 \0' };
      expect(await once()).toEqual({ duplicate: false, result });
      expect(await once()).toEqual({ duplicate: true, result });
      expect(await effects()).toEqual(['a']);
    });

    test('takes work that gives back nothing', async () => {
      expect(await inbox.once('stock', 'm1', () => {})).toEqual({ duplicate: false, result: undefined });
      expect(await inbox.once('stock', 'm1', () => {})).toEqual({ duplicate: true, result: undefined });
    });

    test('leaves nothing of work that fails, and the next one is the first', async () => {
      const failing = inbox.once('stock', 'm1', async (t) => {
        await write(t, 'gone');
        throw new Error('no stock');
      });
      await expect(failing).rejects.toThrow('no stock');
      expect(await inbox.once('stock', 'm1', (t) => void write(t, 'a'))).toMatchObject({ duplicate: false });
      expect(await effects()).toEqual(['a']);
    });

    test('has not handled a message whose work asks for a rollback', async () => {
      const ran = inbox.once('stock', 'm1', async (t) => {
        await write(t, 'gone');
        t.setRollbackOnly();
      });
      expect(await codeOf(ran)).toBe('unexpected_rollback');
      expect(await inbox.once('stock', 'm1', () => {})).toMatchObject({ duplicate: false });
      expect(await effects()).toEqual([]);
    });

    test('keeps no result that is too long, nor what JSON cannot say, and leaves nothing of its work', async () => {
      const long = inbox.once('stock', 'm1', async (t) => {
        await write(t, 'gone');
        return 'x'.repeat(resultBytesMax - 1);
      });
      expect(await codeOf(long)).toBe('limit_exceeded');
      const longest = 'x'.repeat(resultBytesMax - 2);
      await inbox.once('stock', 'm1', () => longest);
      expect(await inbox.once('stock', 'm1', () => '')).toEqual({ duplicate: true, result: longest });
      // @ts-expect-error -- no JSON
      expect(await codeOf(inbox.once('stock', 'm2', () => 1n))).toBe('invalid_request');
      expect(await effects()).toEqual([]);
    });

    test('takes part in the transaction around it: rolled back with it, the message was not handled', async () => {
      const around = tx.run(async () => {
        await inbox.once('stock', 'm1', (t) => void write(t, 'gone'));
        throw new Error('later');
      });
      await expect(around).rejects.toThrow('later');
      const found = await tx.run(async () => {
        const first = await inbox.once('stock', 'm1', async (t) => void (await write(t, 'a')));
        return [first.duplicate, (await inbox.once('stock', 'm1', () => {})).duplicate];
      });
      expect(found).toEqual([false, true]);
      expect(await effects()).toEqual(['a']);
    });

    test('takes part in the transaction of a client it is given', async () => {
      const around = tx.run(async (t) => {
        const { client } = t;
        await tx.exit(() => inbox.once('stock', 'm1', (own) => void write(own, 'gone'), { client }));
        throw new Error('later');
      });
      await expect(around).rejects.toThrow('later');
      expect(await inbox.once('stock', 'm1', () => {})).toMatchObject({ duplicate: false });
      expect(await codeOf(inbox.once('stock', 'm2', () => {}, { client: {} }))).toBe('foreign_client');
    });

    test('compares ids and names of consumers byte by byte', async () => {
      const ids = [
        'a',
        'A',
        'a ',
        'a  ',
        ' a',
        'á',
        'a\u0301',
        'ａ',
        '🐴',
        "'; --",
        '\\',
        '\u00e5',
        '\u212b',
        'ß',
        'ss',
      ];
      ids.push(
        'x'.repeat(messageIdBytesMax),
        'x'.repeat(messageIdBytesMax - 1),
        '\n',
        '\u00a0',
        '%',
        '?',
        '$1',
      );
      for (const consumer of ['stock', 'Stock', 'stock.2']) {
        for (const id of ids) {
          expect([id, (await inbox.once(consumer, id, () => {})).duplicate]).toEqual([id, false]);
        }
      }
      for (const id of ids) expect((await inbox.once('stock', id, () => {})).duplicate).toBe(true);
    });

    test.each([
      ['', 'message_invalid'],
      ['x'.repeat(messageIdBytesMax + 1), 'message_invalid'],
      ['á'.repeat(messageIdBytesMax / 2) + 'x', 'message_invalid'],
      ['a\0', 'message_invalid'],
      ['\ud800', 'message_invalid'],
    ])('refuses the id %j', async (id, code) => {
      expect(await codeOf(inbox.once('stock', id, () => {}))).toBe(code);
    });

    test.each(['', ' ', 'a b', 'é', 'x'.repeat(65)])('refuses the consumer %j', async (name) => {
      expect(await codeOf(inbox.once(name, 'm1', () => {}))).toBe('config_invalid');
    });

    for (const mode of ['insert-first', 'lock-first'] as const) {
      for (const isolation of subject.isolations) {
        test(`takes effect once for ${duplicates} duplicates at the same time, ${mode} at ${isolation}`, async () => {
          const { driver, met } = counted(opened.driver);
          const own = createInbox(transactionsOver(driver));
          const id = freshId();
          let runs = 0;
          const answers = await Promise.all(
            repeated(() =>
              own.once(
                'stock',
                id,
                async (t) => {
                  const run = ++runs;
                  await write(t, 'a');
                  return run;
                },
                { mode, isolation },
              ),
            ),
          );
          expect(answers.filter(({ duplicate }) => !duplicate)).toEqual([{ duplicate: false, result: 1 }]);
          expect(new Set(answers.map(({ result }) => result))).toEqual(new Set([1]));
          expect(await effects()).toEqual(['a']);
          expect(met.deadlocks).toBe(0);
        });

        test(`lets one of ${duplicates} duplicates take over from each that is rolled back, ${mode} at ${isolation}`, async () => {
          const { driver, met } = counted(opened.driver);
          const own = createInbox(transactionsOver(driver));
          const id = freshId();
          let failures = 0;
          const outcomes = await Promise.all(
            repeated(() =>
              own
                .once(
                  'stock',
                  id,
                  async (t) => {
                    await write(t, 'a');
                    if (failures < 3) throw new Error(`failure ${++failures}`);
                  },
                  { mode, isolation, retry: { attemptsMax: 50 } },
                )
                .then(
                  ({ duplicate }) => (duplicate ? 'duplicate' : 'first'),
                  (error: unknown) => (isSettleError(error) ? error.code : String(error)),
                ),
            ),
          );
          const firsts = outcomes.filter((outcome) => outcome !== 'duplicate').toSorted();
          expect(firsts).toEqual(['Error: failure 1', 'Error: failure 2', 'Error: failure 3', 'first']);
          expect(await effects()).toEqual(['a']);
          const deadlocksMax = mode === 'lock-first' ? 0 : Infinity;
          expect(met.deadlocks).toBeLessThanOrEqual(deadlocksMax);
        });
      }
    }

    test('with ifBusy refuse, does not wait while another one is at work', async () => {
      if (!subject.writesSideBySide) return;
      const begun = Promise.withResolvers<void>();
      const done = Promise.withResolvers<void>();
      const options = { mode: 'lock-first', ifBusy: 'refuse' } as const;
      const first = inbox.once('stock', 'm1', () => (begun.resolve(), done.promise), options);
      await begun.promise;
      expect(await codeOf(inbox.once('stock', 'm1', () => {}, options))).toBe('unavailable');
      done.resolve();
      await first;
      expect(await inbox.once('stock', 'm1', () => {}, options)).toMatchObject({ duplicate: true });
    });

    test('ifBusy refuse is refused where nothing is locked', async () => {
      expect(await codeOf(inbox.once('stock', 'm1', () => {}, { ifBusy: 'refuse' }))).toBe('config_invalid');
    });

    describe('pruning', () => {
      test('forgets what is older than a message may come again, at most so many', async () => {
        for (const id of ['m1', 'm2', 'm3']) await inbox.once('stock', id, () => {});
        expect(await inbox.prune()).toBe(0);
        await age(windowMs + 60_000);
        await inbox.once('stock', 'm4', () => {});
        expect(await inbox.prune({ olderThanMs: windowMs + 120_000 })).toBe(0);
        expect([await inbox.prune({ limit: 2 }), await inbox.prune({ limit: 2 })]).toEqual([2, 1]);
        expect((await inbox.once('stock', 'm4', () => {})).duplicate).toBe(true);
        expect((await inbox.once('stock', 'm1', () => {})).duplicate).toBe(false);
      });

      test.each([
        { olderThanMs: windowMs - 1 },
        { olderThanMs: 0 },
        { olderThanMs: Number.NaN },
        { limit: 0 },
        { limit: 1.5 },
        { limit: 10_001 },
      ])('refuses %j', async (options) => {
        await inbox.once('stock', 'm1', () => {});
        await age(windowMs * 2);
        expect(await codeOf(inbox.prune(options))).toBe('config_invalid');
        expect((await inbox.once('stock', 'm1', () => {})).duplicate).toBe(true);
      });
    });

    describe('dead letters', () => {
      test('are kept as they came, listed page by page, oldest first, and purged', async () => {
        const ids = ['m3', 'm1', 'M1', 'm1 ', 'ž'];
        for (const id of ids) await inbox.dead.add(letter(id, `because\0 of ž ${id}`));
        await inbox.dead.add({ ...letter('other'), consumer: 'wallet' });
        const found: string[] = [];
        let cursor: string | undefined;
        for (let pages = 0; pages < 9; pages++) {
          const { items, next } = await inbox.dead.list({ consumer: 'stock' }, { limit: 2, cursor });
          found.push(...items.map(({ messageId }) => messageId));
          cursor = next;
          if (next === undefined) break;
        }
        expect(found.toSorted()).toEqual(ids.toSorted());
        const { items } = await inbox.dead.list({ consumer: 'stock', messageIds: ['m1 '] }, { limit: 10 });
        expect(items).toMatchObject([
          { ...letter('m1 '), message: String.raw`{"a":"\u017em1 "}`, reason: 'because  of ž m1 ' },
        ]);
        expect(Math.abs((items[0]?.diedAtMs ?? 0) - Date.now())).toBeLessThan(60_000);
        expect(await inbox.dead.purge({ consumer: 'stock', messageIds: ['m1', 'ž'] })).toBe(2);
        expect(await inbox.dead.purge({ consumer: 'stock', messageIds: [] })).toBe(0);
        expect(await inbox.dead.purge({ consumer: 'stock', diedBeforeMs: 1 })).toBe(0);
        expect(await inbox.dead.purge({ consumer: 'stock', cause: 'refused' })).toBe(0);
        expect(await inbox.dead.purge({ consumer: 'stock' }, 2)).toBe(2);
        expect(await inbox.dead.purge({ consumer: 'stock' })).toBe(1);
        expect((await inbox.dead.list({ consumer: 'wallet' }, { limit: 10 })).items).toHaveLength(1);
      });

      test('that die again are overwritten', async () => {
        await inbox.dead.add(letter('m1'));
        await inbox.dead.add({ ...letter('m1', 'still none'), cause: 'refused', attempts: 9 });
        const { items } = await inbox.dead.list({ consumer: 'stock' }, { limit: 10 });
        expect(items).toMatchObject([{ reason: 'still none', cause: 'refused', attempts: 9 }]);
      });

      test('are not asked for with nonsense', async () => {
        expect(await codeOf(inbox.dead.list({ consumer: 'stock' }, { limit: 0 }))).toBe('invalid_request');
        expect(await codeOf(inbox.dead.list({ consumer: 'stock' }, { limit: 5, cursor: 'x' }))).toBe(
          'invalid_request',
        );
        expect(await codeOf(inbox.dead.purge({ consumer: 'stock', diedBeforeMs: 0.5 }))).toBe(
          'invalid_request',
        );
        expect(await codeOf(inbox.dead.purge({ consumer: 'a b' }))).toBe('config_invalid');
      });
    });

    describe('positions', () => {
      test('are saved with the work or not at all, and never go back', async () => {
        await inbox.once('stock', 'm1', (t) => inbox.positions.save(t, at(9_007_199_254_740_993n)));
        await inbox.once('stock', 'm2', (t) => inbox.positions.save(t, at(7n)));
        await inbox.once('stock', 'm3', (t) => inbox.positions.save(t, at(5n, 2)));
        await inbox.once('wallet', 'm3', (t) => inbox.positions.save(t, { ...at(1n), consumer: 'wallet' }));
        const failing = inbox.once('stock', 'm4', async (t) => {
          await inbox.positions.save(t, at(6n, 2));
          throw new Error('no');
        });
        await expect(failing).rejects.toThrow('no');
        expect(await inbox.positions.read('stock', 'orders')).toEqual(
          new Map([
            [0, 9_007_199_254_740_993n],
            [2, 5n],
          ]),
        );
        expect(await inbox.positions.read('stock', 'other')).toEqual(new Map());
      });
    });

    describe('tables', () => {
      afterEach(() => migrateInbox(opened.driver));

      test('that are missing are said to be, and migrating makes them, however often and at once', async () => {
        // DDL commits at MySQL, and the transaction says so.
        for (const table of tables)
          await tx.run((t) => t.query(`drop table if exists ${table}`)).catch(() => {});
        await tx.run((t) => t.query("delete from settle_schema where name = 'inbox'"));
        for (const ask of [
          () => inbox.once('stock', 'm1', () => {}),
          () => inbox.prune(),
          () => inbox.dead.list({ consumer: 'stock' }, { limit: 1 }),
          () => inbox.positions.read('stock', 'orders'),
        ]) {
          expect(await codeOf(ask())).toBe('tables_missing');
        }
        await Promise.all(Array.from({ length: 4 }, () => migrateInbox(opened.driver)));
        expect(await inbox.once('stock', 'm1', () => {})).toMatchObject({ duplicate: false });
      });

      test('of a newer version are left alone', async () => {
        await setVersion(99);
        try {
          expect(await codeOf(migrateInbox(opened.driver))).toBe('store_newer');
          const ran = createInbox(tx).once('stock', 'm1', (t) => void write(t, 'gone'));
          expect(await codeOf(ran)).toBe('store_newer');
          expect(await effects()).toEqual([]);
        } finally {
          await setVersion(inboxSchema.versions.postgres.length);
        }
      });
    });
  });
}

function write(t: Transaction<unknown>, value: string): Promise<unknown> {
  return t.query(`insert into effect (value) values ('${value}')`);
}

function letter(messageId: string, reason = 'no stock') {
  const message = `{"a":"ž${messageId}"}`;
  return { consumer: 'stock', messageId, message, cause: 'attempts', reason, attempts: 3 } as const;
}

function at(position: bigint, partition = 0) {
  return { consumer: 'stock', source: 'orders', partition, position };
}

/** A row that was deleted a moment ago is still something to lock, and hides deadlocks. */
function freshId(): string {
  return `fresh ${++freshIds}`;
}

let freshIds = 0;

const tables = ['settle_inbox', 'settle_inbox_dead', 'settle_inbox_offsets', 'settle_inbox_lock'];

function transactionsOver(driver: Driver<unknown>): Transactions<unknown> {
  return createTransactions(driver, { defaults: { acquireTimeoutMs: 30_000 } });
}

function repeated<T>(call: () => Promise<T>): Promise<T>[] {
  return Array.from({ length: duplicates }, call);
}

async function codeOf(failing: Promise<unknown>): Promise<string> {
  const error: unknown = await failing.then(
    () => new Error('it succeeded'),
    (thrown: unknown) => thrown,
  );
  return isSettleError(error) ? error.code : String(error);
}
