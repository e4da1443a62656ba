/** Everything that services tell each other. */
import { defineMessages, message } from 'settle/outbox';

export interface Order {
  readonly id: string;
  readonly user: string;
  readonly cups: number;
}

type Refusal = Order & { readonly reason: string };

/** Of one order, whoever tells it: in the order it happened. */
const events = { destination: 'bus:shop', key: ({ id }: Order) => id } as const;

export const messages = defineMessages({
  'order.placed': message<Order>(events),
  'stock.reserved': message<Order & { readonly total: number }>(events),
  'stock.refused': message<Refusal>(events),
  'wallet.charged': message<Order>(events),
  'wallet.refused': message<Refusal>(events),
});
