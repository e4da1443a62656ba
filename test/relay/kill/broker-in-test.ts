import { once } from 'node:events';
import { createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Delivery } from './relay-process.ts';

/** Where the relays of a test publish to: the one process that nobody kills. Keeps every id, in the order they came. */
export class BrokerInTest {
  readonly received: string[] = [];
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();

  private constructor() {
    this.#server = createServer((socket) => {
      this.#sockets.add(socket);
      socket.on('error', () => undefined).on('close', () => this.#sockets.delete(socket));
      const lines = createInterface({ input: socket }).on('error', () => undefined);
      lines.on('line', (line) => {
        const { batch, messages } = JSON.parse(line) as Delivery;
        this.received.push(...messages.map(({ id }) => id));
        socket.write(`${batch}\n`);
      });
    });
  }

  static async start(): Promise<BrokerInTest> {
    const broker = new BrokerInTest();
    broker.#server.listen(0, '127.0.0.1');
    await once(broker.#server, 'listening');
    return broker;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  /** Each id at the place it first came. */
  get firsts(): string[] {
    return [...new Set(this.received)];
  }

  /** Resolves when so many more have come; rejects after 20 seconds. */
  async hasMore(count: number): Promise<void> {
    const until = this.received.length + count;
    for (let i = 0; this.received.length < until; i++) {
      if (i === 400) throw new Error(`${this.received.length} messages have come, and no more in 20 s`);
      await sleep(50);
    }
  }

  async stop(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    this.#server.close();
    await once(this.#server, 'close');
  }
}
