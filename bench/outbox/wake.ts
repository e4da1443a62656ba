/**
 * bench/outbox/wake: how long from a send to the publisher, for each way in which a relay comes to know of a message. One
 * PostgreSQL, one writer at a steady pace; all contenders in one run, round after round.
 *
 *   node bench/outbox/wake.ts [--rounds 4] [--messages 200] [--pause 5] [--only "notify,log"]
 *
 * And what telling costs the writers: 16 at once, with nothing, with a NOTIFY inside each transaction, and with ours after it.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { Client, Pool } from 'pg';
import { createTransactions } from 'settle/local';
import { pgDriver } from 'settle/local/pg';
import { createOutbox, defineMessages, migrateOutbox } from 'settle/outbox';
import { createRelay, sqlRelayStore, type Publisher, type WakeSource } from 'settle/relay';
import { notifyOnCommit, notifyWake } from 'settle/relay/postgres';
import { postgresLogWake } from 'settle/relay/postgres-log';
import { closedLoop } from '../harness/load.ts';
import { findPostgres } from '../harness/postgres.ts';
import { fixed, machine, table, whole } from '../harness/report.ts';

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '4' },
    messages: { type: 'string', default: '200' },
    pause: { type: 'string', default: '5' },
    only: { type: 'string', default: '' },
  },
});
const [rounds, count, pauseMs] = [Number(values.rounds), Number(values.messages), Number(values.pause)];
const only = values.only.split(',').filter((name) => name !== '');

const postgres = await findPostgres({ wal_level: 'logical' });
const server = await postgres.start();
console.log(`bench outbox wake: ${machine()}; ${postgres.about}`);

const pool = new Pool({ connectionString: server.url, max: 20 });
const driver = pgDriver(pool);
const tx = createTransactions(driver);
const outbox = createOutbox(tx, defineMessages({ placed: { destination: 'bench:orders' } }));
await migrateOutbox(driver);

interface Contender {
  readonly name: string;
  readonly poll: { readonly pollMinMs: number; readonly pollMaxMs: number };
  readonly wake?: () => WakeSource;
  /** What the writer's process does beside. */
  readonly begin?: () => () => Promise<void>;
}

const never = { pollMinMs: 60_000, pollMaxMs: 60_000 };
const replication = { connectionString: server.url, replication: 'database' };
const contenders: readonly Contender[] = [
  ...[10, 50, 200].map((ms) => ({ name: `poll ${ms} ms`, poll: { pollMinMs: ms, pollMaxMs: ms } })),
  {
    name: 'notify',
    poll: never,
    wake: () => notifyWake(() => new Client({ connectionString: server.url })),
    begin: () => notifyOnCommit(outbox, () => pool),
  },
  {
    name: 'log',
    poll: never,
    wake: () => postgresLogWake({ connect: () => new Client(replication), pool }),
  },
  {
    // What there is without leaving the process.
    name: 'in process',
    poll: never,
    wake: () => ({
      name: 'in process',
      start: (wake, { signal }) => {
        signal.addEventListener(
          'abort',
          outbox.onCommitted(() => void wake()),
        );
        return Promise.resolve();
      },
    }),
  },
];

const latencies = new Map<string, number[]>();
for (let round = 0; round <= rounds; round++) {
  for (const contender of contenders) {
    if (only.length > 0 && !only.some((name) => contender.name.includes(name))) continue;
    const measured = await latenciesOf(contender);
    // The first round warms up what a user has warm.
    if (round > 0) latencies.set(contender.name, [...(latencies.get(contender.name) ?? []), ...measured]);
  }
}
console.log(`\nsend to publish, ${rounds * count} messages each, one every ${pauseMs} ms and more`);
const rows = [...latencies].map(([name, of]) => {
  const sorted = of.toSorted((a, b) => a - b);
  return [
    name,
    ...[0.5, 0.9, 0.99, 1].map((part) => fixed(sorted[Math.ceil(part * sorted.length) - 1] ?? NaN, 2)),
  ];
});
console.log(table([['', 'p50 ms', 'p90 ms', 'p99 ms', 'max ms'], ...rows]));

console.log(`\nwriters, 16 at once`);
const clients = 16;
const loop = { inFlight: clients, durationMs: 3_000, warmUpMs: 500 };
const inTransaction = async (): Promise<void> => {
  await tx.run(async ({ client }) => {
    await outbox.send('placed', {});
    await client.query(`select pg_notify('settle_outbox', '')`);
  });
};
const alone = async (): Promise<void> => void (await tx.run(() => outbox.send('placed', {})));
const costs: (readonly string[])[] = [];
const listener = new Client({ connectionString: server.url });
await listener.connect();
await listener.query('listen settle_outbox');
for (let round = 0; round < 3; round++) {
  const plain = await closedLoop(loop, alone);
  const inside = await closedLoop(loop, inTransaction);
  const stop = notifyOnCommit(outbox, () => pool);
  const after = await closedLoop(loop, alone);
  await stop();
  costs.push([plain, inside, after].map(({ perSecond }) => whole(perSecond)));
}
console.log(table([['no NOTIFY', 'in the transaction', 'notifyOnCommit'], ...costs]));

await listener.end();
await pool.end();
await server.stop();

async function latenciesOf({ poll, wake, begin }: Contender): Promise<readonly number[]> {
  const arrived = new Map<string, (atMs: number) => void>();
  const publisher: Publisher = {
    name: 'bench',
    order: 'stops-at-failure',
    publish(batch) {
      const atMs = performance.now();
      for (const { id } of batch) arrived.get(id)?.(atMs);
      return Promise.resolve(batch.map(() => ({ kind: 'published' })));
    },
  };
  const listening = Promise.withResolvers<void>();
  const source = wake?.();
  const told: WakeSource[] =
    source === undefined
      ? []
      : [
          {
            name: source.name,
            start: (...given) => source.start(...given).then(listening.resolve, listening.reject),
          },
        ];
  const store = sqlRelayStore(driver);
  const relay = createRelay({ store, publishers: [publisher], limits: poll, wake: told });
  await relay.start();
  if (source !== undefined) await listening.promise;
  const end = begin?.();
  const measured: number[] = [];
  for (let n = 0; n < count; n++) {
    const id = `m${Math.random()}`;
    const sentMs = performance.now();
    const arrival = new Promise<number>((resolve) => arrived.set(id, resolve));
    await tx.run(() => outbox.send('placed', {}, { id }));
    measured.push((await arrival) - sentMs);
    // So that polls are met at any moment.
    await sleep(pauseMs + Math.random() * pauseMs);
  }
  await end?.();
  await relay.stop();
  return measured;
}
