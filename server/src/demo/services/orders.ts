/** The orders service's business, in its own database. No line of it knows of repeats or late calls: the barrier does. */
import type { DatabaseSync } from 'node:sqlite';
import type { OrderPayload } from './order-payload.ts';

/** An order nobody may ship yet. Its number is the result of the step, for later steps to use. */
export function createOrder(
  db: DatabaseSync,
  orderId: string,
  order: OrderPayload,
): { readonly number: number } {
  return insertOrder(db, orderId, order, 'open');
}

/** The producer's local transaction of an invoice order: accepted at once, for nobody may refuse it any more. */
export function acceptAtOnce(
  db: DatabaseSync,
  orderId: string,
  order: OrderPayload,
): { readonly number: number } {
  return insertOrder(db, orderId, order, 'accepted');
}

export function acceptOrder(db: DatabaseSync, orderId: string): void {
  changeStatus(db, orderId, 'accepted');
}

export function cancelOrder(db: DatabaseSync, orderId: string): void {
  changeStatus(db, orderId, 'cancelled');
}

function insertOrder(
  db: DatabaseSync,
  orderId: string,
  order: OrderPayload,
  status: 'open' | 'accepted',
): { readonly number: number } {
  const { lastInsertRowid } = db
    .prepare(
      'insert into customer_order (order_id, pattern, customer_id, total_cents, status) values (?, ?, ?, ?, ?)',
    )
    .run(orderId, order.pattern, order.customer, order.totalCents, status);
  const insertLine = db.prepare('insert into order_line (order_id, sku, quantity) values (?, ?, ?)');
  for (const { sku, quantity } of order.lines) insertLine.run(orderId, sku, quantity);
  return { number: Number(lastInsertRowid) };
}

function changeStatus(db: DatabaseSync, orderId: string, status: 'accepted' | 'cancelled'): void {
  db.prepare('update customer_order set status = ? where order_id = ?').run(status, orderId);
}
