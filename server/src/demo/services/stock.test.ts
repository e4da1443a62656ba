import { expect, it } from 'vitest';
import type { SqlQuery } from '../databases/service-database.ts';
import type { OrderPayload } from './order-payload.ts';
import * as stock from './stock.ts';

const order: OrderPayload = {
  pattern: 'saga',
  customer: 1,
  lines: ['c', 'a', 'b'].map((sku) => ({ sku, quantity: 1 })),
  totalCents: 3,
};

// Two orders that lock the same rows each in its own order deadlock, sooner or later.
it.each(Object.entries(stock))(
  '%s locks products in one order, however the order lists them',
  async (_, work) => {
    const locked: unknown[] = [];
    const query: SqlQuery = (sql, values) => {
      if (sql.startsWith('update')) locked.push(...values.filter((value) => typeof value === 'string'));
      return { rows: [], affected: 1 };
    };
    await work(query, 'a-1', order);
    expect(locked).toEqual(['a', 'b', 'c']);
  },
);
