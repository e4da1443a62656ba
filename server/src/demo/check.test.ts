import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { chosenDatabases } from './databases/choice.ts';
import { checkConservation, type FactName, type Told } from './check.ts';
import { databaseFile } from './databases/database-file.ts';
import { openRunDatabases } from './databases/run-databases.ts';
import type { SqlQuery } from './databases/service-database.ts';
import { openSqlite } from './databases/sqlite.ts';
import { orderAt, type Order } from './order-stream.ts';
import * as orders from './services/orders.ts';
import * as stock from './services/stock.ts';
import * as wallet from './services/wallet.ts';
import type { OrderPayload } from './services/order-payload.ts';
import type { ServiceName } from './service-names.ts';
import { createWorld } from './world.ts';

const world = createWorld(7, 2_000);
let dir = '';

beforeEach(async () => {
  dir = mkdtempSync(join(tmpdir(), 'settle-check-'));
  const choice = chosenDatabases([]);
  await openRunDatabases({ dir, temporary: true, choice, world, onSurprise: () => undefined });
});

afterEach(() => {
  rmSync(dir, { recursive: true });
});

async function on(service: ServiceName, work: (query: SqlQuery) => Promise<unknown>): Promise<void> {
  const database = openSqlite(databaseFile(dir, service));
  try {
    await work(database.query);
  } finally {
    await database.close();
  }
}

function tamper(service: ServiceName, sql: string): void {
  const db = new DatabaseSync(databaseFile(dir, service));
  db.exec(sql);
  db.close();
}

function broken(told: readonly Told[] = []): readonly FactName[] {
  return checkConservation(dir, told).facts.flatMap(({ name, violations }) => (violations > 0 ? [name] : []));
}

/** An order that stock and wallet can serve. */
const order = servable();
const payload: OrderPayload = { ...order, pattern: 'saga' };

function servable(): Order {
  for (let sequence = 1; ; sequence++) {
    const order = orderAt(world, 7, sequence);
    const rich =
      (world.customers.find(({ id }) => id === order.customer)?.openingCents ?? 0) > 2 * order.totalCents;
    const inStock = order.lines.every(
      ({ sku }) => (world.products.find((p) => p.sku === sku)?.opening ?? 0) > 100,
    );
    if (rich && inStock && order.lines.length > 1) return order;
  }
}

async function place(id: string): Promise<void> {
  await on('orders', async (query) => {
    await orders.createOrder(query, id, payload);
    await orders.acceptOrder(query, id);
  });
  await on('stock', (query) => stock.reserve(query, id, payload));
  await on('wallet', (query) => wallet.charge(query, id, payload));
}

async function hold(id: string): Promise<void> {
  await on('orders', (query) => orders.createOrder(query, id, payload));
  await on('stock', (query) => stock.hold(query, id, payload));
  await on('wallet', (query) => wallet.hold(query, id, payload));
}

describe('every fact holds', () => {
  it('before the first order', async () => {
    expect(checkConservation(dir, [])).toMatchObject({
      holds: true,
      totals: { accepted: 0, takingsCents: 0 },
    });
  });

  it('after a saga, and after one that was undone', async () => {
    await place('a-1');
    await place('a-2');
    await on('orders', (query) => orders.cancelOrder(query, 'a-2'));
    await on('stock', (query) => stock.release(query, 'a-2', payload));
    await on('wallet', (query) => wallet.refund(query, 'a-2', payload));
    const told: Told[] = [
      { orderId: 'a-1', answer: 'placed' },
      { orderId: 'a-2', answer: 'rejected' },
      { orderId: 'a-3', answer: 'rejected' },
    ];
    expect(checkConservation(dir, told)).toMatchObject({
      holds: true,
      totals: { accepted: 1, cancelled: 1, takingsCents: order.totalCents },
    });
  });

  it('after a TCC that was confirmed, and one that was cancelled', async () => {
    await hold('a-1');
    await hold('a-2');
    await on('orders', async (query) => {
      await orders.acceptOrder(query, 'a-1');
      await orders.cancelOrder(query, 'a-2');
    });
    await on('stock', async (query) => {
      await stock.sellHeld(query, 'a-1', payload);
      await stock.freeHeld(query, 'a-2', payload);
    });
    await on('wallet', async (query) => {
      await wallet.takeHeld(query, 'a-1', payload);
      await wallet.freeHeld(query, 'a-2', payload);
    });
    expect(broken()).toEqual([]);
  });

  it('after an invoice order for more than there is, by a customer without money', async () => {
    const poor = world.customers.find(({ openingCents }) => openingCents < 5_00);
    const soldOut = world.products.find(({ opening }) => opening === 0);
    expect(poor).toBeDefined();
    expect(soldOut).toBeDefined();
    const big = {
      pattern: 'message',
      customer: poor?.id ?? 0,
      lines: [{ sku: soldOut?.sku ?? '', quantity: 9 }],
      totalCents: 900_00,
    } as const;
    await on('orders', (query) => orders.acceptAtOnce(query, 'a-1', big));
    await on('stock', (query) => stock.deliver(query, 'a-1', big));
    await on('wallet', (query) => wallet.bill(query, 'a-1', big));
    expect(broken()).toEqual([]);
  });
});

