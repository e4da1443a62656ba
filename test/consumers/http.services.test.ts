import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout } from 'node:timers/promises';
import { afterAll, beforeAll, describe, test } from 'vitest';
import { nodeExchange } from '../../lib/src/http/node-exchange.ts';
import { httpPublisher } from '../../lib/src/relay/publishers/http.ts';
import { postgresDatabase } from '../services/postgres.ts';
import { everyMessageOnce, type Sent } from './killed.ts';

const database = postgresDatabase();
const exchange = nodeExchange();
let port = 0;

beforeAll(async () => {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  ({ port } = server.address() as AddressInfo);
  await once(server.close(), 'close');
});
afterAll(() => exchange.close());

/** Sends as a relay does, while the receiver comes and goes: of each key the next when the one before is accepted. */
class Sender {
  readonly #publisher = httpPublisher({
    exchange,
    endpoints: { partner: { url: `http://127.0.0.1:${port}/hooks` } },
    timeoutMs: 2_000,
  });
  #waiting: readonly Sent[] = [];
  #isSending = false;

  add(messages: readonly Sent[]): void {
    this.#waiting = [...this.#waiting, ...messages];
    if (!this.#isSending) void this.#send();
  }

  async #send(): Promise<void> {
    this.#isSending = true;
    while (this.#waiting.length > 0) {
      const heads = this.#waiting.filter(
        ({ key }, at) => this.#waiting.findIndex((m) => m.key === key) === at,
      );
      const results = await this.#publisher.publish(heads.map(outgoing), AbortSignal.timeout(5_000));
      const accepted = new Set(
        heads.filter((_, at) => results[at]?.kind === 'published').map(({ id }) => id),
      );
      this.#waiting = this.#waiting.filter(({ id }) => !accepted.has(id));
      if (accepted.size < heads.length) await setTimeout(20);
    }
    this.#isSending = false;
  }
}

const outgoing = ({ id, key, payload }: Sent) => ({
  id,
  key,
  payload,
  type: 'done',
  version: 1,
  address: 'partner',
  contentType: 'application/json' as const,
  headers: {},
  createdAtMs: 0,
  attempt: 1,
});

describe('a webhook that is killed 10 times', () => {
  test('handles every message once and each key in order', { timeout: 180_000 }, async () => {
    const sender = new Sender();
    await everyMessageOnce({
      plan: {
        broker: 'http',
        url: '',
        source: String(port),
        group: 'work',
        database: database.url,
        storesPositions: false,
      },
      members: 1,
      kills: 10,
      keys: 7,
      perKey: 60,
      keepsOrder: true,
      send: (messages) => Promise.resolve(sender.add(messages)),
    });
  });
});
