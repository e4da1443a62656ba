// Writes orders, each in a transaction with its message: some are rolled back, some only to a savepoint.
import { Pool } from 'pg';
import { pgDriver } from '../../../lib/src/local/adapters/pg.ts';
import { createTransactions } from '../../../lib/src/local/index.ts';
import { createOutbox, defineMessages, message } from '../../../lib/src/outbox/index.ts';

export interface WriterProcessOptions {
  readonly url: string;
  /** Its keys are its own: `<name>-<0..keys>`. */
  readonly name: string;
  readonly keys: number;
}

const { url, name, keys } = JSON.parse(process.argv[2] ?? '') as WriterProcessOptions;

interface Order {
  readonly id: string;
  readonly key: string;
}

const tx = createTransactions(pgDriver(new Pool({ connectionString: url, max: keys })));
const outbox = createOutbox(
  tx,
  defineMessages({ placed: message<Order>({ key: (order) => order.key, destination: 'test:orders' }) }),
);

async function write(key: string): Promise<void> {
  const { rows } = await tx.db.query<{ last: number }>(
    'select coalesce(max(n), 0)::int as last from orders where key = $1',
    [key],
  );
  for (let n = (rows[0]?.last ?? 0) + 1; ; n++) {
    await tx
      .run(async ({ client }) => {
        await client.query('insert into orders (id, key, n) values ($1, $2, $3)', [`${key}/${n}`, key, n]);
        await outbox.send('placed', { id: `${key}/${n}`, key }, { id: `${key}/${n}` });
        await tx
          .run(
            async () => {
              await outbox.send('placed', { id: 'undone', key }, { id: `undone ${key}/${n}` });
              throw new Error('undone');
            },
            { propagation: 'nested' },
          )
          .catch(() => undefined);
        // Every seventh comes to nothing, and is tried again.
        if (n % 7 === 0 && Math.random() < 0.5) throw new Error('rolled back');
      })
      .catch(() => n--);
  }
}

await Promise.all(Array.from({ length: keys }, (_, i) => write(`${name}-${i}`)));