describe('the check finds', () => {
  const [line] = order.lines;
  const sku = line?.sku ?? '';

  it.each<readonly [what: string, service: ServiceName, sql: string, facts: readonly FactName[]]>([
    [
      'a cent that vanished',
      'wallet',
      `update customer set balance_cents = balance_cents - 1 where id = ${order.customer}`,
      ['money'],
    ],
    [
      'a cent from nowhere in the till',
      'wallet',
      'update till set takings_cents = takings_cents + 1',
      ['money'],
    ],
    [
      'a balance below zero',
      'wallet',
      'update customer set held_cents = held_cents + 100000000, balance_cents = balance_cents - 100000000 where id = 1',
      ['money', 'nothing-held'],
    ],
    [
      'a piece that vanished',
      'stock',
      `update product set available = available - 1 where sku = '${sku}'`,
      ['goods'],
    ],
    [
      'a piece sold to nobody',
      'stock',
      `update product set available = available - 1, sold = sold + 1 where sku = '${sku}'`,
      ['goods'],
    ],
    [
      'money taken for a cancelled order',
      'orders',
      `update customer_order set status = 'cancelled'`,
      ['money', 'all-or-nothing', 'as-told'],
    ],
    ['an order that is gone', 'orders', 'delete from customer_order', ['money', 'all-or-nothing', 'as-told']],
    [
      'an undecided order',
      'orders',
      `update customer_order set status = 'open'`,
      ['money', 'all-or-nothing', 'nothing-held', 'as-told'],
    ],
    [
      'goods that were never taken',
      'stock',
      `delete from movement; update product set available = opening, sold = 0`,
      ['all-or-nothing'],
    ],
    [
      'goods of another line',
      'stock',
      `update movement set sold = sold + 1 where sku = '${sku}'; update product set sold = sold + 1, available = available - 1 where sku = '${sku}'`,
      ['all-or-nothing'],
    ],
    [
      'money that was never taken',
      'wallet',
      `delete from entry; update customer set balance_cents = opening_cents; update till set takings_cents = 0`,
      ['money', 'all-or-nothing'],
    ],
    [
      'a piece still held',
      'stock',
      `update product set held = 1, available = available - 1 where sku = '${sku}'`,
      ['nothing-held'],
    ],
    [
      'a hold without its product',
      'stock',
      `insert into movement values ('a-9', '${sku}', 0, 1)`,
      ['nothing-held'],
    ],
    [
      'a cent still held',
      'wallet',
      `update customer set held_cents = 1, balance_cents = balance_cents - 1 where id = ${order.customer}`,
      ['nothing-held'],
    ],
    ['a payment under another number', 'wallet', `update entry set reference = 4711`, ['all-or-nothing']],
  ])('%s', async (_, service, sql, facts) => {
    await place('a-1');
    tamper(service, sql);
    expect(broken([{ orderId: 'a-1', answer: 'placed' }])).toEqual(facts);
  });

  it('a charge that ran twice, though every sum fits', async () => {
    await place('a-1');
    await on('wallet', async (query) => {
      await wallet.charge(query, 'a-1', payload);
      await wallet.refund(query, 'a-1', payload);
    });
    expect(broken()).toEqual(['exactly-once']);
  });

  it('an order that was created twice', async () => {
    await place('a-1');
    await on('orders', (query) => orders.createOrder(query, 'a-1', payload));
    expect(broken()).toContain('exactly-once');
  });

  it('a customer who was told otherwise', async () => {
    await place('a-1');
    expect(broken([{ orderId: 'a-1', answer: 'rejected' }])).toEqual(['as-told']);
    expect(broken([{ orderId: 'a-2', answer: 'placed' }])).toEqual(['as-told']);
  });

  it('and names examples, a few of many', async () => {
    for (let n = 0; n < 9; n++) await on('orders', (query) => orders.createOrder(query, `a-${n}`, payload));
    const undecided = checkConservation(dir, []).facts.find(({ name }) => name === 'nothing-held');
    expect(undecided).toMatchObject({ violations: 9 });
    expect(undecided?.examples).toHaveLength(5);
    expect(undecided?.examples[0]).toBe('a-0 is undecided');
  });
});

describe('the check itself', () => {
  it('cannot write', async () => {
    await place('a-1');
    const before = checkConservation(dir, []);
    checkConservation(dir, [{ orderId: 'x', answer: 'placed' }]);
    expect(checkConservation(dir, [])).toEqual(before);
  });
});
