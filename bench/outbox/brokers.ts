/**
 * bench/outbox/brokers: a relay that empties a backlog to a broker, beside the broker's client alone with the same batches.
 *
 *   npm run bench -- outbox brokers [--messages 50000] [--keys 1,100000] [--rounds 3] [--only nats,kafka]
 *
 * The client alone has its messages in memory, and as many batches under way as the relay: 4, and 1 where all have one key,
 * whose order more would not keep.
 */
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { parseArgs } from 'node:util';
import { createRelay, relayLimitsDefault, sqlRelayStore } from 'settle/relay';
import { keepServices } from '../../scripts/services/keep.mjs';
import { fixed, machine, median, table, whole } from '../harness/report.ts';
import { brokerClients, type BareMessage, type OpenClient } from './broker-clients.ts';
import { countOf, fillOutbox, openDatabase, payload, type Backlog, type BenchDatabase } from './database.ts';

const batchMax = 100;

export interface BrokerResult {
  readonly name: string;
  readonly keys: number;
  /** Messages per second, the median of the rounds. */
  readonly alone: number;
  readonly relay: number;
  /** The median of the rounds' own. */
  readonly ratio: number;
}

export async function brokers(args: readonly string[]): Promise<readonly BrokerResult[]> {
  const { values } = parseArgs({
    args: [...args],
    options: {
      messages: { type: 'string', default: '50000' },
      keys: { type: 'string', default: '1,100000' },
      rounds: { type: 'string', default: '3' },
      only: { type: 'string', default: '' },
    },
  });
  const [messages, rounds] = [Number(values.messages), Number(values.rounds)];
  const only = values.only.split(',');
  const clients = brokerClients.filter(({ name }) => only.some((part) => name.includes(part)));

  const database = await openDatabase();
  const services = await keepServices([...new Set(clients.map(({ service }) => service))]);
  console.log(`bench outbox brokers: ${machine()}; ${database.about}`);
  console.log(`batches of ${batchMax}, ${whole(messages)} messages, ${rounds} rounds`);
  const results: BrokerResult[] = [];
  for (const { name, service, open } of clients) {
    const client = await open(services.urls[service]);
    for (const keys of values.keys.split(',').map(Number)) {
      const measured: { readonly alone: number; readonly relay: number }[] = [];
      for (let round = 0; round <= rounds; round++) {
        // The first round warms up what a user has warm.
        const backlog = { messages: round === 0 ? Math.ceil(messages / 5) : messages, keys };
        const alone = await aloneOnce(client, backlog);
        const relay = await relayOnce(database, client, backlog);
        if (round > 0) measured.push({ alone, relay });
      }
      results.push({
        name,
        keys,
        alone: median(measured.map(({ alone }) => alone)),
        relay: median(measured.map(({ relay }) => relay)),
        ratio: median(measured.map(({ alone, relay }) => relay / alone)),
      });
    }
    await client.close();
  }
  const rows = results.map(({ name, keys, alone, relay, ratio }) => [
    name,
    whole(keys),
    whole(alone),
    whole(relay),
    `${fixed(ratio * 100, 0)} %`,
  ]);
  console.log(`\n${table([['', 'keys', 'client alone/s', 'relay/s', 'of it'], ...rows])}`);
  await services.stop();
  await database.close();
  return results;
}

async function aloneOnce(client: OpenClient, { messages, keys }: Backlog): Promise<number> {
  await client.clear();
  const run = randomBytes(6).toString('hex');
  let sent = 0;
  const loop = async (): Promise<void> => {
    while (sent < messages) {
      const first = sent;
      sent = Math.min(first + batchMax, messages);
      const batch = Array.from({ length: sent - first }, (_, i): BareMessage => ({
        id: `${run}-${first + i}`,
        key: `key-${(first + i) % keys}`,
        payload,
      }));
      await client.send(batch);
    }
  };
  const loops = keys === 1 ? 1 : relayLimitsDefault.flightsMax;
  const startedMs = performance.now();
  await Promise.all(Array.from({ length: loops }, loop));
  return (messages / (performance.now() - startedMs)) * 1_000;
}

/** Until all is published and deleted. */
async function relayOnce(
  { pool, driver }: BenchDatabase,
  client: OpenClient,
  backlog: Backlog,
): Promise<number> {
  await client.clear();
  await fillOutbox(pool, { ...backlog, target: 'bench', address: client.address });
  let published = 0;
  const ended = new AbortController();
  const { publisher } = client;
  const relay = createRelay({
    store: sqlRelayStore(driver),
    publishers: [
      {
        ...publisher,
        async publish(batch, signal) {
          const results = await publisher.publish(batch, signal);
          const failed = results.find(({ kind }) => kind !== 'published');
          if (failed !== undefined) throw new Error(JSON.stringify(failed));
          published += results.length;
          if (published >= backlog.messages) ended.abort();
          return results;
        },
      },
    ],
    limits: { batchMax },
    onEvent: (event) => {
      if (event.kind === 'warning' || event.kind === 'failed') console.error(event);
    },
  });
  const all = once(ended.signal, 'abort');
  const startedMs = performance.now();
  await relay.start();
  await all;
  await relay.stop();
  const perSecond = (backlog.messages / (performance.now() - startedMs)) * 1_000;
  const left = await countOf(pool, 'settle_outbox');
  if (left > 0) throw new Error(`${left} messages are left, although all were published`);
  return perSecond;
}
