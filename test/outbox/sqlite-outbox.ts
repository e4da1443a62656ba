// An outbox over SQLite in memory, with one message of each kind, for tests that are fast.
import { DatabaseSync } from 'node:sqlite';
import { afterEach } from 'vitest';
import type { StandardSchema } from '../../lib/src/define/standard-schema.ts';
import { nodeSqliteDriver } from '../../lib/src/local/adapters/node-sqlite.ts';
import { createTransactions } from '../../lib/src/local/manager.ts';
import { defineMessages, message } from '../../lib/src/outbox/define-messages.ts';
import { createOutbox, type OutboxOptions } from '../../lib/src/outbox/outbox.ts';
import { migrateOutbox } from '../../lib/src/outbox/schema/index.ts';

export interface Order {
  readonly id: string;
}

/** Takes `{ id }`, and is done when the test says so. */
export class SlowSchema implements StandardSchema<Order> {
  readonly #waiting: (() => void)[] = [];
  readonly '~standard' = {
    version: 1 as const,
    vendor: 'test',
    validate: (value: unknown) =>
      new Promise<{ value: Order } | { issues: { message: string }[] }>((resolve) => {
        const order = value as Order;
        this.#waiting.push(() =>
          resolve(order.id === '' ? { issues: [{ message: 'has no id' }] } : { value: order }),
        );
      }),
  };

  get waiting(): number {
    return this.#waiting.length;
  }

  /** The n-th that waits. */
  answer(at = 0): void {
    this.#waiting.splice(at, 1)[0]?.();
  }
}

export const trimmed: StandardSchema<{ readonly id: string }, Order> = {
  '~standard': {
    version: 1,
    vendor: 'test',
    validate(value) {
      const { id } = value as { id: unknown };
      if (typeof id !== 'string') return { issues: [{ message: 'is no text', path: ['id'] }] };
      return { value: { id: id.trim() } };
    },
  },
};

export function world(options: OutboxOptions = {}) {
  const db = new DatabaseSync(':memory:');
  opened.push(db);
  const driver = nodeSqliteDriver(db);
  const tx = createTransactions(driver);
  const slow = new SlowSchema();
  const messages = defineMessages({
    note: message<string>({ destination: 'test:notes' }),
    'order.placed': { schema: trimmed, key: ({ id }) => id, destination: 'kafka:orders', version: 2 },
    'order.slow': { schema: slow, destination: 'test:slow' },
    any: message<unknown>({ destination: 'test:any' }),
    keyed: message<{ id: string }>({ key: ({ id }) => id.toUpperCase(), destination: 'test:keyed' }),
  });
  const outbox = createOutbox(tx, messages, options);
  const rows = (table = 'settle_outbox') =>
    db.prepare(`select * from ${table} order by seq`).all() as Record<string, string | number | null>[];
  return {
    db,
    tx,
    slow,
    outbox,
    driver,
    rows,
    migrate: () => migrateOutbox(driver),
    /** The notes that are written, in order. */
    notes: () => rows().map(({ payload }) => JSON.parse(String(payload)) as unknown),
  };
}

/** With its tables. */
export async function migrated(options?: OutboxOptions) {
  const made = world(options);
  await made.migrate();
  return made;
}

const opened: DatabaseSync[] = [];
afterEach(() => opened.splice(0).forEach((db) => db.close()));

/** That many notes to send, whose payloads are {@link numbers}. */
export function many(count: number, from = 0): { readonly type: 'note'; readonly payload: string }[] {
  return Array.from({ length: count }, (_, n) => ({ type: 'note', payload: `${from + n}` }));
}

export function numbers(count: number): string[] {
  return many(count).map(({ payload }) => payload);
}
