import { DatabaseSync } from 'node:sqlite';
import { afterEach, describe, expect, expectTypeOf, test, vi } from 'vitest';
import { outcomeOf, thrownBy, turn } from '../../../test/local/world.ts';
import type { StandardSchema } from '../define/standard-schema.ts';
import { nodeSqliteDriver } from '../local/adapters/node-sqlite.ts';
import { createTransactions } from '../local/manager.ts';
import { defineMessages, message } from './define-messages.ts';
import { heldMax, heldWished } from './limits.ts';
import { createOutbox, type OutboxOptions } from './outbox.ts';
import { migrateOutbox } from './schema/index.ts';

interface Order {
  readonly id: string;
}

/** Takes `{ id }`, and is done when the test says so. */
class SlowSchema implements StandardSchema<Order> {
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

const trimmed: StandardSchema<{ readonly id: string }, Order> = {
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

function world(options: OutboxOptions = {}) {
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

async function migrated(options?: OutboxOptions) {
  const made = world(options);
  await made.migrate();
  return made;
}

const opened: DatabaseSync[] = [];
afterEach(() => opened.splice(0).forEach((db) => db.close()));

describe('a message', () => {
  test('is a row of its transaction, with the names that Debezium reads', async () => {
    const { tx, outbox, rows } = await migrated();
    const id = await tx.run(() =>
      outbox.send('order.placed', { id: ' o-1 ' }, { headers: { 'X-Tenant': 'ä' } }),
    );
    expect(id).toMatch(/^[0-9A-HJKMNP-TV-Z]{26}$/);
    expect(rows()).toEqual([
      {
        lane: expect.any(Number),
        seq: 1,
        id,
        target: 'kafka',
        aggregatetype: 'orders',
        aggregateid: 'o-1',
        type: 'order.placed',
        payload: '{"id":"o-1"}',
        version: 2,
        headers: '{"x-tenant":"ä"}',
        created_at: expect.any(Number),
        attempts: 0,
        starts: 0,
        due_at: null,
        last_error: null,
      },
    ]);
  });
});
