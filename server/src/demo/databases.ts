/**
 * The three services' databases: each service alone writes its own.
 *
 * Nothing here forbids a second effect for the same order: only the barrier does. A unique key would hide its absence
 * from the check.
 */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import type { World } from './world.ts';

export type ServiceName = 'orders' | 'stock' | 'wallet';

export const serviceNames: readonly ServiceName[] = ['orders', 'stock', 'wallet'];

export function databaseFile(dir: string, service: ServiceName): string {
  return join(dir, `${service}.db`);
}

const schemas: Readonly<Record<ServiceName, string>> = {
  orders: `
    create table customer_order (
      number integer primary key autoincrement,
      order_id text not null,
      pattern text not null,
      customer_id integer not null,
      total_cents integer not null,
      status text not null check (status in ('open', 'accepted', 'cancelled'))
    ) strict;
    create index customer_order_id on customer_order (order_id);
    create table order_line (
      order_id text not null,
      sku text not null,
      quantity integer not null
    ) strict;
    create index order_line_id on order_line (order_id);`,
  // A movement says by how much an order changed what is sold and what is held of a product.
  stock: `
    create table product (
      sku text primary key,
      name text not null,
      opening integer not null,
      available integer not null,
      held integer not null default 0,
      sold integer not null default 0,
      backordered integer not null default 0
    ) strict;
    create table movement (
      order_id text not null,
      sku text not null,
      sold integer not null,
      held integer not null
    ) strict;
    create index movement_order on movement (order_id);`,
  // An entry says by how much an order changed what was taken, what is held, and what is owed on account.
  wallet: `
    create table customer (
      id integer primary key,
      name text not null,
      opening_cents integer not null,
      balance_cents integer not null,
      held_cents integer not null default 0,
      owed_cents integer not null default 0
    ) strict;
    create table till (takings_cents integer not null) strict;
    insert into till values (0);
    create table entry (
      order_id text not null,
      customer_id integer not null,
      taken_cents integer not null,
      held_cents integer not null,
      owed_cents integer not null,
      reference integer
    ) strict;
    create index entry_order on entry (order_id);`,
};

/** Creates the databases that are missing, with the world in them. Those that exist go on from where they are. */
export function createDatabases(dir: string, world: World): void {
  for (const service of serviceNames) {
    const file = databaseFile(dir, service);
    if (existsSync(file)) continue;
    const db = openDatabase(file);
    db.exec('begin');
    db.exec(schemas[service]);
    fill(db, service, world);
    db.exec('commit');
    db.close();
  }
}

export function openDatabase(file: string): DatabaseSync {
  const db = new DatabaseSync(file);
  db.exec('pragma journal_mode = wal; pragma synchronous = full; pragma busy_timeout = 5000');
  return db;
}

function fill(db: DatabaseSync, service: ServiceName, { products, customers }: World): void {
  switch (service) {
    case 'orders':
      return;
    case 'stock': {
      const insert = db.prepare('insert into product (sku, name, opening, available) values (?, ?, ?, ?)');
      for (const { sku, name, opening } of products) insert.run(sku, name, opening, opening);
      return;
    }
    case 'wallet': {
      const insert = db.prepare(
        'insert into customer (id, name, opening_cents, balance_cents) values (?, ?, ?, ?)',
      );
      for (const { id, name, openingCents } of customers) insert.run(id, name, openingCents, openingCents);
    }
  }
}
