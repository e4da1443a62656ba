/**
 * bench/outbox/wake: how long from a send to the publisher, for each way in which a relay comes to know of a message. One
 * PostgreSQL, one process; all contenders in one run, round after round.
 *
 *   npm run bench -- outbox wake [--rounds 4] [--messages 200] [--pause 5] [--rate 1000] [--seconds 3] [--only "notify,log"]
 *                                [--writers-ms 3000]
 *
 * First messages that come alone, one every `--pause` ms and more. Then `--rate` of them a second for `--seconds`: a
 * transaction each, begun when it is due whatever became of those before, and measured from then on. And what telling costs
 * the writers: 16 at once, with nothing, with a NOTIFY inside each transaction, and with ours after it.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { Client, type Pool } from 'pg';
import { createTransactions, type Driver, type Transactions } from 'settle/local';
import { pgDriver, type PgHandle } from 'settle/local/pg';
import { createOutbox, defineMessages, type Outbox } from 'settle/outbox';
import { createRelay, sqlRelayStore, type Publisher, type WakeSource } from 'settle/relay';
import { notifyOnCommit, notifyWake } from 'settle/relay/postgres';
import { postgresLogWake } from 'settle/relay/postgres-log';
import { closedLoop, summary } from '../harness/load.ts';
import { fixed, machine, table, whole } from '../harness/report.ts';
import { openDatabase, openPool } from './database.ts';

const messages = defineMessages({ placed: { destination: 'bench:orders' } });

interface World {
  readonly url: string;
  readonly pool: Pool;
  /** The relay's own, which does not wait for connections behind the writers. */
  readonly relayDriver: Driver<PgHandle<Pool>>;
  readonly tx: Transactions<PgHandle<Pool>>;
  readonly outbox: Outbox<PgHandle<Pool>, typeof messages>;
}

interface Contender {
  readonly name: string;
  readonly poll: { readonly pollMinMs: number; readonly pollMaxMs: number };
  readonly wake?: () => WakeSource;
  /** What the writer's process does beside. */
  readonly begin?: () => () => Promise<void>;
}

export interface WakeResult {
  readonly name: string;
  readonly load: 'alone' | 'steady';
  readonly count: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
}

export async function wake(args: readonly string[]): Promise<readonly WakeResult[]> {
  const { values } = parseArgs({
    args: [...args],
    options: {
      rounds: { type: 'string', default: '4' },
      messages: { type: 'string', default: '200' },
      pause: { type: 'string', default: '5' },
      rate: { type: 'string', default: '1000' },
      seconds: { type: 'string', default: '3' },
      'writers-ms': { type: 'string', default: '3000' },
      only: { type: 'string', default: '' },
    },
  });
  const rounds = Number(values.rounds);
  const only = values.only.split(',');

  const database = await openDatabase({ wal_level: 'logical' });
  const { url, pool, driver } = database;
  console.log(`bench outbox wake: ${machine()}; ${database.about}`);
  const tx = createTransactions(driver);
  const relayPool = openPool(url);
  const relayDriver = pgDriver(relayPool);
  const world: World = { url, pool, relayDriver, tx, outbox: createOutbox(tx, messages) };
  const contenders = contendersOf(world).filter(({ name }) => only.some((part) => name.includes(part)));

  const [count, pauseMs] = [Number(values.messages), Number(values.pause)];
  const [perSecond, seconds] = [Number(values.rate), Number(values.seconds)];
  const loads: readonly {
    readonly load: WakeResult['load'];
    readonly title: string;
    readonly run: (publish: Published) => Promise<readonly number[]>;
  }[] = [
    {
      load: 'alone',
      title: `${rounds * count} messages each, one every ${pauseMs} ms and more`,
      run: (published) => oneByOne(world, published, { count, pauseMs }),
    },
    {
      load: 'steady',
      title: `${whole(perSecond)} messages a second, ${rounds} times ${seconds} s`,
      run: (published) => steadily(world, published, { perSecond, seconds }),
    },
  ];

  const results: WakeResult[] = [];
  for (const { load, title, run } of loads) {
    const latencies = new Map<string, number[]>();
    for (let round = 0; round <= rounds; round++) {
      for (const contender of contenders) {
        const measured = await relaying(world, contender, run);
        // The first round warms up what a user has warm.
        if (round === 0) continue;
        const before = latencies.get(contender.name) ?? [];
        latencies.set(contender.name, before.concat(measured));
      }
    }
    console.log(`\nsend to publish, ${title}`);
    const rows = [...latencies].map(([name, of]) => {
      const sorted = of.toSorted((a, b) => a - b);
      const { count, p50Ms, p99Ms } = summary(sorted, 1);
      results.push({ name, load, count, p50Ms, p99Ms });
      return [name, ...[p50Ms, p99Ms, sorted.at(-1) ?? NaN].map((ms) => fixed(ms, 2))];
    });
    console.log(table([['', 'p50 ms', 'p99 ms', 'max ms'], ...rows]));
  }
  await relayPool.end();
  await costToWriters(world, Number(values['writers-ms']));
  await database.close();
  return results;
}

