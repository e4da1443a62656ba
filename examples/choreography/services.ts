/**
 * A shop without a conductor: each service hears what happened, does its part in a transaction of its own, and tells what
 * came of it. What cannot be done is told, too, and whoever had done his part takes it back.
 *
 *   orders: order.placed -> stock: stock.reserved -> wallet: wallet.charged -> orders: completed
 *                           stock.refused ----------------------------------> orders: rejected
 *                                                    wallet.refused --------> orders: rejected, stock: given back
 */
import { createConsumer } from 'settle/consumer';
import { messages, type Order } from './messages.ts';
import { openService } from './service.ts';

const pricePerCup = 3;

export async function openOrders() {
  const service = await openService('orders', 'create table orders (id text primary key, outcome text)');
  const { tx, outbox, inbox } = service;
  const waiting = new Map<string, (outcome: string) => void>();

  function end(id: string, outcome: string): void {
    tx.db.prepare('update orders set outcome = ? where id = ?').run(outcome, id);
    // Not before it is true.
    tx.required().onAfterCommit(() => waiting.get(id)?.(outcome));
  }

  const { handle } = createConsumer({
    name: 'orders',
    inbox,
    messages,
    handlers: {
      'wallet.charged': ({ id }) => end(id, 'completed'),
      'stock.refused': ({ id, reason }) => end(id, `rejected: ${reason}`),
      'wallet.refused': ({ id, reason }) => end(id, `rejected: ${reason}`),
    },
  });

  /** Resolves with what came of the order. */
  async function place(order: Order): Promise<string> {
    const outcome = new Promise<string>((resolve) => waiting.set(order.id, resolve));
    await tx.run(async () => {
      tx.db.prepare('insert into orders (id) values (?)').run(order.id);
      await outbox.send('order.placed', order);
    });
    return await outcome;
  }

  return { ...service, handle, place };
}

export async function openStock() {
  const service = await openService(
    'stock',
    'create table stock (cups integer); insert into stock values (5)',
  );
  const { tx, outbox, inbox } = service;

  const { handle } = createConsumer({
    name: 'stock',
    inbox,
    messages,
    handlers: {
      async 'order.placed'(order) {
        const { changes } = tx.db
          .prepare('update stock set cups = cups - ? where cups >= ?')
          .run(order.cups, order.cups);
        if (changes === 0) await outbox.send('stock.refused', { ...order, reason: 'out of stock' });
        else await outbox.send('stock.reserved', { ...order, total: order.cups * pricePerCup });
      },
      // The compensating event.
      'wallet.refused': ({ cups }) => tx.db.prepare('update stock set cups = cups + ?').run(cups),
    },
  });

  const left = () => Number(tx.db.prepare('select cups from stock').get()?.['cups']);
  return { ...service, handle, left };
}

export async function openWallet() {
  const service = await openService(
    'wallet',
    `create table wallet (user text primary key, money integer); insert into wallet values ('ann', 10), ('bob', 1)`,
  );
  const { tx, outbox, inbox } = service;

  const { handle } = createConsumer({
    name: 'wallet',
    inbox,
    messages,
    handlers: {
      async 'stock.reserved'({ total, ...order }) {
        const { changes } = tx.db
          .prepare('update wallet set money = money - ? where user = ? and money >= ?')
          .run(total, order.user, total);
        if (changes === 1) await outbox.send('wallet.charged', order);
        else await outbox.send('wallet.refused', { ...order, reason: `${order.user} is short of money` });
      },
    },
  });

  const money = (user: string) =>
    Number(tx.db.prepare('select money from wallet where user = ?').get(user)?.['money']);
  return { ...service, handle, money };
}
