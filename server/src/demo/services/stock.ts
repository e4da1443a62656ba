/** The stock service's business, in its own database. */
import { Refused } from 'settle/participant';
import type { SqlQuery } from '../databases/service-database.ts';
import type { OrderLine } from '../order-stream.ts';
import type { OrderPayload } from './order-payload.ts';

/** Saga: the goods are sold at once. */
export async function reserve(query: SqlQuery, orderId: string, order: OrderPayload): Promise<void> {
  await take(
    query,
    order,
    'update product set available = available - ?, sold = sold + ? where sku = ? and available >= ?',
  );
  await move(query, orderId, order, (quantity) => ({ sold: quantity, held: 0 }));
}

/** Saga: the undo of {@link reserve}. */
export async function release(query: SqlQuery, orderId: string, order: OrderPayload): Promise<void> {
  await update(query, order, 'update product set available = available + ?, sold = sold - ? where sku = ?');
  await move(query, orderId, order, (quantity) => ({ sold: -quantity, held: 0 }));
}

/** TCC: the goods are put aside. */
export async function hold(query: SqlQuery, orderId: string, order: OrderPayload): Promise<void> {
  await take(
    query,
    order,
    'update product set available = available - ?, held = held + ? where sku = ? and available >= ?',
  );
  await move(query, orderId, order, (quantity) => ({ sold: 0, held: quantity }));
}

export async function sellHeld(query: SqlQuery, orderId: string, order: OrderPayload): Promise<void> {
  await update(query, order, 'update product set held = held - ?, sold = sold + ? where sku = ?');
  await move(query, orderId, order, (quantity) => ({ sold: quantity, held: -quantity }));
}

export async function freeHeld(query: SqlQuery, orderId: string, order: OrderPayload): Promise<void> {
  await update(query, order, 'update product set held = held - ?, available = available + ? where sku = ?');
  await move(query, orderId, order, (quantity) => ({ sold: 0, held: -quantity }));
}

/** Message: cannot be refused, so what is missing is ordered from the supplier. */
export async function deliver(query: SqlQuery, orderId: string, order: OrderPayload): Promise<void> {
  for (const { sku, quantity } of inOneOrder(order)) {
    await query(
      // What is available changes last: MariaDB reads columns as the assignments before have left them.
      `update product set sold = sold + ?,
         backordered = backordered + case when available < ? then ? - available else 0 end,
         available = case when available < ? then 0 else available - ? end
       where sku = ?`,
      [quantity, quantity, quantity, quantity, quantity, sku],
    );
  }
  await move(query, orderId, order, (quantity) => ({ sold: quantity, held: 0 }));
}

async function take(query: SqlQuery, order: OrderPayload, sql: string): Promise<void> {
  for (const { sku, quantity } of inOneOrder(order)) {
    const { affected } = await query(sql, [quantity, quantity, sku, quantity]);
    // Lines taken before it are given back by the barrier, which rolls back what a refused call did.
    if (affected === 0) throw new Refused(`${sku} is out of stock`);
  }
}

async function update(query: SqlQuery, order: OrderPayload, sql: string): Promise<void> {
  for (const { sku, quantity } of inOneOrder(order)) await query(sql, [quantity, quantity, sku]);
}

/** Two orders for the same products would otherwise each wait for what the other one has locked. */
function inOneOrder({ lines }: OrderPayload): readonly OrderLine[] {
  return lines.toSorted((a, b) => (a.sku < b.sku ? -1 : 1));
}

async function move(
  query: SqlQuery,
  orderId: string,
  { lines }: OrderPayload,
  change: (quantity: number) => { readonly sold: number; readonly held: number },
): Promise<void> {
  for (const { sku, quantity } of lines) {
    const { sold, held } = change(quantity);
    await query('insert into movement (order_id, sku, sold, held) values (?, ?, ?, ?)', [
      orderId,
      sku,
      sold,
      held,
    ]);
  }
}
