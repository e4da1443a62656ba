/** The orders service's business, in its own database. No line of it knows of repeats or late calls: the barrier does. */
import type { SqlQuery } from '../databases/service-database.ts';
import type { OrderPayload } from './order-payload.ts';

/** An order nobody may ship yet. Its number is the result of the step, for later steps to use. */
export function createOrder(query: SqlQuery, orderId: string, order: OrderPayload): Promise<Numbered> {
  return insertOrder(query, orderId, order, 'open');
}

/** The producer's local transaction of an invoice order: accepted at once, for nobody may refuse it any more. */
export function acceptAtOnce(query: SqlQuery, orderId: string, order: OrderPayload): Promise<Numbered> {
  return insertOrder(query, orderId, order, 'accepted');
}

export function acceptOrder(query: SqlQuery, orderId: string): Promise<void> {
  return changeStatus(query, orderId, 'accepted');
}

export function cancelOrder(query: SqlQuery, orderId: string): Promise<void> {
  return changeStatus(query, orderId, 'cancelled');
}

/** A type, for only those are JSON. */
export type Numbered = { readonly number: number };

async function insertOrder(
  query: SqlQuery,
  orderId: string,
  { pattern, customer, lines, totalCents }: OrderPayload,
  status: 'open' | 'accepted',
): Promise<Numbered> {
  const { rows } = await query(
    `insert into customer_order (order_id, pattern, customer_id, total_cents, status)
     values (?, ?, ?, ?, ?) returning number`,
    [orderId, pattern, customer, totalCents, status],
  );
  for (const { sku, quantity } of lines) {
    await query('insert into order_line (order_id, sku, quantity) values (?, ?, ?)', [
      orderId,
      sku,
      quantity,
    ]);
  }
  return { number: numberIn(rows[0]) };
}

async function changeStatus(
  query: SqlQuery,
  orderId: string,
  status: 'accepted' | 'cancelled',
): Promise<void> {
  await query('update customer_order set status = ? where order_id = ?', [status, orderId]);
}

function numberIn(row: unknown): number {
  if (typeof row === 'object' && row !== null && 'number' in row) return Number(row.number);
  throw new TypeError('the insert gave back no number');
}
