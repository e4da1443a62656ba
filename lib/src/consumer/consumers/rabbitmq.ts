/** `settle/consumer/rabbitmq`: consumes a queue of RabbitMQ, over a connection of amqplib. */
import { correlationHeader, headerStyles } from '../../outbox/broker-headers.ts';
import { SettleError } from '../../util/errors.ts';
import type { HandleMessage, IncomingMessage, RunningConsumer } from '../incoming.ts';
import {
  asError,
  endedWithin,
  keepConsuming,
  type ReconnectOptions,
  type Session,
} from '../keep-consuming.ts';
import { abortGraceMs, concurrencyDefault, itemsPerTurnDefault, KeyedQueue } from '../keyed-queue.ts';
import { type Identity, readIncoming, toldBy } from '../read-incoming.ts';
import type { RabbitChannel, RabbitConsumingConnection, RabbitDelivery } from './rabbitmq-client.ts';
import { untilHandled } from './until-handled.ts';

export type { RabbitChannel, RabbitConsumingConnection, RabbitDelivery } from './rabbitmq-client.ts';

export interface RabbitConsumerOptions extends ReconnectOptions {
  /**
   * How to connect: a function, called again whenever the connection has ended; or a connection, in whose place no other is
   * opened: when it ends, `ended` rejects.
   */
  readonly connection: RabbitConsumingConnection | (() => Promise<RabbitConsumingConnection>);
  /** Has to be there; nothing is declared. */
  readonly queue: string;
  /** What `createConsumer` of `settle/consumer` gives. */
  readonly handle: HandleMessage;
  /** Messages handled at a time. Default 16. */
  readonly concurrency?: number;
  /** Messages that RabbitMQ sends ahead, at least `concurrency`. Default: 16 for each that is handled at a time. */
  readonly prefetch?: number;
  /** Told when a message could not be handled, and is tried again. Default: `console.error`. */
  readonly onTrouble?: (error: Error) => void;
  /** Who a message of somebody else is: what this gives goes before what the message says itself. Default: nothing. */
  readonly identify?: (delivery: RabbitDelivery) => Partial<Identity>;
}

/**
 * Consumes a queue: acknowledges a message once its transaction has committed (or its dead letter is kept), handles those of
 * one key one after the other in the order they came, and reconnects.
 *
 * Order per key holds within one consumer. For several processes on one queue declare it with `x-single-active-consumer`, else
 * two of them handle messages of one key side by side. What cannot be handled at all, as when the database is down, is tried again
 * where it is, and what follows with its key waits. What is not acknowledged goes back to the queue, in order, when the consumer
 * stops or its channel ends; RabbitMQ does that too after its `consumer_timeout`, 30 minutes by default.
 *
 * Throws `config_invalid` for limits that are none.
 */
export function consumeRabbit(options: RabbitConsumerOptions): RunningConsumer {
  const { connection, concurrency = concurrencyDefault } = options;
  const { prefetch = concurrency * itemsPerTurnDefault } = options;
  if (!Number.isSafeInteger(prefetch) || prefetch < concurrency || prefetch > 65_535) {
    throw new SettleError('config_invalid', `prefetch is ${prefetch}, not from ${concurrency} to 65,535`);
  }
  const queueOptions = { concurrency, prefetch };
  // Limits that are none are found out before anything is connected.
  newQueue(queueOptions, () => Promise.resolve());
  return keepConsuming(() => RabbitSession.open(options, queueOptions), {
    ...options,
    opensOnce: typeof connection !== 'function',
  });
}

interface Limits {
  readonly concurrency: number;
  readonly prefetch: number;
}

interface Item {
  readonly delivery: RabbitDelivery;
  readonly message: IncomingMessage;
}

type Run = (item: Item, signal: AbortSignal) => Promise<void>;

function newQueue({ concurrency, prefetch }: Limits, run: Run): KeyedQueue<Item> {
  return new KeyedQueue({ keyOf: ({ message }) => message.key, run, concurrency, itemsMax: prefetch });
}

class RabbitSession implements Session {
  readonly over: Promise<Error>;
  readonly #options: RabbitConsumerOptions;
  readonly #connection: RabbitConsumingConnection;
  readonly #channel: RabbitChannel;
  readonly #queue: KeyedQueue<Item>;
  #consumerTag: string | undefined;
  #isOpen = true;
  readonly #ending = new AbortController();
  #isOver: (why: Error) => void = () => undefined;

