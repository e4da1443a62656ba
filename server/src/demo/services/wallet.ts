/** The wallet service's business, in its own database. Amounts are whole cents. */
import { Refused } from 'settle/participant';
import type { SqlQuery } from '../databases/service-database.ts';
import type { OrderPayload } from './order-payload.ts';

/** Saga: the money moves at once. */
export async function charge(query: SqlQuery, orderId: string, order: OrderPayload): Promise<void> {
  const { affected } = await query(
    'update customer set balance_cents = balance_cents - ? where id = ? and balance_cents >= ?',
    [order.totalCents, order.customer, order.totalCents],
  );
  if (affected === 0) throw tooLittle(order);
  await takings(query, order.totalCents);
  await enter(query, orderId, order, { taken: order.totalCents });
}

/** Saga: the undo of {@link charge}. */
export async function refund(query: SqlQuery, orderId: string, order: OrderPayload): Promise<void> {
  await query('update customer set balance_cents = balance_cents + ? where id = ?', amountOf(order));
  await takings(query, -order.totalCents);
  await enter(query, orderId, order, { taken: -order.totalCents });
}

/** TCC: the money is put aside. */
export async function hold(query: SqlQuery, orderId: string, order: OrderPayload): Promise<void> {
  const { affected } = await query(
    `update customer set balance_cents = balance_cents - ?, held_cents = held_cents + ?
     where id = ? and balance_cents >= ?`,
    [order.totalCents, order.totalCents, order.customer, order.totalCents],
  );
  if (affected === 0) throw tooLittle(order);
  await enter(query, orderId, order, { held: order.totalCents });
}

export async function takeHeld(query: SqlQuery, orderId: string, order: OrderPayload): Promise<void> {
  await query('update customer set held_cents = held_cents - ? where id = ?', amountOf(order));
  await takings(query, order.totalCents);
  await enter(query, orderId, order, { taken: order.totalCents, held: -order.totalCents });
}

export async function freeHeld(query: SqlQuery, orderId: string, order: OrderPayload): Promise<void> {
  await query(
    'update customer set held_cents = held_cents - ?, balance_cents = balance_cents + ? where id = ?',
    [order.totalCents, order.totalCents, order.customer],
  );
  await enter(query, orderId, order, { held: -order.totalCents });
}

/** Message: billed on account, which cannot be refused. */
export async function bill(query: SqlQuery, orderId: string, order: OrderPayload): Promise<void> {
  await query('update customer set owed_cents = owed_cents + ? where id = ?', amountOf(order));
  await takings(query, order.totalCents);
  await enter(query, orderId, order, { taken: order.totalCents, owed: order.totalCents });
}

function amountOf({ totalCents, customer }: OrderPayload): readonly [cents: number, id: number] {
  return [totalCents, customer];
}

function tooLittle({ customer }: OrderPayload): Refused {
  return new Refused(`customer ${customer} has too little money`);
}

async function takings(query: SqlQuery, cents: number): Promise<void> {
  await query('update till set takings_cents = takings_cents + ?', [cents]);
}

async function enter(
  query: SqlQuery,
  orderId: string,
  order: OrderPayload,
  change: { readonly taken?: number; readonly held?: number; readonly owed?: number },
): Promise<void> {
  const { taken = 0, held = 0, owed = 0 } = change;
  await query(
    `insert into entry (order_id, customer_id, taken_cents, held_cents, owed_cents, reference)
     values (?, ?, ?, ?, ?, ?)`,
    [orderId, order.customer, taken, held, owed, order.reference ?? null],
  );
}
