// A relay in a process of its own, which publishes to the test over a socket, and may be told where to die.
import { connect, type Socket } from 'node:net';
import { createInterface } from 'node:readline';
import { Pool } from 'pg';
import { pgDriver } from '../../../lib/src/local/adapters/pg.ts';
import { createRelay, type Publisher, type RelayStore } from '../../../lib/src/relay/index.ts';
import { sqlRelayStore } from '../../../lib/src/relay/sql-store/index.ts';
import type { Moment } from './relay-process-moments.ts';

export interface RelayProcessOptions {
  readonly url: string;
  readonly port: number;
  /** Dies there the first time it comes by; undefined: does not die by itself. */
  readonly dieAt: Moment | undefined;
}

/** One line of what is said to the test, which answers with the same number once it has written the batch down. */
export interface Delivery {
  readonly batch: number;
  readonly messages: readonly { readonly id: string; readonly key: string | undefined }[];
}

const { url, port, dieAt } = JSON.parse(process.argv[2] ?? '') as RelayProcessOptions;

function passes(moment: Moment): void {
  if (moment !== dieAt) return;
  process.kill(process.pid, 'SIGKILL');
  for (;;);
}

function toTheTest(): Publisher {
  const socket: Socket = connect(port, '127.0.0.1');
  const waiting = new Map<number, () => void>();
  createInterface({ input: socket }).on('line', (line) => {
    waiting.get(Number(line))?.();
    waiting.delete(Number(line));
  });
  let last = 0;
  return {
    name: 'test',
    order: 'stops-at-failure',
    async publish(messages) {
      passes('claimed');
      const batch = ++last;
      const delivery: Delivery = { batch, messages: messages.map(({ id, key }) => ({ id, key })) };
      await new Promise<void>((resolve) => {
        waiting.set(batch, resolve);
        socket.write(`${JSON.stringify(delivery)}\n`, () => passes('publishing'));
      });
      passes('published');
      return messages.map(() => ({ kind: 'published' }));
    },
  };
}

function mortal(store: RelayStore): RelayStore {
  return {
    ...store,
    async settle(settlements) {
      passes('settling');
      const lost = await store.settle(settlements);
      passes('settled');
      return lost;
    },
  };
}

const pool = new Pool({ connectionString: url, max: 4 });
await createRelay({
  store: mortal(sqlRelayStore(pgDriver(pool))),
  publishers: [toTheTest()],
  limits: { leaseTtlMs: 1_000, batchMax: 10 },
}).start();
