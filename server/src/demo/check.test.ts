import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { DatabaseSync } from 'node:sqlite';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { checkConservation, type FactName, type Told } from './check.ts';
import { createDatabases, databaseFile, openDatabase, type ServiceName } from './databases.ts';
import { orderAt, type Order } from './order-stream.ts';
import * as orders from './services/orders.ts';
import * as stock from './services/stock.ts';
import * as wallet from './services/wallet.ts';
import type { OrderPayload } from './services/order-payload.ts';
import { createWorld } from './world.ts';

const world = createWorld(7, 2_000);
let dir = '';

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'settle-check-'));
  createDatabases(dir, world);
});

afterEach(() => {
  rmSync(dir, { recursive: true });
});

function on(service: ServiceName, work: (db: DatabaseSync) => void): void {
  const db = openDatabase(databaseFile(dir, service));
  try {
    work(db);
  } finally {
    db.close();
  }
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

function place(id: string): void {
  on('orders', (db) => {
    orders.createOrder(db, id, payload);
    orders.acceptOrder(db, id);
  });
  on('stock', (db) => stock.reserve(db, id, payload));
  on('wallet', (db) => wallet.charge(db, id, payload));
}

function hold(id: string): void {
  on('orders', (db) => orders.createOrder(db, id, payload));
  on('stock', (db) => stock.hold(db, id, payload));
  on('wallet', (db) => wallet.hold(db, id, payload));
}

describe('every fact holds', () => {
  it('before the first order', () => {
    expect(checkConservation(dir, [])).toMatchObject({
      holds: true,
      totals: { accepted: 0, takingsCents: 0 },
    });
  });

  it('after a saga, and after one that was undone', () => {
    place('a-1');
    place('a-2');
    on('orders', (db) => orders.cancelOrder(db, 'a-2'));
    on('stock', (db) => stock.release(db, 'a-2', payload));
    on('wallet', (db) => wallet.refund(db, 'a-2', payload));
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

  it('after a TCC that was confirmed, and one that was cancelled', () => {
    hold('a-1');
    hold('a-2');
    on('orders', (db) => {
      orders.acceptOrder(db, 'a-1');
      orders.cancelOrder(db, 'a-2');
    });
    on('stock', (db) => {
      stock.sellHeld(db, 'a-1', payload);
      stock.freeHeld(db, 'a-2', payload);
    });
    on('wallet', (db) => {
      wallet.takeHeld(db, 'a-1', payload);
      wallet.freeHeld(db, 'a-2', payload);
    });
    expect(broken()).toEqual([]);
  });

  it('after an invoice order for more than there is, by a customer without money', () => {
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
    on('orders', (db) => orders.acceptAtOnce(db, 'a-1', big));
    on('stock', (db) => stock.deliver(db, 'a-1', big));
    on('wallet', (db) => wallet.bill(db, 'a-1', big));
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
  ])('%s', (_, service, sql, facts) => {
    place('a-1');
    on(service, (db) => db.exec(sql));
    expect(broken([{ orderId: 'a-1', answer: 'placed' }])).toEqual(facts);
  });

  it('a charge that ran twice, though every sum fits', () => {
    place('a-1');
    on('wallet', (db) => {
      wallet.charge(db, 'a-1', payload);
      wallet.refund(db, 'a-1', payload);
    });
    expect(broken()).toEqual(['exactly-once']);
  });

  it('an order that was created twice', () => {
    place('a-1');
    on('orders', (db) => orders.createOrder(db, 'a-1', payload));
    expect(broken()).toContain('exactly-once');
  });

  it('a customer who was told otherwise', () => {
    place('a-1');
    expect(broken([{ orderId: 'a-1', answer: 'rejected' }])).toEqual(['as-told']);
    expect(broken([{ orderId: 'a-2', answer: 'placed' }])).toEqual(['as-told']);
  });

  it('and names examples, a few of many', () => {
    for (let n = 0; n < 9; n++) on('orders', (db) => orders.createOrder(db, `a-${n}`, payload));
    const undecided = checkConservation(dir, []).facts.find(({ name }) => name === 'nothing-held');
    expect(undecided).toMatchObject({ violations: 9 });
    expect(undecided?.examples).toHaveLength(5);
    expect(undecided?.examples[0]).toBe('a-0 is undecided');
  });
});

describe('the check itself', () => {
  it('cannot write', () => {
    place('a-1');
    const before = checkConservation(dir, []);
    checkConservation(dir, [{ orderId: 'x', answer: 'placed' }]);
    expect(checkConservation(dir, [])).toEqual(before);
  });
});
