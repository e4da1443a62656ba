import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { checkOutbox } from './check.ts';
import { openFile, prepareFiles } from './databases.ts';

let dir = '';
beforeEach(async () => {
  dir = mkdtempSync(join(tmpdir(), 'settle-outbox-check-'));
  await prepareFiles(dir);
  shop(`insert into orders values (1, 'a', 1, 100), (2, 'b', 1, 200), (4, 'a', 2, 300)`);
});
afterEach(() => rmSync(dir, { recursive: true }));

describe('the check of the outbox demo', () => {
  it('holds where every order has its invoice, in the order of each customer', () => {
    invoices([2, 'b', 1, 200], [1, 'a', 1, 100], [4, 'a', 2, 300]);
    expect(checkOutbox(dir, [1, 2, 4])).toMatchObject({ holds: true, orders: 3, invoices: 3, customers: 2 });
    expect(broken()).toEqual({});
  });

  it('finds an order without an invoice', () => {
    invoices([1, 'a', 1, 100], [2, 'b', 1, 200]);
    expect(broken()).toEqual({ 'exactly-once': ['order 4 has 0 invoices, 0 of them right'] });
  });

  it('finds an order with two invoices, and takes only the first for its place', () => {
    invoices([1, 'a', 1, 100], [2, 'b', 1, 200], [4, 'a', 2, 300], [1, 'a', 1, 100]);
    expect(broken()).toEqual({ 'exactly-once': ['order 1 has 2 invoices, 2 of them right'] });
  });

  it('finds an invoice that says something else than its order', () => {
    invoices([1, 'a', 1, 100], [2, 'b', 1, 201], [4, 'a', 2, 300]);
    expect(broken()).toEqual({ 'exactly-once': ['order 2 has 1 invoices, 0 of them right'] });
  });

  it('finds an invoice of an order that was rolled back', () => {
    invoices([1, 'a', 1, 100], [2, 'b', 1, 200], [4, 'a', 2, 300], [3, 'b', 2, 1]);
    expect(broken()).toEqual({ 'nothing-made-up': ['there is an invoice for order 3, which is not there'] });
  });

  it('finds invoices of one customer in the wrong order', () => {
    invoices([4, 'a', 2, 300], [1, 'a', 1, 100], [2, 'b', 1, 200]);
    expect(broken()).toEqual({ 'key-order': ['order 1 of a came after a later one'] });
  });

  it('finds messages that wait or died, at either end', () => {
    invoices([1, 'a', 1, 100], [2, 'b', 1, 200], [4, 'a', 2, 300]);
    shop(`insert into settle_outbox (${columns}) values (${row('w')});
          insert into settle_outbox_delayed (${columns}, due_at) values (${row('d')}, 1);
          insert into settle_outbox_dead (${columns}, cause, reason, blocks_key) values (${row('x')}, 'poison', 'bad', 0)`);
    billing(`insert into settle_inbox_dead (consumer, message_id, message, cause, reason, attempts)
             values ('billing', 'y', '{}', 'refused', 'no', 1)`);
    expect(broken()['nothing-left']).toEqual([
      'message w still waits',
      'message d waits for its time',
      'message x was given up: bad',
      'message y was given up by the consumer: no',
    ]);
  });

  it('finds that an order is gone which was called committed', () => {
    invoices([1, 'a', 1, 100], [2, 'b', 1, 200], [4, 'a', 2, 300]);
    expect(broken([1, 5])).toEqual({ 'as-told': ['order 5 is gone'] });
  });
});

const columns = 'lane, seq, id, target, aggregatetype, type, payload, version';

function row(id: string): string {
  return `1, 1, '${id}', 'http', 'billing', 'order.placed', '{}', 1`;
}

function broken(told: readonly number[] = []): Readonly<Record<string, readonly string[]>> {
  const facts = checkOutbox(dir, told).facts.filter(({ violations }) => violations > 0);
  return Object.fromEntries(facts.map(({ name, examples }) => [name, examples]));
}

function invoices(...rows: readonly (readonly [number, string, number, number])[]): void {
  const values = rows.map(([number, customer, nth, cents]) => `(${number}, '${customer}', ${nth}, ${cents})`);
  billing(`insert into invoices (number, customer, nth, cents) values ${values.join(', ')}`);
}

function shop(sql: string): void {
  run('shop', sql);
}

function billing(sql: string): void {
  run('billing', sql);
}

function run(which: 'shop' | 'billing', sql: string): void {
  const { db } = openFile(dir, which);
  db.exec(sql);
  db.close();
}
