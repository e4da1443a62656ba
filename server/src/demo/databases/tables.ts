/**
 * The tables of the three services, the same in every database; each service alone writes its own.
 *
 * Nothing here forbids a second effect for the same order: only the barrier does. A unique key would hide its absence
 * from the check.
 */
import type { ByService, ServiceName } from '../service-names.ts';
import type { World } from '../world.ts';
import type { SqlQuery } from './service-database.ts';

/** How a database spells what the tables need. */
export interface ColumnTypes {
  /** A primary key that counts by itself. */
  readonly counter: string;
  /** Whole numbers of 64 bits. */
  readonly integer: string;
  /** Of up to 200 characters, and fit for a key. */
  readonly text: string;
  /** Follows every table. */
  readonly table: string;
}

export const tablesOf: ByService<readonly string[]> = {
  orders: ['customer_order', 'order_line'],
  stock: ['product', 'movement'],
  wallet: ['customer', 'till', 'entry'],
};

const statements: ByService<(types: ColumnTypes) => readonly string[]> = {
  orders: ({ counter, integer, text, table }) => [
    `create table customer_order (
      number ${counter},
      order_id ${text} not null,
      pattern ${text} not null,
      customer_id ${integer} not null,
      total_cents ${integer} not null,
      status ${text} not null check (status in ('open', 'accepted', 'cancelled'))
    ) ${table}`,
    'create index customer_order_id on customer_order (order_id)',
    `create table order_line (
      order_id ${text} not null,
      sku ${text} not null,
      quantity ${integer} not null
    ) ${table}`,
    'create index order_line_id on order_line (order_id)',
  ],
  // A movement says by how much an order changed what is sold and what is held of a product.
  stock: ({ integer, text, table }) => [
    `create table product (
      sku ${text} primary key,
      name ${text} not null,
      opening ${integer} not null,
      available ${integer} not null,
      held ${integer} not null default 0,
      sold ${integer} not null default 0,
      backordered ${integer} not null default 0
    ) ${table}`,
    `create table movement (
      order_id ${text} not null,
      sku ${text} not null,
      sold ${integer} not null,
      held ${integer} not null
    ) ${table}`,
    'create index movement_order on movement (order_id)',
  ],
  // An entry says by how much an order changed what was taken, what is held, and what is owed on account.
  wallet: ({ integer, text, table }) => [
    `create table customer (
      id ${integer} primary key,
      name ${text} not null,
      opening_cents ${integer} not null,
      balance_cents ${integer} not null,
      held_cents ${integer} not null default 0,
      owed_cents ${integer} not null default 0
    ) ${table}`,
    `create table till (takings_cents ${integer} not null) ${table}`,
    `create table entry (
      order_id ${text} not null,
      customer_id ${integer} not null,
      taken_cents ${integer} not null,
      held_cents ${integer} not null,
      owed_cents ${integer} not null,
      reference ${integer}
    ) ${table}`,
    'create index entry_order on entry (order_id)',
  ],
};

export async function createTables(query: SqlQuery, service: ServiceName, types: ColumnTypes): Promise<void> {
  for (const sql of statements[service](types)) await query(sql, []);
}

/** What the service has before the first order. */
export async function fillTables(query: SqlQuery, service: ServiceName, world: World): Promise<void> {
  switch (service) {
    case 'orders':
      return;
    case 'stock':
      return insertRows(
        query,
        'product',
        world.products.map(({ sku, name, opening }) => ({ sku, name, opening, available: opening })),
      );
    case 'wallet': {
      const customers = world.customers.map(({ id, name, openingCents }) => {
        return { id, name, opening_cents: openingCents, balance_cents: openingCents };
      });
      await insertRows(query, 'customer', customers);
      return insertRows(query, 'till', [{ takings_cents: 0 }]);
    }
  }
}

/** By column; numbers of 64 bits may stand as text. */
export type Row = Readonly<Record<string, string | number | null>>;

/** Of one insert. */
const rowsMax = 500;

/** Inserts rows that all have the columns of the first. */
export async function insertRows(query: SqlQuery, table: string, rows: readonly Row[]): Promise<void> {
  const columns = Object.keys(rows[0] ?? {});
  const places = `(${columns.map(() => '?').join(', ')})`;
  for (let from = 0; from < rows.length; from += rowsMax) {
    const some = rows.slice(from, from + rowsMax);
    const values = some.flatMap((row) => columns.map((column) => row[column] ?? null));
    await query(
      `insert into ${table} (${columns.join(', ')}) values ${some.map(() => places).join(', ')}`,
      values,
    );
  }
}
