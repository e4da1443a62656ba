import { once } from 'node:events';
import { pgDriver } from 'settle/local/pg';
import { createRelay, sqlRelayStore } from 'settle/relay';
import { countOf, fillOutbox, openPool } from '../database.ts';
import { batchMax, type Contender } from './contender.ts';

/** The relay as it is: order is kept for each key. */
export const settle: Contender = {
  name: 'settle',
  async open(url) {
    const pool = openPool(url);
    const store = sqlRelayStore(pgDriver(pool));
    return {
      fill: (backlog) => fillOutbox(pool, { ...backlog, target: 'bench' }),
      async drain(published, signal) {
        const relay = createRelay({
          store,
          publishers: [
            {
              name: 'bench',
              order: 'stops-at-failure',
              publish(batch) {
                published(batch.length);
                return Promise.resolve(batch.map(() => ({ kind: 'published' })));
              },
            },
          ],
          limits: { batchMax },
        });
        const ended = once(signal, 'abort');
        await relay.start();
        await ended;
        await relay.stop();
      },
      left: () => countOf(pool, 'settle_outbox'),
      close: () => pool.end(),
    };
  },
};
