/** The two databases of the demo: the shop's, with orders and the outbox, and the billing's, with effects and the inbox. */
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { migrateInbox } from 'settle/inbox';
import { createTransactions, type Driver, type Transactions } from 'settle/local';
import { nodeSqliteDriver, type SqliteHandle } from 'settle/local/node-sqlite';
import { migrateOutbox } from 'settle/outbox';

export const fileNames = { shop: 'shop.db', billing: 'billing.db' } as const;

/** Milliseconds that one process waits for another to end its transaction. */
const busyMs = 5_000;

export interface OpenedFile {
  readonly db: DatabaseSync;
  readonly driver: Driver<SqliteHandle<DatabaseSync>>;
  readonly tx: Transactions<SqliteHandle<DatabaseSync>>;
}

export function openFile(dir: string, which: keyof typeof fileNames): OpenedFile {
  const db = new DatabaseSync(join(dir, fileNames[which]));
  db.exec(`pragma busy_timeout = ${busyMs}; pragma journal_mode = wal; pragma synchronous = full`);
  const driver = nodeSqliteDriver(db);
  return { db, driver, tx: createTransactions(driver) };
}

/** Makes what is missing; what an earlier run left stays. Neither table keeps doubles out: the check shall find them. */
export async function prepareFiles(dir: string): Promise<void> {
  const shop = openFile(dir, 'shop');
  await migrateOutbox(shop.driver);
  shop.db.exec(
    `create table if not exists orders (
       number integer primary key, customer text not null, nth integer not null, cents integer not null
     ) strict`,
  );
  shop.db.close();
  const billing = openFile(dir, 'billing');
  await migrateInbox(billing.driver);
  billing.db.exec(
    `create table if not exists invoices (
       at integer primary key autoincrement,
       number integer not null, customer text not null, nth integer not null, cents integer not null
     ) strict`,
  );
  billing.db.close();
}

export function lastOrderIn(db: DatabaseSync): number {
  return numberOf(db.prepare('select coalesce(max(number), 0) as n from orders').get());
}

export function countIn(db: DatabaseSync, table: 'orders' | 'invoices'): number {
  return numberOf(db.prepare(`select count(*) as n from ${table}`).get());
}

function numberOf(row: Readonly<Record<string, unknown>> | undefined): number {
  return Number(row?.['n']);
}
