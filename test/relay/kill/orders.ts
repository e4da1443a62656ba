// A shop in this process: orders are written with their messages, and messages take effect, both in PostgreSQL.
import { Pool } from 'pg';
import { createConsumer, type HandleMessage } from '../../../lib/src/consumer/index.ts';
import { createInbox, migrateInbox } from '../../../lib/src/inbox/index.ts';
import { pgDriver } from '../../../lib/src/local/adapters/pg.ts';
import { createTransactions } from '../../../lib/src/local/index.ts';
import { createOutbox, defineMessages, message, migrateOutbox } from '../../../lib/src/outbox/index.ts';
import { Count } from './count.ts';

/** Orders that are committed and have not taken effect yet, at most: a broker that is down costs no memory. */
const lagMax = 400;
const keys = 8;

interface Order {
  readonly id: string;
  readonly key: string;
}

export interface Judgement {
  readonly orders: number;
  /** Committed, and without an effect. */
  readonly lost: readonly string[];
  /** With an effect, and not committed. */
  readonly madeUp: readonly string[];
  readonly twice: readonly string[];
  /** That came to the consumer for the first time, or took effect, after a later one of their key. */
  readonly late: { readonly arrivals: readonly string[]; readonly effects: readonly string[] };
}

/** `destination` is that of its messages. */
export async function openShop(url: string, destination: `${string}:${string}`) {
  const pool = new Pool({ connectionString: url, max: keys + 24 });
  const driver = pgDriver(pool);
  await migrateOutbox(driver);
  await migrateInbox(driver);
  await pool.query('create table orders (id text primary key, key text not null, n int not null)');
  await pool.query('create table effect (at bigserial primary key, order_id text not null)');

  const tx = createTransactions(driver);
  const outbox = createOutbox(
    tx,
    defineMessages({ placed: message<Order>({ key: (order) => order.key, destination }) }),
  );
  const effects = new Count('effects');
  const arrivals: string[] = [];
  const told = { rolledBack: 0, absorbed: 0, dead: 0 };
  const inbox = createInbox(tx);
  const consumer = createConsumer({
    name: 'shop',
    inbox,
    retry: { baseMs: 10, maxMs: 200 },
    handle: async (_, { tx: t, message: { id } }) =>
      void (await t.client.query('insert into effect (order_id) values ($1)', [id])),
    onEvent: (event) => {
      if (event.kind === 'dead') told.dead++;
      if (event.kind !== 'handled') return;
      if (event.duplicate) told.absorbed++;
      else effects.add();
    },
  });
  const handle: HandleMessage = (incoming, signal) => {
    arrivals.push(incoming.id);
    return consumer.handle(incoming, signal);
  };

  let written = 0;
  async function write(key: string, signal: AbortSignal): Promise<void> {
    for (let n = 1; !signal.aborted;) {
      if (written - effects.value >= lagMax) await effects.reached(written - lagMax + 1, 120_000);
      const isUndone = n % 5 === 0 && Math.random() < 0.5;
      const id = `${key}/${n}`;
      try {
        await tx.run(async ({ client }) => {
          await client.query('insert into orders (id, key, n) values ($1, $2, $3)', [id, key, n]);
          await outbox.send('placed', { id, key }, { id: isUndone ? `undone ${id}` : id });
          if (isUndone) throw new Error('undone');
        });
        written++;
        n++;
      } catch (error) {
        if (!isUndone) throw error;
        told.rolledBack++;
      }
    }
  }

  return {
    driver,
    outbox,
    inbox,
    handle,
    effects,
    told,
    arrivals,
    get written() {
      return written;
    },
    /** Until it is aborted. */
    async writeOrders(signal: AbortSignal): Promise<void> {
      await Promise.all(Array.from({ length: keys }, (_, i) => write(`k${i}`, signal)));
    },
    async judge(): Promise<Judgement> {
      const orders = await column('select id from orders');
      const effective = await column('select order_id as id from effect order by at');
      const [known, came] = [new Set(orders), new Set(effective)];
      return {
        orders: orders.length,
        lost: orders.filter((id) => !came.has(id)),
        madeUp: effective.filter((id) => !known.has(id)),
        twice: effective.filter((id, i) => effective.indexOf(id) < i),
        late: { arrivals: lateOnes([...new Set(arrivals)]), effects: lateOnes(effective) },
      };
    },
    close: () => pool.end(),
  };

  async function column(sql: string): Promise<readonly string[]> {
    const { rows } = await pool.query<{ id: string }>(sql);
    return rows.map(({ id }) => id);
  }
}

/** Of ids `key/n`, those behind a greater one of their key. */
function lateOnes(ids: readonly string[]): readonly string[] {
  const greatest = new Map<string, number>();
  return ids.filter((id) => {
    const [key = '', n] = id.split('/');
    const before = greatest.get(key) ?? 0;
    greatest.set(key, Math.max(before, Number(n)));
    return Number(n) < before;
  });
}
