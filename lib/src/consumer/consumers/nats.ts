/** `settle/consumer/nats`: consumes a stream of NATS JetStream by a durable pull consumer. */
import { headerStyles, percentDecoded } from '../../outbox/broker-headers.ts';
import { SettleError } from '../../util/errors.ts';
import type { HandleMessage, IncomingMessage, RunningConsumer } from '../incoming.ts';
import {
  asError,
  endedWithin,
  keepConsuming,
  type ReconnectOptions,
  type Session,
} from '../keep-consuming.ts';
import { abortGraceMs, concurrencyDefault, KeyedQueue } from '../keyed-queue.ts';
import { type Identity, readIncoming } from '../read-incoming.ts';
import type { JetStreamConsuming, NatsConsumerInfo, NatsMessage, NatsMessages } from './nats-client.ts';
import { Recovery } from './nats-recovery.ts';
import { untilHandled } from './until-handled.ts';

export type { JetStreamConsuming, NatsMessage } from './nats-client.ts';

export interface NatsConsumerOptions extends ReconnectOptions {
  /** `jetstream(connection)` of `@nats-io/jetstream`; its connection stays the caller's, and reconnects by itself. */
  readonly jetstream: JetStreamConsuming;
  readonly stream: string;
  /** A durable pull consumer with explicit acknowledgement. It has to be there; nothing is made. */
  readonly durable: string;
  /** What `createConsumer` of `settle/consumer` gives. */
  readonly handle: HandleMessage;
  /** Messages handled at a time. Default: 16. */
  readonly concurrency?: number;
  /**
   * Whether to wait for the server's word that it has an acknowledgement. Without it a lost one makes a message come again,
   * which the inbox knows. Default: false.
   */
  readonly confirmAcks?: boolean;
  /** Who a message of somebody else is: what this gives goes before what the message says itself. Default: nothing. */
  readonly identify?: (message: NatsMessage) => Partial<Identity>;
  /** Told of what mends itself: a message that is tried again. Default: `console.error`. */
  readonly onTrouble?: (error: Error) => void;
}

/** What NATS takes where a consumer says nothing. */
const ackWaitNsDefault = 30_000_000_000;
/** Of `ack_wait`, after which the server is told that a message is still at work. */
const workingShare = 1 / 3;
/** Beyond `ack_wait`, for messages of a consumer that died. */
const recoveryGraceMs = 1_000;

/** A server that is gone, or has forgotten who asked, is noticed after two heartbeats without a message. */
const pulls = { expires: 10_000, idle_heartbeat: 1_000 };

/**
 * Consumes a stream: acknowledges a message once its transaction has committed (or its dead letter is kept), and handles those
 * of one key one after the other, in the order of the stream. While a message is here, waiting or at work, the server is told so,
 * and does not deliver it to others.
 *
 * Order per key holds within one consumer, also when it is killed and started again: then it first waits for what was under way to
 * come again, up to `ack_wait`. Several processes on one durable consumer share its messages in any order: give each a part of the
 * subjects, by a consumer of its own. How many messages wait here is the `max_ack_pending` of the durable consumer.
 *
 * Throws `config_invalid` for limits that are none.
 */
export function consumeNats(options: NatsConsumerOptions): RunningConsumer {
  // Limits that are none are found out before anything is asked for.
  void new KeyedQueue(queueOptions(options, concurrencyOf(options), () => Promise.resolve()));
  return keepConsuming(() => NatsSession.open(options), { ...options, opensOnce: false });
}

interface Item {
  /** The latest delivery of it. */
  delivery: NatsMessage;
  readonly message: IncomingMessage;
}

type Run = (item: Item, signal: AbortSignal) => Promise<void>;

function concurrencyOf({ concurrency = concurrencyDefault }: NatsConsumerOptions): number {
  return concurrency;
}

function keyOfItem({ message }: Item): string | undefined {
  return message.key;
}

function queueOptions(options: NatsConsumerOptions, itemsMax: number, run: Run) {
  const concurrency = concurrencyOf(options);
  return { keyOf: keyOfItem, run, concurrency, itemsMax: Math.max(itemsMax, concurrency) };
}

class NatsSession implements Session {
  readonly over: Promise<Error>;
  readonly #options: NatsConsumerOptions;
  readonly #messages: NatsMessages;
  readonly #queue: KeyedQueue<Item>;
  /** By place in the stream, all that is here and not acknowledged. */
  readonly #here = new Map<number, Item>();
  readonly #stopping = new AbortController();
  readonly #working: NodeJS.Timeout;
  readonly #recovery: Recovery<{ readonly seq: number; readonly item: Item }>;
  readonly #recoveryEnd: NodeJS.Timeout | undefined;
  #isOver: (why: Error) => void = () => undefined;

  static async open(options: NatsConsumerOptions): Promise<NatsSession> {
    const consumer = await options.jetstream.consumers.get(options.stream, options.durable);
    const info = await consumer.info();
    const pendingMax = checked(info, options);
    const messages = await consumer.consume({ max_messages: pendingMax, ...pulls });
    return new NatsSession(options, info, { messages, pendingMax });
  }