  static async open(options: RabbitConsumerOptions, limits: Limits): Promise<RabbitSession> {
    const { connection: source, queue } = options;
    const connection = await (typeof source === 'function' ? source() : source);
    // Without a listener an error would end the process.
    let cause: Error | undefined;
    connection.on('error', (error) => (cause = asError(error)));
    try {
      const channel = await connection.createChannel();
      const session = new RabbitSession(options, limits, connection, channel);
      connection.on('close', () => session.#end(cause ?? new Error('the connection was closed')));
      await channel.prefetch(limits.prefetch);
      const { consumerTag } = await channel.consume(queue, (delivery) => session.#take(delivery));
      session.#consumerTag = consumerTag;
      return session;
    } catch (error) {
      await closeOwn(options, connection);
      throw error;
    }
  }

  private constructor(
    options: RabbitConsumerOptions,
    limits: Limits,
    connection: RabbitConsumingConnection,
    channel: RabbitChannel,
  ) {
    this.#options = options;
    this.#connection = connection;
    this.#channel = channel;
    this.#queue = newQueue(limits, (item, signal) => this.#handle(item, signal));
    this.over = new Promise((resolve) => (this.#isOver = resolve));
    let cause: Error | undefined;
    channel.on('error', (error) => (cause = asError(error)));
    channel.on('close', () => {
      this.#isOpen = false;
      this.#end(cause ?? new Error('the channel was closed'));
    });
  }

  async end(timeoutMs: number): Promise<void> {
    this.#end(new Error('stopped'));
    const tag = this.#consumerTag;
    if (this.#isOpen && tag !== undefined) await endedWithin(abortGraceMs, this.#channel.cancel(tag));
    await this.#queue.drain(timeoutMs);
    // What is not acknowledged goes back to where it stood in the queue.
    if (this.#isOpen) await endedWithin(abortGraceMs, this.#channel.close());
    await closeOwn(this.#options, this.#connection);
  }

  #take(delivery: RabbitDelivery | null): void {
    if (delivery === null) return this.#end(new Error(`RabbitMQ ended consuming ${this.#options.queue}`));
    // What comes when this is over is not acknowledged, and comes again.
    if (!this.#ending.signal.aborted) this.#queue.push({ delivery, message: this.#read(delivery) });
  }

  async #handle({ delivery, message }: Item, signal: AbortSignal): Promise<void> {
    const { handle, onTrouble = logTrouble } = this.#options;
    const isHandled = await untilHandled(handle, message, {
      signal,
      stopping: this.#ending.signal,
      isWanted: () => true,
      tell: onTrouble,
    });
    // What is not acknowledged goes back when the channel ends.
    if (!isHandled || !this.#isOpen) return;
    try {
      this.#channel.ack(delivery);
    } catch (error) {
      // The channel is about to end. The message comes again, and is recognised as a repeat.
      this.#end(asError(error));
    }
  }

  /** Nothing begins any more, and nothing is tried again: it all comes once more, in order. */
  #end(why: Error): void {
    this.#ending.abort();
    this.#queue.withdraw(() => true);
    this.#isOver(why);
  }

  #read(delivery: RabbitDelivery): IncomingMessage {
    const { queue, identify } = this.#options;
    const { fields, properties, content } = delivery;
    return readIncoming(
      headerStyles.amqp,
      {
        payload: content.toString(),
        headers: headersOf(delivery),
        own: {
          id: textOf(properties.messageId),
          type: textOf(properties.type),
          contentType: textOf(properties.contentType),
        },
        source: queue,
        ref: `${queue}@${fields.deliveryTag}`,
      },
      // Any would do that no other message has: a repeat of it is not recognised.
      { told: toldBy(identify, delivery), fallbackId: () => crypto.randomUUID() },
    );
  }
}

async function closeOwn(
  { connection: source }: RabbitConsumerOptions,
  connection: RabbitConsumingConnection,
): Promise<void> {
  if (typeof source === 'function') await endedWithin(abortGraceMs, connection.close());
}

/** What AMQP carries as a number, a table or else is told as JSON. */
function headersOf({ properties }: RabbitDelivery): Record<string, string> {
  const headers: Record<string, string> = {};
  const correlationId = textOf(properties.correlationId);
  if (correlationId !== undefined) headers[correlationHeader] = correlationId;
  for (const [name, value] of Object.entries(properties.headers ?? {})) {
    headers[name.toLowerCase()] = typeof value === 'string' ? value : JSON.stringify(value);
  }
  return headers;
}

function textOf(property: unknown): string | undefined {
  return typeof property === 'string' && property !== '' ? property : undefined;
}

function logTrouble(trouble: Error): void {
  console.error('settle: a consumer of RabbitMQ:', trouble);
}
