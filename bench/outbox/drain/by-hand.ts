/** What everybody writes first: a loop of BEGIN, SELECT .. FOR UPDATE SKIP LOCKED, publish, DELETE, COMMIT. */
import { countOf, openPool, payload, settleDown } from '../database.ts';
import { batchMax, type Contender } from './contender.ts';

/** The order of a key is lost as soon as there are two loops, or a message that fails. */
export const skipLocked = byHand('skip locked, 1 loop', { loops: 1, where: 'true' });
export const skipLockedFour = byHand('skip locked, 4 loops', { loops: 4, where: 'true' });

/** Keeps the order of a key: of each the oldest message alone. Its index is (key, id). */
export const oldestOfKey = byHand('skip locked, oldest of each key', {
  loops: 1,
  where: 'not exists (select from bench_outbox e where e.key = o.key and e.id < o.id)',
});

interface Loop {
  readonly loops: number;
  readonly where: string;
}

function byHand(name: string, { loops, where }: Loop): Contender {
  return {
    name,
    async open(url) {
      const pool = openPool(url);
      await pool.query(`create table if not exists bench_outbox (
        id bigint generated always as identity primary key,
        message_id text not null, topic text not null, key text, type text not null, payload text not null, headers text)`);
      await pool.query('create index if not exists bench_outbox_key on bench_outbox (key, id)');

      const select = `select id, message_id, topic, key, type, payload, headers from bench_outbox o
        where ${where} order by id limit ${batchMax} for update skip locked`;
      const loop = async (published: (count: number) => void, signal: AbortSignal): Promise<void> => {
        const client = await pool.connect();
        while (!signal.aborted) {
          await client.query('begin');
          const { rows } = await client.query<{ id: string }>(select);
          if (rows.length > 0) {
            published(rows.length);
            await client.query('delete from bench_outbox where id = any($1)', [rows.map(({ id }) => id)]);
          }
          await client.query('commit');
        }
        client.release();
      };
      return {
        async fill({ messages, keys }) {
          await pool.query('truncate bench_outbox');
          await pool.query(
            `insert into bench_outbox (message_id, topic, key, type, payload)
             select 'm-' || n, 'orders', 'key-' || n % $2::int, 'order.placed', $3 from generate_series(1, $1::int) n`,
            [messages, keys, payload],
          );
          await settleDown(pool, 'bench_outbox');
        },
        async drain(published, signal) {
          await Promise.all(Array.from({ length: loops }, () => loop(published, signal)));
        },
        left: () => countOf(pool, 'bench_outbox'),
        close: () => pool.end(),
      };
    },
  };
}
