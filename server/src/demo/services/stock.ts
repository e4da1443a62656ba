/** The stock service's business, in its own database. */
import type { DatabaseSync } from 'node:sqlite';
import { Refused } from 'settle/participant';
import type { OrderPayload } from './order-payload.ts';

/** Saga: the goods are sold at once. */
export function reserve(db: DatabaseSync, orderId: string, order: OrderPayload): void {
  take(
    db,
    order,
    'update product set available = available - $n, sold = sold + $n where sku = $sku and available >= $n',
  );
  move(db, orderId, order, (quantity) => ({ sold: quantity, held: 0 }));
}

/** Saga: the undo of {@link reserve}. */
export function release(db: DatabaseSync, orderId: string, order: OrderPayload): void {
  update(db, order, 'update product set available = available + $n, sold = sold - $n where sku = $sku');
  move(db, orderId, order, (quantity) => ({ sold: -quantity, held: 0 }));
}

/** TCC: the goods are put aside. */
export function hold(db: DatabaseSync, orderId: string, order: OrderPayload): void {
  take(
    db,
    order,
    'update product set available = available - $n, held = held + $n where sku = $sku and available >= $n',
  );
  move(db, orderId, order, (quantity) => ({ sold: 0, held: quantity }));
}

export function sellHeld(db: DatabaseSync, orderId: string, order: OrderPayload): void {
  update(db, order, 'update product set held = held - $n, sold = sold + $n where sku = $sku');
  move(db, orderId, order, (quantity) => ({ sold: quantity, held: -quantity }));
}

export function freeHeld(db: DatabaseSync, orderId: string, order: OrderPayload): void {
  update(db, order, 'update product set held = held - $n, available = available + $n where sku = $sku');
  move(db, orderId, order, (quantity) => ({ sold: 0, held: -quantity }));
}

/** Message: cannot be refused, so what is missing is ordered from the supplier. */
export function deliver(db: DatabaseSync, orderId: string, order: OrderPayload): void {
  update(
    db,
    order,
    `update product set available = max(available - $n, 0), sold = sold + $n,
       backordered = backordered + max($n - available, 0) where sku = $sku`,
  );
  move(db, orderId, order, (quantity) => ({ sold: quantity, held: 0 }));
}

function take(db: DatabaseSync, order: OrderPayload, sql: string): void {
  const statement = db.prepare(sql);
  for (const { sku, quantity } of order.lines) {
    // Lines taken before it are given back by the barrier, which rolls back what a refused call did.
    if (statement.run({ n: quantity, sku }).changes === 0) throw new Refused(`${sku} is out of stock`);
  }
}

function update(db: DatabaseSync, order: OrderPayload, sql: string): void {
  const statement = db.prepare(sql);
  for (const { sku, quantity } of order.lines) statement.run({ n: quantity, sku });
}

function move(
  db: DatabaseSync,
  orderId: string,
  order: OrderPayload,
  change: (quantity: number) => { readonly sold: number; readonly held: number },
): void {
  const statement = db.prepare('insert into movement (order_id, sku, sold, held) values (?, ?, ?, ?)');
  for (const { sku, quantity } of order.lines) {
    const { sold, held } = change(quantity);
    statement.run(orderId, sku, sold, held);
  }
}
