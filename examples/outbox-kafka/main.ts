/** Orders, and the points they earn in another service: told by Kafka, if and only if the order was committed, and counted once. */
import { DatabaseSync } from 'node:sqlite';
import { Kafka, logLevel } from 'kafkajs';
import { createConsumer } from 'settle/consumer';
import { consumeKafka } from 'settle/consumer/kafka';
import { createInbox, migrateInbox } from 'settle/inbox';
import { createTransactions } from 'settle/local';
import { nodeSqliteDriver } from 'settle/local/node-sqlite';
import { createOutbox, defineMessages, message, migrateOutbox } from 'settle/outbox';
import { createRelay, sqlRelayStore } from 'settle/relay';
import { kafkaPublisher } from 'settle/relay/kafka';

const topic = process.env['KAFKA_TOPIC'] ?? 'orders';
const kafka = new Kafka({
  brokers: (process.env['KAFKA_BROKERS'] ?? '127.0.0.1:9092').split(','),
  logLevel: logLevel.NOTHING,
});
const producer = kafka.producer();
await producer.connect();

const messages = defineMessages({
  'order.placed': message<{ id: string; user: string; cents: number }>({
    key: ({ user }) => user,
    destination: `kafka:${topic}`,
  }),
});

// The service of orders: the message is a row of the order's own transaction, and a relay brings it to Kafka.
const orders = nodeSqliteDriver(new DatabaseSync('orders.db'));
const ordersTx = createTransactions(orders);
await ordersTx.run(({ client }) => client.exec('create table if not exists placed (id text, user text)'));
await migrateOutbox(orders);
const outbox = createOutbox(ordersTx, messages);
const relay = createRelay({ store: sqlRelayStore(orders), publishers: [kafkaPublisher({ producer })] });
outbox.onCommitted(() => relay.wake());
await relay.start();

// The service of points: what a message does is committed together with the word that it was done.
const points = nodeSqliteDriver(new DatabaseSync('points.db'));
const pointsTx = createTransactions(points);
await pointsTx.run(({ client }) => client.exec('create table if not exists earned (user text, points int)'));
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
const consumer = consumeKafka({ kafka, groupId: `points-${topic}`, topics: [topic], handle });

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
await producer.disconnect();
const ranking = await pointsTx.run(({ client }) =>
  client.prepare('select user, sum(points) as points from earned group by user').all(),
);
console.log(JSON.stringify(ranking));

async function place(order: { id: string; user: string; cents: number }): Promise<void> {
  await ordersTx.run(async ({ client }) => {
    client.prepare('insert into placed values (?, ?)').run(order.id, order.user);
    await outbox.send('order.placed', order);
    if (order.user === 'bob') throw new Error('bob is short of money');
  });
}
