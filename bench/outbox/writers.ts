/**
 * bench/outbox/writers: what a message costs the transaction that sends it: one INSERT of business alone, with a row of the
 * outbox inserted by hand, through `outbox.send`, and with keys in the order of the commits.
 *
 *   npm run bench -- outbox writers [--rounds 8] [--ms 1000] [--clients 1,16] [--keys 10000]
 *
 * All take turns, round after round, and each is compared with the business alone of the same round. No relay runs.
 */
import { randomInt, randomUUID } from 'node:crypto';
import { parseArgs } from 'node:util';
import { createTransactions } from 'settle/local';
import { createOutbox, defineMessages, message } from 'settle/outbox';
import { laneCount } from 'settle/relay';
import { closedLoop, type Measured } from '../harness/load.ts';
import { fixed, machine, median, table, whole } from '../harness/report.ts';
import { openDatabase } from './database.ts';

interface Order {
  readonly id: string;
  readonly total: number;
  readonly items: readonly number[];
}

export interface WriterResult {
  readonly name: string;
  readonly clients: number;
  readonly perSecond: number;
  /** Of business alone: the median of the rounds' own. */
  readonly ratio: number;
}

export async function writers(args: readonly string[]): Promise<readonly WriterResult[]> {
  const { values } = parseArgs({
    args: [...args],
    options: {
      rounds: { type: 'string', default: '8' },
      ms: { type: 'string', default: '1000' },
      clients: { type: 'string', default: '1,16' },
      keys: { type: 'string', default: '10000' },
    },
  });
  const [rounds, durationMs, keys] = [Number(values.rounds), Number(values.ms), Number(values.keys)];

  const database = await openDatabase();
  const { pool, driver } = database;
  console.log(`bench outbox writers: ${machine()}; ${database.about}`);
  console.log(`${rounds} rounds of ${durationMs} ms each, the first fifth not counted; ${whole(keys)} keys`);
  await pool.query('create table bench_order (id serial primary key, text text not null)');
  const tx = createTransactions(driver);
  const messages = defineMessages({
    'order.placed': message<Order>({ destination: 'bench:orders', key: ({ id }) => id }),
  });
  const outbox = createOutbox(tx, messages);
  const serial = createOutbox(tx, messages, { serializeKeys: true });
  const order = (): Order => ({ id: `o-${randomInt(keys)}`, total: 12_345, items: [1, 2, 3] });
  const insert = (): Promise<unknown> =>
    tx.db.query('insert into bench_order (text) values ($1)', ['something of the business']);

  const ways: Readonly<Record<string, () => Promise<unknown>>> = {
    'business alone': () => tx.run(insert),
    'and an INSERT by hand': () =>
      tx.run(async () => {
        await insert();
        const placed = order();
        await tx.db.query(
          `insert into settle_outbox (lane, id, target, aggregatetype, aggregateid, type, payload, version)
           values ($1, $2, $3, $4, $5, $6, $7, $8)`,
          [
            randomInt(laneCount),
            randomUUID(),
            'bench',
            'orders',
            placed.id,
            'order.placed',
            JSON.stringify(placed),
            1,
          ],
        );
      }),
    'and outbox.send': () =>
      tx.run(async () => {
        await insert();
        await outbox.send('order.placed', order());
      }),
    'the same, serializeKeys': () =>
      tx.run(async () => {
        await insert();
        await serial.send('order.placed', order());
      }),
  };

  const results: WriterResult[] = [];
  for (const clients of values.clients.split(',').map(Number)) {
    const measured = new Map(Object.keys(ways).map((name) => [name, [] as Measured[]]));
    const names = [...measured.keys()];
    for (let round = 0; round <= rounds; round++) {
      for (let n = 0; n < names.length; n++) {
        const name = names[(n + round) % names.length] ?? '';
        const once = async (): Promise<void> => void (await ways[name]?.());
        const one = await closedLoop({ inFlight: clients, durationMs, warmUpMs: durationMs / 5 }, once);
        // The first round warms up what a user has warm.
        if (round > 0) measured.get(name)?.push(one);
      }
      await pool.query('truncate settle_outbox, bench_order');
    }
    const alone = measured.get('business alone') ?? [];
    for (const [name, of] of measured) {
      const ratios = of.map(({ perSecond }, round) => perSecond / (alone[round]?.perSecond ?? NaN));
      const perSecond = median(of.map((one) => one.perSecond));
      results.push({ name, clients, perSecond, ratio: median(ratios) });
    }
  }
  const rows = results.map(({ name, clients, perSecond, ratio }) => [
    name,
    String(clients),
    whole(perSecond),
    `${fixed(ratio * 100, 1)} %`,
  ]);
  console.log(`\n${table([['', 'clients', 'transactions/s', 'of alone'], ...rows])}`);
  await database.close();
  return results;
}
