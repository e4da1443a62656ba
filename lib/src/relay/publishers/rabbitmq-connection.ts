/** The connection of a publisher: opened when it is needed, forgotten when it ends, and whether the broker blocks it. */
import { messageOf } from '../../util/errors.ts';
import { ConfirmingChannel } from './rabbitmq-channel.ts';
import type { RabbitConnection } from './rabbitmq-client.ts';
import { untilAbort } from './until-abort.ts';

/** A connection, in whose place no other is opened, or how to open one, as often as it takes. */
export type RabbitSource = RabbitConnection | (() => Promise<RabbitConnection>);

/** The broker allows so many channels on a connection by default: 2,047. */
const channelsMax = 256;

const closeMsMax = 2_000;

export class PublishingConnection {
  readonly #source: RabbitSource;
  /** By exchange, those used last at the end. */
  readonly #channels = new Map<string, Promise<ConfirmingChannel>>();
  #connection: Promise<RabbitConnection> | undefined;
  #blocked: string | undefined;

  constructor(source: RabbitSource) {
    this.#source = source;
  }

  /** Why the broker takes nothing on this connection; undefined when it does. */
  get blocked(): string | undefined {
    return this.#blocked;
  }

  /** The channel of an exchange. Rejects when the broker cannot be reached, or does not let us in. */
  async channel(exchange: string): Promise<ConfirmingChannel> {
    const known = this.#channels.get(exchange);
    const hasEnded = known !== undefined && (await known).end !== undefined;
    // Somebody else may have opened another one meanwhile.
    if (hasEnded && this.#channels.get(exchange) === known) this.#channels.delete(exchange);
    const opening = this.#channels.get(exchange) ?? this.#openChannel(exchange);
    this.#channels.delete(exchange);
    this.#channels.set(exchange, opening);
    await this.#makeRoom();
    return opening;
  }

  /** Closes the connection if it was opened here, else the channels on it. Never rejects. */
  async close(): Promise<void> {
    const connection = this.#connection;
    const channels = [...this.#channels.values()];
    this.#connection = undefined;
    this.#channels.clear();
    const closing =
      typeof this.#source === 'function'
        ? [(async () => (await connection)?.close())()]
        : channels.map(async (channel) => (await channel).close());
    // What has ended already rejects, and a connection that hangs does not answer to its closing either.
    await untilAbort(Promise.allSettled(closing), AbortSignal.timeout(closeMsMax), undefined);
  }

  #openChannel(exchange: string): Promise<ConfirmingChannel> {
    this.#connection ??= this.#open();
    const connection = this.#connection;
    connection.catch(() => this.#forget(connection));
    const opening = connection.then((ready) => ConfirmingChannel.open(ready));
    opening.catch(() => {
      if (this.#channels.get(exchange) === opening) this.#channels.delete(exchange);
    });
    return opening;
  }

  async #open(): Promise<RabbitConnection> {
    const connection = await (typeof this.#source === 'function' ? this.#source() : this.#source);
    const opened = this.#connection;
    // Without a listener an error would end the process. What it was, the channels tell.
    for (const event of ['error', 'close']) connection.on(event, () => this.#forget(opened));
    connection.on('blocked', (reason) => (this.#blocked = messageOf(reason)));
    connection.on('unblocked', () => (this.#blocked = undefined));
    return connection;
  }

  /** One that was handed in may mend itself, and is not ours to replace or to close. */
  #forget(connection: Promise<RabbitConnection> | undefined): void {
    if (this.#connection !== connection) return;
    this.#blocked = undefined;
    if (typeof this.#source !== 'function') return;
    this.#connection = undefined;
    connection?.then((ended) => ended.close()).catch(() => undefined);
  }

  /** Those that were not used for longest give way. */
  async #makeRoom(): Promise<void> {
    if (this.#channels.size <= channelsMax) return;
    for (const [exchange, opening] of this.#channels) {
      if (this.#channels.size <= channelsMax) return;
      const channel = await opening.catch(() => undefined);
      if (channel?.isIdle !== true) continue;
      this.#channels.delete(exchange);
      void channel.close();
    }
  }
}
