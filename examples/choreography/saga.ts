/** The same story with a conductor: who does what when, and what undoes it, stands in one place. */
import { Refused, saga, unchecked } from 'settle';
import { openCoordinator } from 'settle/engine';
import { sqliteStore } from 'settle/store/sqlite';
import type { Order } from './messages.ts';

export async function openSaga() {
  const shop = {
    cups: 5,
    money: new Map([
      ['ann', 10],
      ['bob', 1],
    ]),
  };

  const placeOrder = saga('place-order', { input: unchecked<Order>() })
    .step('reserve', {
      do({ cups }) {
        if (shop.cups < cups) throw new Refused('out of stock');
        shop.cups -= cups;
        return { total: cups * 3 };
      },
      undo({ cups }) {
        shop.cups += cups;
      },
    })
    .step('charge', {
      do({ user }, ctx) {
        const left = (shop.money.get(user) ?? 0) - ctx.results.reserve.total;
        if (left < 0) throw new Refused(`${user} is short of money`);
        shop.money.set(user, left);
      },
    });

  const coordinator = await openCoordinator({ store: sqliteStore('settle.db'), definitions: [placeOrder] });
  return {
    async place(order: Order): Promise<string> {
      const outcome = await coordinator.run(placeOrder, order, { gid: order.id });
      return outcome.status === 'aborted' ? `rejected: ${outcome.reason}` : 'completed';
    },
    left: () => shop.cups,
    money: (user: string) => shop.money.get(user),
    close: () => coordinator.close(),
  };
}
