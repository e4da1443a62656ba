/** The package pg-transactional-outbox: its own table, indexes and polling function. A segment is a key. */
import { once } from 'node:events';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { install } from '../../harness/install.ts';
import { countOf, openPool, payload, settleDown } from '../database.ts';
import { batchMax, type Contender } from './contender.ts';

const version = '0.5.7';

/** What is used of the package, which is not installed in this workspace. */
interface Peer {
  readonly DatabaseSetup: {
    dropAndCreateTable(config: Setup): string;
    createPollingFunction(config: Setup): string;
    setupPollingIndexes(config: Setup): string;
  };
  initializePollingMessageListener(
    config: {
      readonly outboxOrInbox: 'outbox';
      readonly dbListenerConfig: { readonly connectionString: string; readonly max: number };
      readonly settings: {
        readonly dbSchema: string;
        readonly dbTable: string;
        readonly nextMessagesFunctionSchema: string;
        readonly nextMessagesFunctionName: string;
        readonly nextMessagesBatchSize: number;
        readonly enableMaxAttemptsProtection: boolean;
        readonly enablePoisonousMessageProtection: boolean;
      };
    },
    handler: { handle(): Promise<void> },
    logger: Readonly<Record<string, (error: unknown) => void>>,
    strategies: { batchSizeStrategy(): Promise<number> },
  ): readonly [shutdown: () => Promise<void>];
}

interface Setup {
  readonly outboxOrInbox: 'outbox';
  readonly database: string;
  readonly schema: string;
  readonly table: string;
  readonly listenerRole: string;
  readonly nextMessagesName: string;
}

const setup: Setup = {
  outboxOrInbox: 'outbox',
  database: 'bench',
  schema: 'peer',
  table: 'outbox',
  listenerRole: 'postgres',
  nextMessagesName: 'next_messages',
};

function ignore(): void {}

export const pgTransactionalOutbox: Contender = {
  name: `pg-transactional-outbox ${version}`,
  async open(url) {
    const packages = await install({ 'pg-transactional-outbox': version });
    const peer = createRequire(join(packages, 'package.json'))('pg-transactional-outbox') as Peer;
    const { DatabaseSetup } = peer;
    const pool = openPool(url);
    await pool.query(DatabaseSetup.dropAndCreateTable(setup));
    await pool.query(DatabaseSetup.createPollingFunction(setup));
    await pool.query(DatabaseSetup.setupPollingIndexes(setup));
    return {
      async fill({ messages, keys }) {
        await pool.query('truncate peer.outbox');
        await pool.query(
          `insert into peer.outbox (id, aggregate_type, aggregate_id, message_type, segment, payload)
           select gen_random_uuid(), 'orders', key, 'order.placed', key, $3
           from (select 'key-' || n % $2::int as key from generate_series(1, $1::int) n) as message`,
          [messages, keys, payload],
        );
        await settleDown(pool, 'peer.outbox');
      },
      async drain(published, signal) {
        const seen: { handled: number; failure?: unknown } = { handled: 0 };
        const fail = (error: unknown): void => void (seen.failure ??= error);
        const [shutdown] = peer.initializePollingMessageListener(
          {
            outboxOrInbox: 'outbox',
            dbListenerConfig: { connectionString: url, max: 20 },
            settings: {
              dbSchema: setup.schema,
              dbTable: setup.table,
              nextMessagesFunctionSchema: setup.schema,
              nextMessagesFunctionName: setup.nextMessagesName,
              nextMessagesBatchSize: batchMax,
              // Without these two it has less to write down.
              enableMaxAttemptsProtection: false,
              enablePoisonousMessageProtection: false,
            },
          },
          {
            handle() {
              seen.handled++;
              published(1);
              return Promise.resolve();
            },
          },
          { trace: ignore, debug: ignore, info: ignore, warn: ignore, error: fail, fatal: fail },
          // Its own would take the first hundred one by one.
          { batchSizeStrategy: () => Promise.resolve(batchMax) },
        );
        await once(signal, 'abort');
        await shutdown();
        // Nothing at all is no result: it was set up wrong. Single failures it mends itself.
        if (seen.handled === 0 && seen.failure !== undefined) {
          throw new Error('it handles nothing', { cause: seen.failure });
        }
      },
      left: () => countOf(pool, 'peer.outbox', 'processed_at is null'),
      close: () => pool.end(),
    };
  },
};
