/** Orders, and the points they earn in another service: told by NATS, if and only if the order was committed, and counted once. */
import { DatabaseSync } from 'node:sqlite';
import { AckPolicy, jetstream, jetstreamManager } from '@nats-io/jetstream';
import { connect, headers } from '@nats-io/transport-node';
import { createConsumer } from 'settle/consumer';
import { consumeNats } from 'settle/consumer/nats';
import { createInbox, migrateInbox } from 'settle/inbox';
import { createTransactions } from 'settle/local';
import { nodeSqliteDriver } from 'settle/local/node-sqlite';
import { createOutbox, defineMessages, message, migrateOutbox } from 'settle/outbox';
import { createRelay, sqlRelayStore } from 'settle/relay';
import { natsPublisher } from 'settle/relay/nats';

const stream = process.env['NATS_STREAM'] ?? 'orders';
const connection = await connect({ servers: process.env['NATS_URL'] ?? 'nats://127.0.0.1:4222' });
const manager = await jetstreamManager(connection);
await manager.streams.add({ name: stream, subjects: [`${stream}.*`] });
await manager.consumers.add(stream, { durable_name: 'points', ack_policy: AckPolicy.Explicit });
const client = jetstream(connection);

const messages = defineMessages({
  'order.placed': message<{ id: string; user: string; cents: number }>({
    key: ({ user }) => user,
    destination: `nats:${stream}.placed`,
  }),
});

// The service of orders: the message is a row of the order's own transaction, and a relay brings it to NATS.
const orders = nodeSqliteDriver(new DatabaseSync('orders.db'));
const ordersTx = createTransactions(orders);
await ordersTx.run(({ client: db }) => db.exec('create table if not exists placed (id text, user text)'));
await migrateOutbox(orders);
const outbox = createOutbox(ordersTx, messages);
const relay = createRelay({
  store: sqlRelayStore(orders),
  publishers: [natsPublisher({ connection, jetstream: client, headers })],
});
outbox.onCommitted(() => relay.wake());
await relay.start();

// The service of points: what a message does is committed together with the word that it was done.
const points = nodeSqliteDriver(new DatabaseSync('points.db'));
const pointsTx = createTransactions(points);
await pointsTx.run(({ client: db }) => db.exec('create table if not exists earned (user text, points int)'));
await migrateInbox(points);
const { promise: bothEarned, resolve } = Promise.withResolvers<void>();
let handled = 0;
const { handle } = createConsumer({
  name: 'points',
  inbox: createInbox(pointsTx),
  messages,
  onEvent: ({ kind }) => {
    if (kind === 'handled' && (handled += 1) === 2) resolve();
  },
  handlers: {
    'order.placed': ({ user, cents }, { tx }) => {
      tx.client.prepare('insert into earned values (?, ?)').run(user, Math.floor(cents / 100));
    },
  },
});
const consumer = consumeNats({ jetstream: client, stream, durable: 'points', handle });

for (const order of [
  { id: 'o-1', user: 'ann', cents: 500 },
  { id: 'o-2', user: 'bob', cents: 900 },
  { id: 'o-3', user: 'ann', cents: 250 },
]) {
  await place(order).then(
    () => console.log(`${order.id}: placed`),
    (error: unknown) => console.log(`${order.id}: ${error instanceof Error ? error.message : 'failed'}`),
  );
}

await bothEarned;
await consumer.stop();
await relay.stop();
await connection.close();
const ranking = await pointsTx.run(({ client: db }) =>
  db.prepare('select user, sum(points) as points from earned group by user').all(),
);
console.log(JSON.stringify(ranking));

async function place(order: { id: string; user: string; cents: number }): Promise<void> {
  await ordersTx.run(async ({ client: db }) => {
    db.prepare('insert into placed values (?, ?)').run(order.id, order.user);
    await outbox.send('order.placed', order);
    if (order.user === 'bob') throw new Error('bob is short of money');
  });
}
