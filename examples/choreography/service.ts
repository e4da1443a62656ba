/** What every service has: a database of its own, with an outbox, an inbox, and a relay that takes messages out of it. */
import { DatabaseSync } from 'node:sqlite';
import type { HandleMessage } from 'settle/consumer';
import { createInbox, migrateInbox, type Inbox } from 'settle/inbox';
import { createTransactions, type Transactions } from 'settle/local';
import { nodeSqliteDriver } from 'settle/local/node-sqlite';
import { createOutbox, migrateOutbox, type Outbox } from 'settle/outbox';
import { createRelay, sqlRelayStore } from 'settle/relay';
import { bus } from './bus.ts';
import { messages } from './messages.ts';

type Client = Pick<DatabaseSync, 'prepare' | 'exec'>;

export interface Service {
  readonly tx: Transactions<Client>;
  readonly outbox: Outbox<Client, typeof messages>;
  readonly inbox: Inbox<Client>;
  /** Begins to tell others what happens here; gives back what ends that, once all that was begun is done. */
  tell(listeners: readonly HandleMessage[]): Promise<() => Promise<void>>;
  close(): void;
}

export async function openService(name: string, schema: string): Promise<Service> {
  const db = new DatabaseSync(`${name}.db`);
  db.exec(schema);
  const driver = nodeSqliteDriver(db);
  await migrateOutbox(driver);
  await migrateInbox(driver);
  const tx = createTransactions<Client>(driver);
  const outbox = createOutbox(tx, messages);
  return {
    tx,
    outbox,
    inbox: createInbox(tx),
    async tell(listeners) {
      const relay = createRelay({ store: sqlRelayStore(driver), publishers: [bus(listeners)] });
      outbox.onCommitted(() => relay.wake());
      await relay.start();
      return () => relay.stop();
    },
    close: () => db.close(),
  };
}
