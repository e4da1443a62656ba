// Outbox, relay and each way to wake it, together. The relay polls once a minute: what is published before is due to a wake-up.
import { createPool, createConnection, type Pool as MysqlPool } from 'mysql2/promise';
import { Client, Pool } from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { pgDriver } from '../../lib/src/local/adapters/pg.ts';
import { mysql2Driver } from '../../lib/src/local/adapters/mysql2.ts';
import type { Driver } from '../../lib/src/local/driver.ts';
import { createTransactions } from '../../lib/src/local/index.ts';
import { createOutbox, defineMessages, migrateOutbox } from '../../lib/src/outbox/index.ts';
import {
  createRelay,
  sqlRelayStore,
  type OutgoingMessage,
  type Publisher,
  type WakeSource,
} from '../../lib/src/relay/index.ts';
import { mysqlLogWake } from '../../lib/src/relay/log/mysql/index.ts';
import { postgresLogWake } from '../../lib/src/relay/log/postgres/index.ts';
import { notifyOnCommit, notifyWake } from '../../lib/src/relay/wake/postgres.ts';
import { mariadbDatabase } from '../services/mariadb.ts';
import { postgresDatabase } from '../services/postgres.ts';

const messages = defineMessages({ placed: { destination: 'test:orders' } });
const rounds = 50;

const onPostgres = postgresDatabase();
const onMariadb = mariadbDatabase();
let pool: Pool;
let mysqlPool: MysqlPool;

beforeAll(async () => {
  pool = new Pool({ connectionString: onPostgres.url });
  mysqlPool = createPool({ uri: onMariadb.url, connectionLimit: 5 });
  await migrateOutbox(pgDriver(pool));
  await migrateOutbox(mysql2Driver(mysqlPool));
});
afterAll(async () => {
  await pool.end();
  await mysqlPool.end();
});

describe('a message is published long before the next poll', () => {
  it('when NOTIFY wakes the relay', async () => {
    const tx = createTransactions(pgDriver(pool));
    const outbox = createOutbox(tx, messages);
    const stop = notifyOnCommit(outbox, () => pool);
    const source = notifyWake(() => new Client({ connectionString: onPostgres.url }));
    const send = (n: number): Promise<unknown> => tx.run(() => outbox.send('placed', { n }));
    expect(await publishedBy(pgDriver(pool), source, send)).toEqual(numbers);
    await stop();
  });

  it(`when PostgreSQL's log wakes the relay`, async () => {
    const tx = createTransactions(pgDriver(pool));
    const outbox = createOutbox(tx, messages);
    const config = { connectionString: onPostgres.url, replication: 'database' };
    const source = postgresLogWake({ connect: () => new Client(config), pool });
    const send = (n: number): Promise<unknown> => tx.run(() => outbox.send('placed', { n }));
    expect(await publishedBy(pgDriver(pool), source, send)).toEqual(numbers);
  });

  it('when the binary log wakes the relay', async () => {
    const tx = createTransactions(mysql2Driver(mysqlPool));
    const outbox = createOutbox(tx, messages);
    const source = mysqlLogWake({ connect: () => createConnection(onMariadb.url), aliveMs: 200 });
    const send = (n: number): Promise<unknown> => tx.run(() => outbox.send('placed', { n }));
    expect(await publishedBy(mysql2Driver(mysqlPool), source, send)).toEqual(numbers);
  });
});

const numbers = Array.from({ length: rounds }, (_, n) => n);

/** Sends one message after the other, each once the one before is published. */
async function publishedBy(
  driver: Driver<unknown>,
  source: WakeSource,
  send: (n: number) => Promise<unknown>,
): Promise<readonly number[]> {
  const publisher = new Listed();
  const listening = Promise.withResolvers<void>();
  const wake: WakeSource = {
    name: source.name,
    start: (...given) => source.start(...given).then(listening.resolve, listening.reject),
  };
  const limits = { pollMinMs: 60_000, pollMaxMs: 60_000 };
  const warnings: unknown[] = [];
  const relay = createRelay({
    store: sqlRelayStore(driver),
    publishers: [publisher],
    wake: [wake],
    limits,
    onEvent: (event) => event.kind === 'warning' && warnings.push(event),
  });
  await relay.start();
  await listening.promise;
  for (const n of numbers) {
    await send(n);
    await publisher.published(n + 1);
  }
  await relay.stop();
  expect(warnings).toEqual([]);
  return publisher.numbers;
}

class Listed implements Publisher {
  readonly name = 'test';
  readonly order = 'stops-at-failure';
  readonly numbers: number[] = [];
  #waiting: { readonly count: number; readonly resolve: () => void } | undefined;

  publish(batch: readonly OutgoingMessage[]): Promise<{ readonly kind: 'published' }[]> {
    this.numbers.push(...batch.map(({ payload }) => (JSON.parse(payload) as { n: number }).n));
    if (this.#waiting !== undefined && this.numbers.length >= this.#waiting.count) this.#waiting.resolve();
    return Promise.resolve(batch.map(() => ({ kind: 'published' })));
  }

  published(count: number): Promise<void> {
    if (this.numbers.length >= count) return Promise.resolve();
    return new Promise((resolve) => (this.#waiting = { count, resolve }));
  }
}
