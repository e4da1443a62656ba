import { Refused, saga, unchecked } from 'settle';
import { openCoordinator } from 'settle/engine';
import { sqliteStore } from 'settle/store/sqlite';

const shop = { tea: 5, money: { ann: 10, bob: 1 } };

const placeOrder = saga('place-order', { input: unchecked<{ user: 'ann' | 'bob'; cups: number }>() })
  .step('reserve', {
    do: ({ cups }) => ({ total: cups * 3, left: (shop.tea -= cups) }),
    undo: ({ cups }) => (shop.tea += cups),
  })
  .step('charge', {
    do: ({ user }, ctx) => {
      if (shop.money[user] < ctx.results.reserve.total) throw new Refused(`${user} is short of money`);
      return (shop.money[user] -= ctx.results.reserve.total);
    },
  });

const coordinator = await openCoordinator({ store: sqliteStore('settle.db'), definitions: [placeOrder] });
for (const user of ['ann', 'bob'] as const) {
  const outcome = await coordinator.run(placeOrder, { user, cups: 2 });
  console.log(user, outcome.status, outcome.status === 'aborted' ? outcome.reason : '', shop);
}
await coordinator.close();
