// Brokers that are killed again and again between a relay and a consumer: every order that was committed takes effect once, none
// that was rolled back does, and those of a key come in order.
//
// Order is asked of all of them, as they can keep it: Kafka within its partitions; NATS, RabbitMQ and Redis with one consumer, since
// they spread messages over several without a look at keys; NATS with `perKey: 'one-by-one'`, the default, and not `in-flight`.
//
// What is asked of a broker here is that it keeps what it has confirmed when its process dies. Redis does with `appendfsync
// always` alone. That the machine dies is another matter: NATS and Kafka confirm what only the system's cache has.
import { describe, expect, it } from 'vitest';
import { createRelay } from '../../../lib/src/relay/index.ts';
import { sqlRelayStore } from '../../../lib/src/relay/sql-store/index.ts';
import { postgresDatabase } from '../../services/postgres.ts';
import {
  mortalKafkaJs,
  mortalNats,
  mortalPlatformaticKafka,
  mortalRabbit,
  mortalRedis,
} from './mortal-brokers.ts';
import { openShop } from './orders.ts';

const given = process.env['SETTLE_BROKER_KILLS'];
const killsOf = (usual: number): number => (given === undefined ? usual : Number(given));

/** How long a broker and its clients may take to be at work again. */
const recoveryMs = 60_000;

const brokers = [
  { name: 'NATS JetStream', open: mortalNats, kills: killsOf(6) },
  { name: 'Redis Streams', open: mortalRedis, kills: killsOf(6) },
  { name: 'RabbitMQ', open: mortalRabbit, kills: killsOf(3) },
  { name: 'Kafka, kafkajs', open: mortalKafkaJs, kills: killsOf(3) },
  { name: 'Kafka, @platformatic/kafka', open: mortalPlatformaticKafka, kills: killsOf(3) },
].map((broker) => ({ ...broker, database: postgresDatabase() }));

describe('kill -9 of the broker', () => {
  it.each(brokers)(
    '$name, $kills times: every committed order takes effect once, in the order of its key',
    { timeout: 120_000 + Math.max(...brokers.map(({ kills }) => kills)) * 30_000 },
    async ({ name, open, kills, database }) => {
      const broker = await open();
      const shop = await openShop(database.url, broker.destination);
      let knownToBroker = 0;
      const relay = createRelay({
        store: sqlRelayStore(shop.driver),
        publishers: [broker.publisher],
        retry: { baseMs: 50, maxMs: 500 },
        onEvent: (event) => {
          if (event.kind === 'batch') knownToBroker += event.duplicates;
        },
      });
      shop.outbox.onCommitted(() => relay.wake());
      const consumer = broker.consume(shop.handle);
      const stop = new AbortController();
      const writing = shop.writeOrders(stop.signal);
      try {
        await relay.start();
        for (let i = 0; i < kills; i++) {
          // In the middle of its work, each time elsewhere.
          const more = 20 + Math.floor(Math.random() * 200);
          await Promise.race([writing, shop.effects.reached(shop.effects.value + more, recoveryMs)]);
          await broker.server.kill();
          await broker.server.restart();
        }
        await shop.effects.reached(shop.effects.value + 20, recoveryMs);
        stop.abort();
        await writing;
        await shop.effects.reached(shop.written, recoveryMs);
        await expect
          .poll(() => relay.stats(), { timeout: recoveryMs })
          .toMatchObject({ pending: 0, dead: 0 });
        await consumer.stop();

        const judgement = await shop.judge();
        const { arrivals, told } = shop;
        const repeats = arrivals.length - new Set(arrivals).size;
        console.info(
          `${name}: ${judgement.orders} orders over ${kills} kills, and ${told.rolledBack} rolled back; ` +
            `${judgement.lost.length} lost, ${judgement.twice.length} twice, ` +
            `${judgement.late.effects.length} out of order; ${repeats} came again, ${told.absorbed} absorbed by the inbox, ${knownToBroker} by the broker`,
        );
        const none: readonly string[] = [];
        expect(judgement).toEqual({
          orders: shop.written,
          lost: none,
          madeUp: none,
          twice: none,
          late: { arrivals: none, effects: none },
        });
        expect(told.dead).toBe(0);
        expect(told.rolledBack).toBeGreaterThan(0);
      } finally {
        stop.abort();
        await Promise.allSettled([relay.stop(), consumer.stop(), writing]);
        await shop.close();
        await broker.close();
      }
    },
  );
});