function contendersOf({ url, pool, outbox }: World): readonly Contender[] {
  const never = { pollMinMs: 60_000, pollMaxMs: 60_000 };
  const replication = { connectionString: url, replication: 'database' };
  return [
    ...[10, 50, 200].map((ms) => ({ name: `poll ${ms} ms`, poll: { pollMinMs: ms, pollMaxMs: ms } })),
    {
      name: 'notify',
      poll: never,
      wake: () => notifyWake(() => new Client({ connectionString: url })),
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
}

/** Resolves to when a message with this id was given to the publisher. */
type Published = (id: string) => Promise<number>;

/** Has a relay running, and its wake-ups listening, while `run` measures. */
async function relaying(
  { relayDriver }: World,
  { poll, wake, begin }: Contender,
  run: (published: Published) => Promise<readonly number[]>,
): Promise<readonly number[]> {
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
  const store = sqlRelayStore(relayDriver);
  const relay = createRelay({ store, publishers: [publisher], limits: poll, wake: told });
  await relay.start();
  if (source !== undefined) await listening.promise;
  const end = begin?.();
  const measured = await run((id) => new Promise((resolve) => arrived.set(id, resolve)));
  await end?.();
  await relay.stop();
  return measured;
}

async function oneByOne(
  { tx, outbox }: World,
  published: Published,
  { count, pauseMs }: { readonly count: number; readonly pauseMs: number },
): Promise<readonly number[]> {
  const measured: number[] = [];
  for (let n = 0; n < count; n++) {
    const id = `m${Math.random()}`;
    const sentMs = performance.now();
    const arrival = published(id);
    await tx.run(() => outbox.send('placed', {}, { id }));
    measured.push((await arrival) - sentMs);
    // So that polls are met at any moment.
    await sleep(pauseMs + Math.random() * pauseMs);
  }
  return measured;
}

async function steadily(
  { tx, outbox }: World,
  published: Published,
  { perSecond, seconds }: { readonly perSecond: number; readonly seconds: number },
): Promise<readonly number[]> {
  const measuring: Promise<number>[] = [];
  const send = async (id: string, dueMs: number): Promise<number> => {
    const arrival = published(id);
    await tx.run(() => outbox.send('placed', {}, { id, key: `key-${Math.floor(Math.random() * 10_000)}` }));
    return (await arrival) - dueMs;
  };
  const startedMs = performance.now();
  const total = perSecond * seconds;
  while (measuring.length < total) {
    const dueMs = startedMs + (measuring.length / perSecond) * 1_000;
    if (dueMs > performance.now()) await sleep(1);
    else measuring.push(send(`m${Math.random()}`, dueMs));
  }
  return await Promise.all(measuring);
}

async function costToWriters({ url, pool, tx, outbox }: World, durationMs: number): Promise<void> {
  console.log(`\nwriters, 16 at once, a second`);
  const loop = { inFlight: 16, durationMs, warmUpMs: durationMs / 6 };
  const inTransaction = async (): Promise<void> => {
    await tx.run(async ({ client }) => {
      await outbox.send('placed', {});
      await client.query(`select pg_notify('settle_outbox', '')`);
    });
  };
  const alone = async (): Promise<void> => void (await tx.run(() => outbox.send('placed', {})));
  const costs: (readonly string[])[] = [];
  const listener = new Client({ connectionString: url });
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
}
