/** Orders in one database, stock in another, RabbitMQ between them: stock moves once for each order that was committed. */
import { DatabaseSync } from 'node:sqlite';
import amqplib from 'amqplib';
import { createConsumer } from 'settle/consumer';
import { consumeRabbit } from 'settle/consumer/rabbitmq';
import { createInbox, migrateInbox } from 'settle/inbox';
import { createTransactions } from 'settle/local';
import { nodeSqliteDriver } from 'settle/local/node-sqlite';
import { createOutbox, defineMessages, message, migrateOutbox } from 'settle/outbox';
import { createRelay, sqlRelayStore } from 'settle/relay';
import { rabbitPublisher } from 'settle/relay/rabbitmq';

const connect = () => amqplib.connect(process.env['RABBITMQ_URL'] ?? 'amqp://127.0.0.1');

const messages = defineMessages({
  'order.placed': message<{ id: string; sku: string }>({
    destination: 'rabbitmq:settle-example/order.placed',
    key: ({ sku }) => sku,
  }),
});

const broker = await connect();
const channel = await broker.createChannel();
await channel.assertExchange('settle-example', 'topic', { durable: true });
// One process at a time handles the queue, so that orders of one item stay in order.
await channel.assertQueue('settle-example-stock', {
  durable: true,
  arguments: { 'x-single-active-consumer': true },
});
await channel.bindQueue('settle-example-stock', 'settle-example', 'order.placed');

const orders = open('orders.db', 'create table if not exists orders (id text primary key, sku text)');
await migrateOutbox(orders.driver);
const outbox = createOutbox(orders.tx, messages);
const publisher = rabbitPublisher({ connection: connect });
const relay = createRelay({ store: sqlRelayStore(orders.driver), publishers: [publisher] });
outbox.onCommitted(() => relay.wake());

const stock = open('stock.db', 'create table if not exists moves (sku text)');
await migrateInbox(stock.driver);
let handled = 0;
let tell = (): void => undefined;
const { handle } = createConsumer({
  name: 'stock',
  inbox: createInbox(stock.tx),
  messages,
  handlers: {
    'order.placed': ({ sku }) => void stock.db.prepare('insert into moves values (?)').run(sku),
  },
  onEvent({ kind }) {
    if (kind === 'handled') handled += 1;
    tell();
  },
});
const consumer = consumeRabbit({ connection: connect, queue: 'settle-example-stock', handle });
await relay.start();

for (const [id, sku] of Object.entries({ 'o-1': 'tea', 'o-2': 'gold', 'o-3': 'salt' })) {
  try {
    await orders.tx.run(async () => {
      orders.db.prepare('insert into orders values (?, ?)').run(id, sku);
      await outbox.send('order.placed', { id, sku }, { id });
      if (sku === 'gold') throw new Error('out of stock');
    });
    console.log(`${id}: ordered ${sku}`);
  } catch (error) {
    console.log(`${id}: ${error instanceof Error ? error.message : 'failed'}`);
  }
}
await untilHandled(2);
console.log(`moved: ${moves()}`);

// As after a crash between publishing and writing that down: the broker has it twice, and it takes effect once.
const properties = { messageId: 'o-1', type: 'order.placed', headers: { 'settle-key': 'tea' } };
channel.publish('settle-example', 'order.placed', Buffer.from('{"id":"o-1","sku":"tea"}'), properties);
await untilHandled(3);
console.log(`moved: ${moves()}, though o-1 came twice`);

await relay.stop();
await consumer.stop();
await publisher.close();
await broker.close();

function open(path: string, schema: string) {
  const db = new DatabaseSync(path);
  db.exec(schema);
  const driver = nodeSqliteDriver(db);
  return { db, driver, tx: createTransactions(driver) };
}

function moves(): string {
  const rows = stock.db.prepare('select sku from moves order by sku').all();
  return rows.map(({ sku }) => String(sku)).join(', ');
}

async function untilHandled(count: number): Promise<void> {
  while (handled < count) await new Promise<void>((resolve) => (tell = resolve));
}
