/** One story told twice: by services that listen to each other, and by a saga that tells them what to do. */
import { openSaga } from './saga.ts';
import { openOrders, openStock, openWallet } from './services.ts';

const wishes = [
  { id: 'o-1', user: 'ann', cups: 2 },
  { id: 'o-2', user: 'bob', cups: 1 },
  { id: 'o-3', user: 'ann', cups: 9 },
];

const [orders, stock, wallet] = await Promise.all([openOrders(), openStock(), openWallet()]);
const services = [orders, stock, wallet];
const listeners = services.map(({ handle }) => handle);
const stops = await Promise.all(services.map((service) => service.tell(listeners)));

console.log('by events:');
for (const wish of wishes) console.log(`  ${wish.user}: ${await orders.place(wish)}`);
await Promise.all(stops.map((stop) => stop()));
console.log(`  ${stock.left()} cups left; ann has ${wallet.money('ann')}, bob has ${wallet.money('bob')}`);
for (const service of services) service.close();

const shop = await openSaga();
console.log('by a saga:');
for (const wish of wishes) console.log(`  ${wish.user}: ${await shop.place(wish)}`);
console.log(`  ${shop.left()} cups left; ann has ${shop.money('ann')}, bob has ${shop.money('bob')}`);
await shop.close();
