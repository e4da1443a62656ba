/** The wallet service's business, in its own database. Amounts are whole cents. */
import type { DatabaseSync } from 'node:sqlite';
import { Refused } from 'settle/participant';
import type { OrderPayload } from './order-payload.ts';

/** Saga: the money moves at once. */
export function charge(db: DatabaseSync, orderId: string, order: OrderPayload): void {
  take(
    db,
    order,
    'update customer set balance_cents = balance_cents - $cents where id = $id and balance_cents >= $cents',
  );
  takings(db, order.totalCents);
  enter(db, orderId, order, { taken: order.totalCents });
}

/** Saga: the undo of {@link charge}. */
export function refund(db: DatabaseSync, orderId: string, order: OrderPayload): void {
  update(db, order, 'update customer set balance_cents = balance_cents + $cents where id = $id');
  takings(db, -order.totalCents);
  enter(db, orderId, order, { taken: -order.totalCents });
}

/** TCC: the money is put aside. */
export function hold(db: DatabaseSync, orderId: string, order: OrderPayload): void {
  take(
    db,
    order,
    `update customer set balance_cents = balance_cents - $cents, held_cents = held_cents + $cents
     where id = $id and balance_cents >= $cents`,
  );
  enter(db, orderId, order, { held: order.totalCents });
}

export function takeHeld(db: DatabaseSync, orderId: string, order: OrderPayload): void {
  update(db, order, 'update customer set held_cents = held_cents - $cents where id = $id');
  takings(db, order.totalCents);
  enter(db, orderId, order, { taken: order.totalCents, held: -order.totalCents });
}

export function freeHeld(db: DatabaseSync, orderId: string, order: OrderPayload): void {
  update(
    db,
    order,
    'update customer set held_cents = held_cents - $cents, balance_cents = balance_cents + $cents where id = $id',
  );
  enter(db, orderId, order, { held: -order.totalCents });
}

/** Message: billed on account, which cannot be refused. */
export function bill(db: DatabaseSync, orderId: string, order: OrderPayload): void {
  update(db, order, 'update customer set owed_cents = owed_cents + $cents where id = $id');
  takings(db, order.totalCents);
  enter(db, orderId, order, { taken: order.totalCents, owed: order.totalCents });
}

function take(db: DatabaseSync, order: OrderPayload, sql: string): void {
  if (db.prepare(sql).run(amountOf(order)).changes === 0) {
    throw new Refused(`customer ${order.customer} has too little money`);
  }
}

function update(db: DatabaseSync, order: OrderPayload, sql: string): void {
  db.prepare(sql).run(amountOf(order));
}

function amountOf(order: OrderPayload) {
  return { cents: order.totalCents, id: order.customer };
}

function takings(db: DatabaseSync, cents: number): void {
  db.prepare('update till set takings_cents = takings_cents + ?').run(cents);
}

function enter(
  db: DatabaseSync,
  orderId: string,
  order: OrderPayload,
  change: { readonly taken?: number; readonly held?: number; readonly owed?: number },
): void {
  const { taken = 0, held = 0, owed = 0 } = change;
  db.prepare(
    `insert into entry (order_id, customer_id, taken_cents, held_cents, owed_cents, reference)
     values (?, ?, ?, ?, ?, ?)`,
  ).run(orderId, order.customer, taken, held, owed, order.reference ?? null);
}