  private constructor(
    options: NatsConsumerOptions,
    info: NatsConsumerInfo,
    { messages, pendingMax }: { readonly messages: NatsMessages; readonly pendingMax: number },
  ) {
    this.#options = options;
    this.#messages = messages;
    this.#queue = new KeyedQueue(
      queueOptions(options, pendingMax, (item, signal) => this.#handle(item, signal)),
    );
    this.over = new Promise((resolve) => (this.#isOver = resolve));
    const waitMs = ackWaitMs(info);
    this.#working = setInterval(() => this.#tellWorking(), waitMs.shortest * workingShare);
    const delivered = info.delivered.stream_seq;
    // A message that was sent where nobody read any more may be counted although all are acknowledged.
    const missing = info.ack_floor.stream_seq >= delivered ? 0 : info.num_ack_pending;
    this.#recovery = new Recovery(delivered, missing);
    if (!this.#recovery.isOver) {
      this.#recoveryEnd = setTimeout(() => this.#endRecovery(), waitMs.longest + recoveryGraceMs);
    }
    void this.#read();
  }

  async end(timeoutMs: number): Promise<void> {
    this.#stopping.abort();
    clearTimeout(this.#recoveryEnd);
    const closed = this.#messages.close();
    const { running } = await this.#queue.drain(timeoutMs);
    clearInterval(this.#working);
    // What has not begun is given back; what is still at work comes again by itself.
    for (const item of this.#here.values()) if (!running.includes(item)) item.delivery.nak();
    this.#here.clear();
    await endedWithin(abortGraceMs, closed);
  }

  async #read(): Promise<void> {
    try {
      for await (const delivery of this.#messages) this.#take(delivery);
      this.#isOver(new Error(`consuming ${this.#options.stream} by ${this.#options.durable} ended`));
    } catch (error) {
      this.#isOver(asError(error));
    }
  }

  #take(delivery: NatsMessage): void {
    if (this.#stopping.signal.aborted) return delivery.nak();
    const known = this.#here.get(delivery.seq);
    if (known !== undefined) {
      known.delivery = delivery;
      return;
    }
    const item: Item = { delivery, message: incoming(delivery, this.#options) };
    this.#here.set(delivery.seq, item);
    if (this.#recovery.isOver) return this.#push(item);
    if (this.#recovery.hold({ seq: delivery.seq, item })) this.#endRecovery();
  }

  #endRecovery(): void {
    clearTimeout(this.#recoveryEnd);
    for (const { item } of this.#recovery.take()) this.#push(item);
  }

  /** There is room: the server keeps to the same limit. */
  #push(item: Item): void {
    if (this.#queue.free > 0) return this.#queue.push(item);
    this.#here.delete(item.delivery.seq);
    item.delivery.nak();
  }

  async #handle(item: Item, signal: AbortSignal): Promise<void> {
    const isHandled = await untilHandled(this.#options.handle, item.message, {
      signal,
      stopping: this.#stopping.signal,
      isWanted: () => true,
      tell: (error) => this.#tell(error),
    });
    if (!isHandled) return;
    try {
      if (this.#options.confirmAcks === true) await item.delivery.ackAck();
      else item.delivery.ack();
    } catch (error) {
      this.#tell(asError(error));
    }
    this.#here.delete(item.delivery.seq);
  }

  #tellWorking(): void {
    for (const { delivery } of this.#here.values()) delivery.working();
  }

  #tell(error: Error): void {
    const { onTrouble = (trouble: Error) => console.error('settle: a consumer of NATS:', trouble) } =
      this.#options;
    onTrouble(error);
  }
}

/** How many messages the server delivers before they are acknowledged. Throws `config_invalid`. */
function checked({ config }: NatsConsumerInfo, { stream, durable }: NatsConsumerOptions): number {
  const pendingMax = config.max_ack_pending ?? 0;
  const wrong =
    config.ack_policy !== 'explicit'
      ? `acknowledges ${config.ack_policy ?? 'nothing'}, not each message (ack_policy: explicit)`
      : pendingMax < 1
        ? 'has no max_ack_pending'
        : undefined;
  if (wrong === undefined) return pendingMax;
  throw new SettleError('config_invalid', `the consumer ${durable} of the stream ${stream} ${wrong}`);
}

function ackWaitMs({ config }: NatsConsumerInfo): { readonly shortest: number; readonly longest: number } {
  const waits = [...(config.backoff ?? []), config.ack_wait ?? ackWaitNsDefault].map((ns) => ns / 1e6);
  return { shortest: Math.min(...waits), longest: Math.max(...waits) };
}

function incoming(delivery: NatsMessage, { stream, identify }: NatsConsumerOptions): IncomingMessage {
  const headers: Record<string, string> = {};
  for (const name of delivery.headers?.keys() ?? []) {
    headers[name.toLowerCase()] = delivery.headers?.get(name) ?? '';
  }
  const id = headers['nats-msg-id'];
  const ref = `${stream}@${delivery.seq}`;
  const own = { id: id === undefined ? undefined : percentDecoded(id) };
  const raw = { payload: delivery.string(), headers, own, source: delivery.subject, ref };
  return readIncoming(headerStyles.nats, raw, {
    told: identify?.(delivery) ?? {},
    fallbackId: () => `nats:${ref}`,
  });
}
