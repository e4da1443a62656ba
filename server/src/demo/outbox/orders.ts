/** The orders of the demo, by their number, and the message that tells of one. */
import { defineMessages, message } from 'settle/outbox';
import { between, createDice } from '../dice.ts';

export interface Order {
  readonly number: number;
  readonly customer: string;
  readonly cents: number;
  /** The shop thinks better of it, once the message is sent: its transaction is rolled back. */
  readonly isRefused: boolean;
}

export const customers = 12;
const refusedShare = 0.08;

/** The same for the same seed and number. */
export function orderOf(seed: number, number: number): Order {
  const dice = createDice(seed, 'outbox-order', number);
  const customer = `customer-${between(dice, 1, customers)}`;
  return { number, customer, cents: between(dice, 100, 9_999), isRefused: dice() < refusedShare };
}

/** `nth` counts the orders of a customer, in the order of their commits. */
export type PlacedOrder = Omit<Order, 'isRefused'> & { readonly nth: number };

export const messages = defineMessages({
  'order.placed': message<PlacedOrder>({ destination: 'http:billing', key: ({ customer }) => customer }),
});
