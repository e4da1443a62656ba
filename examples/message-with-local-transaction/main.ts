/** An order and the points it earns: the points come if and only if the order was committed. */
import { DatabaseSync } from 'node:sqlite';
import { message, unchecked } from 'settle';
import { openCoordinator } from 'settle/engine';
import { sqliteBarrier } from 'settle/participant/sqlite';
import { sqliteStore } from 'settle/store/sqlite';

const orders = open('orders.db', 'create table if not exists orders (item text)');
const points = open('points.db', 'create table if not exists points (item text, points integer)');

const orderPlaced = message('order-placed', {
  input: unchecked<{ item: string; points: number }>(),
  // Asked only if we die between the commit and the word that it happened.
  check: (ctx) => orders.barrier.check(ctx),
}).to('points', {
  deliver: (input, ctx) =>
    points.barrier.run(ctx, (db) => {
      db.prepare('insert into points values (?, ?)').run(input.item, input.points);
    }),
});

const coordinator = await openCoordinator({ store: sqliteStore('settle.db'), definitions: [orderPlaced] });

for (const item of ['tea', 'gold']) {
  try {
    const sent = await coordinator.send(orderPlaced, { item, points: 5 }).withLocalTransaction(
      orders.barrier,
      (db) => {
        db.prepare('insert into orders values (?)').run(item);
        if (item === 'gold') throw new Error('out of stock');
      },
      { waitMs: 10_000 },
    );
    console.log(`${item}: ${sent.message.status}; ${count()}`);
  } catch (error) {
    console.log(`${item}: ${error instanceof Error ? error.message : 'failed'}; ${count()}`);
  }
}
await coordinator.close();

function open(path: string, schema: string) {
  const db = new DatabaseSync(path);
  db.exec(schema);
  const barrier = sqliteBarrier(db);
  barrier.migrate();
  return { db, barrier };
}

function count(): string {
  return `${rows(orders.db, 'orders')} orders, ${rows(points.db, 'points')} rewarded`;
}

function rows(db: DatabaseSync, table: string): string {
  return String(db.prepare(`select count(*) as n from ${table}`).get()?.['n']);
}
