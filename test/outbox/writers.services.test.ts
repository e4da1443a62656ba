// Senders that meet each other, on real servers.
import { afterAll, beforeAll, beforeEach, describe, expect, onTestFinished, test } from 'vitest';
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
import { outcomeOf, turn } from '../local/world.ts';
import { mysqlAdapters, postgresAdapters, type OpenAdapter } from './adapters.ts';
import { mysqlTables, postgresTables, type ServerTables } from './tables.ts';

const messages = defineMessages({ note: message<unknown>({ destination: 'test:notes' }) });
const writers = 64;
const isKept = (writer: number, round: number) => (writer + round) % 5 !== 0;

/** Whose statements wait for a lock, or are at the server and cannot but wait for it. */
const waiting = {
  postgres: "select 1 from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()",
  mysql:
    "select 1 from information_schema.processlist where db = database() and info like '%settle_outbox_key_locks%' and id <> connection_id()",
};

sendersMeet('pg', postgresTables(), postgresAdapters);
sendersMeet('postgres.js', postgresTables(), postgresAdapters);
sendersMeet('mysql2', mysqlTables(), mysqlAdapters);
sendersMeet('mariadb', mysqlTables(), mysqlAdapters);

function sendersMeet(
  name: string,
  tables: ServerTables,
  adapters: Readonly<Record<string, OpenAdapter>>,
): void {
  describe(`senders with ${name} on ${tables.kind}`, () => {
    let opened: OpenDriver<unknown> | undefined;
    let tx: Transactions<unknown>;
    let outbox: Outbox<unknown, typeof messages>;
    let serializing: Outbox<unknown, typeof messages>;

    beforeAll(async () => {
      opened = await adapters[name]?.(tables.url, writers);
      if (opened === undefined) throw new Error(`there is no adapter ${name}`);
      await migrateOutbox(opened.driver);
      tx = createTransactions(opened.driver, { defaults: { acquireTimeoutMs: 60_000 } });
      outbox = createOutbox(tx, messages);
      serializing = createOutbox(tx, messages, { serializeKeys: true });
    });
    afterAll(() => opened?.close());
    beforeEach(async () => {
      for (const table of ['', '_delayed', '_dedup']) await tables.run(`delete from settle_outbox${table}`);
    });

    test(`${writers} at a time leave the messages of those that commit, in the order each sent them`, async () => {
      const rounds = 5;
      const write = async (writer: number): Promise<void> => {
        for (let round = 0; round < rounds; round++) {
          const ran = tx.run(async () => {
            await outbox.send('note', { writer, at: round * 2 }, { key: `k${writer % 7}` });
            await tx.run((t) => t.query('select 1'));
            await outbox.send('note', { writer, at: round * 2 + 1 });
            if (!isKept(writer, round)) throw new Error('no');
          });
          expect(await outcomeOf(ran)).toBe(isKept(writer, round) ? 'returns undefined' : 'no');
        }
      };
      await Promise.all(Array.from({ length: writers }, (_, writer) => write(writer)));
      const left = Object.groupBy(
        (await notesOf(tables)) as { writer: number; at: number }[],
        ({ writer }) => writer,
      );
      for (let writer = 0; writer < writers; writer++) {
        const kept = Array.from({ length: rounds }, (_, round) => round).filter((round) =>
          isKept(writer, round),
        );
        expect(left[writer]?.map(({ at }) => at)).toEqual(
          kept.flatMap((round) => [round * 2, round * 2 + 1]),
        );
      }
    });

    test.each([
      ['the first commits', 0],
      ['the first three roll back', 3],
    ])(
      'of 64 that use one dedup key at a time one message is left, and nobody meets a deadlock: %s',
      async (_, failing) => {
        const rounds = 5;
        for (let round = 0; round < rounds; round++) {
          let toFail = failing;
          const outcomes = await Promise.all(
            Array.from({ length: writers }, (_, writer) =>
              outcomeOf(
                tx.run(async (t) => {
                  await outbox.send(
                    'note',
                    { round },
                    { dedupKey: `round ${round}`, id: `${round}-${writer}` },
                  );
                  t.onBeforeCommit(() => {
                    if (toFail-- > 0) throw new Error('rolled back');
                  });
                }),
              ),
            ),
          );
          const expected = Array.from({ length: writers }, (_, at) =>
            at < failing ? 'rolled back' : 'returns undefined',
          );
          expect(outcomes.toSorted()).toEqual(expected.toSorted());
        }
        expect(await notesOf(tables)).toEqual(Array.from({ length: rounds }, (_, round) => ({ round })));
      },
    );

    test.each([
      ['dedup keys', () => outbox],
      ['dedup keys and keys that are serialized', () => serializing],
    ])('%s in opposite orders meet no deadlock', async (_, used) => {
      const keys = Array.from({ length: 12 }, (_, n) => `k${n}`);
      for (let round = 0; round < 5; round++) {
        const outcomes = await Promise.all(
          Array.from({ length: writers }, (_, writer) => {
            const order = writer % 2 === 0 ? keys : keys.toReversed();
            const from = writer % keys.length;
            const own = [...order.slice(from), ...order.slice(0, from)].slice(0, 6);
            return outcomeOf(
              tx.run(async () => {
                for (const key of own) await used().send('note', key, { key, dedupKey: `${round} ${key}` });
              }),
            );
          }),
        );
        expect(new Set(outcomes)).toEqual(new Set(['returns undefined']));
      }
      expect(await notesOf(tables)).toHaveLength(5 * keys.length);
    });

    test('who uses a dedup key waits for the one that has it, and passes when that rolls back', async () => {
      const { promise: gate, resolve: open } = Promise.withResolvers<void>();
      onTestFinished(() => open());
      const { promise: written, resolve: tellWritten } = Promise.withResolvers<void>();
      const first = tx.run(async (t) => {
        await outbox.send('note', 'first', { dedupKey: 'k' });
        t.onBeforeCommit(async () => {
          tellWritten();
          await gate;
          throw new Error('rolled back');
        });
      });
      const outcome = outcomeOf(first);
      await written;
      const second = tx.run(() => outbox.send('note', 'second', { dedupKey: 'k' }));
      await somebodyWaits(tables);
      open();
      expect(await outcome).toBe('rolled back');
      await second;
      expect(await notesOf(tables)).toEqual(['second']);
    });

    const send = (note: string, key: string, afterWrite?: () => Promise<void>): Promise<void> =>
      tx.run(async (t) => {
        await serializing.send('note', note, { key });
        if (afterWrite !== undefined) t.onBeforeCommit(afterWrite);
      });

    test('with serializeKeys, who sends with a key writes only once whoever sent with it before has committed', async () => {
      const { promise: gate, resolve: open } = Promise.withResolvers<void>();
      onTestFinished(() => open());
      const { promise: written, resolve: tellWritten } = Promise.withResolvers<void>();
      const first = send('first', 'k', async () => {
        tellWritten();
        await gate;
      });
      await written;
      let seen: unknown[] = [];
      const second = send('second', 'k', async () => {
        seen = await notesOf(tables);
      });
      await somebodyWaits(tables);
      await send('other', 'another key');
      expect(await notesOf(tables)).toEqual(['other']);
      open();
      await Promise.all([first, second]);
      expect(new Set(seen)).toEqual(new Set(['first', 'other']));
      expect((await notesOf(tables)).filter((note) => note !== 'other')).toEqual(['first', 'second']);
    });

    test('without it, the order of a key is that of the writes, and nobody waits', async () => {
      const { promise: gate, resolve: open } = Promise.withResolvers<void>();
      onTestFinished(() => open());
      const { promise: written, resolve: tellWritten } = Promise.withResolvers<void>();
      const first = tx.run(async (t) => {
        await outbox.send('note', 'first', { key: 'k' });
        t.onBeforeCommit(async () => {
          tellWritten();
          await gate;
        });
      });
      await written;
      await tx.run(() => outbox.send('note', 'second', { key: 'k' }));
      expect(await notesOf(tables)).toEqual(['second']);
      open();
      await first;
      expect(await notesOf(tables)).toEqual(['first', 'second']);
    });

    test('a transaction that is tried again writes its messages once, those it wrote early among them', async () => {
      const conflict = Object.assign(
        new Error('conflict'),
        tables.kind === 'postgres' ? { code: '40001' } : { errno: 1020 },
      );
      let attempts = 0;
      await tx.run(
        async () => {
          attempts++;
          const many = Array.from(
            { length: 1_100 },
            (_, n) => ({ type: 'note', payload: [attempts, n] }) as const,
          );
          await outbox.sendMany(many);
          await outbox.send('note', [attempts, 'last'], { dedupKey: 'k' });
          if (attempts < 3) throw conflict;
        },
        { retry: { attemptsMax: 3, baseMs: 1 } },
      );
      const left = (await notesOf(tables)) as [number, unknown][];
      expect(left).toHaveLength(1_101);
      expect(new Set(left.map(([attempt]) => attempt))).toEqual(new Set([3]));
    });

    test('a huge payload is stored, or fails its transaction alone: it is never cut off', async () => {
      const huge = createOutbox(tx, messages, { payloadBytesMax: 2 ** 26 });
      const sizes = [4, 12, 40].map((megabytes) => megabytes * 2 ** 20);
      const stored: number[] = [];
      for (const size of sizes) {
        const outcome = await outcomeOf(
          tx.run(() => huge.sendMany([{ type: 'note', payload: 'x'.repeat(size) }])),
        );
        if (outcome.startsWith('returns')) stored.push(size + 2);
      }
      await tx.run(() => outbox.send('note', ''));
      const rows = await tables.rows('select length(payload) as bytes from settle_outbox order by seq');
      expect(rows.map(({ bytes }) => Number(bytes))).toEqual([...stored, 2]);
      expect(stored).toHaveLength(tables.kind === 'postgres' ? 3 : 2);
    });

    // Elsewhere DDL is part of the transaction.
    test.runIf(tables.kind === 'mysql')(
      'what DDL has committed has no messages, which its error tells',
      async () => {
        const ran = tx.run(async (t) => {
          await t.query("insert into settle_outbox_dedup (dedup_key, message_id) values ('business', '')");
          await outbox.send('note', 'held back');
          await t.query('create table if not exists ddl (id int)');
        });
        expect(await outcomeOf(ran)).toBe('implicit_commit');
        expect(await tables.rows('select message_id from settle_outbox_dedup')).toHaveLength(1);
        expect(await notesOf(tables)).toEqual([]);
      },
    );

    const isolations =
      tables.kind === 'postgres'
        ? (['serializable'] as const)
        : (['repeatable-read', 'read-committed'] as const);
    test.each(isolations)(
      'a dedup key that a transaction at %s cannot see is met all the same',
      async (isolation) => {
        let attempts = 0;
        await tx.run(
          async (t) => {
            attempts++;
            await t.query('select 1 from settle_outbox_dedup limit 1');
            if (attempts === 1) {
              await tx.exit(() => tx.run(() => outbox.send('note', 'other', { dedupKey: 'k' })));
            }
            await outbox.send('note', 'repeat', { dedupKey: 'k' });
            await outbox.send('note', 'kept');
          },
          { isolation, retry: { attemptsMax: 5, baseMs: 1 } },
        );
        // What it cannot see is a conflict on PostgreSQL.
        expect(attempts).toBe(isolation === 'serializable' ? 2 : 1);
        expect(await notesOf(tables)).toEqual(['other', 'kept']);
      },
    );
  });
}

async function notesOf(tables: ServerTables): Promise<unknown[]> {
  const rows = await tables.rows('select payload from settle_outbox order by seq');
  return rows.map(({ payload }) => JSON.parse(String(payload)) as unknown);
}

/** Resolves once somebody waits for a lock. */
async function somebodyWaits(tables: ServerTables): Promise<void> {
  for (let looks = 0; looks < 2_000; looks++) {
    if ((await tables.rows(waiting[tables.kind])).length > 0) return;
    await turn();
  }
  throw new Error('nobody waits for a lock');
}
