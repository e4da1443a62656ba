/** `settle/relay/rabbitmq`: publishes to RabbitMQ, over a connection of amqplib. */
import { correlationHeader, headerStyles } from '../../outbox/broker-headers.ts';
import { messageOf } from '../../util/errors.ts';
import type { OutgoingMessage, Publisher, PublishResult } from '../publisher.ts';
import { envelope, type EnvelopeOptions } from './envelope.ts';
import type { ChannelEnd, ConfirmingChannel, RabbitMessage, Said } from './rabbitmq-channel.ts';
import { PublishingConnection, type RabbitSource } from './rabbitmq-connection.ts';
import { untilAbort } from './until-abort.ts';

export type { RabbitConfirmChannel, RabbitConnection, RabbitProperties } from './rabbitmq-client.ts';
export type { RabbitSource } from './rabbitmq-connection.ts';

export interface RabbitPublisherOptions extends EnvelopeOptions {
  /** What destinations begin with. Default: `rabbitmq`. */
  readonly name?: string;
  /**
   * How to connect: a function, called for the first message and again whenever the connection has ended; or a connection,
   * in whose place no other is opened. Channels are our own, one for each exchange.
   */
  readonly connection: RabbitSource;
  /** The routing key of a message whose address names an exchange only. Default: its type. */
  readonly routingKeyOf?: (message: OutgoingMessage) => string;
}

export interface RabbitPublisher extends Publisher {
  /** Closes its channels, and its connection unless that was handed in. */
  close(): Promise<void>;
}

/**
 * Publishes to RabbitMQ, every message with a confirm and as `mandatory`.
 *
 * Addresses: `orders/order.placed` is an exchange and a routing key, `orders` an exchange with `routingKeyOf`, `/invoices` the
 * queue of that name. Nothing is declared: exchanges, queues and bindings are yours.
 *
 * A message is published once RabbitMQ has confirmed it: every durable queue it was routed to has it on disk, a quorum queue
 * on the majority of its nodes. What reaches no queue is `retriable`, as is an exchange that is missing or forbidden; with an
 * alternate exchange, what that one takes counts as published. RabbitMQ does not recognise repeats: after an unknown outcome a
 * message may be in a queue twice, with the same `message_id`.
 *
 * ```ts
 * const rabbitmq = rabbitPublisher({ connection: () => amqplib.connect('amqp://127.0.0.1') });
 * ```
 */
export function rabbitPublisher(options: RabbitPublisherOptions): RabbitPublisher {
  const { name = 'rabbitmq', routingKeyOf = ({ type }) => type } = options;
  const headersOf = envelope(headerStyles.amqp, options);
  const connection = new PublishingConnection(options.connection);
  /** What the broker has said it takes at most. */
  let bytesMax = Infinity;

  function print(message: OutgoingMessage): RabbitMessage {
    const { address, id, type, contentType, headers } = message;
    const slash = address.indexOf('/');
    const correlationId = headers[correlationHeader];
    return {
      exchange: slash === -1 ? address : address.slice(0, slash),
      routingKey: slash === -1 ? routingKeyOf(message) : address.slice(slash + 1),
      content: Buffer.from(message.payload),
      properties: {
        mandatory: true,
        persistent: true,
        messageId: id,
        type,
        contentType,
        timestamp: Math.floor(message.createdAtMs / 1_000),
        headers: headersOf(message),
        ...(correlationId === undefined ? {} : { correlationId }),
      },
    };
  }

  /** Those of one exchange. */
  async function publishTo(
    exchange: string,
    messages: readonly RabbitMessage[],
    signal: AbortSignal,
    results: Map<RabbitMessage, PublishResult>,
  ): Promise<void> {
    const outcomes = await sendAll(exchange, messages, signal);
    messages.forEach((message, index) => results.set(message, resultOf(outcomes[index] ?? stopped)));
    const end = outcomes.find((outcome) => outcome.kind === 'lost')?.end;
    const culprit = end === undefined ? undefined : culpritIn(end);
    if (culprit === undefined) return;
    // One message has ended the channel. Its neighbours had no part in it, and go again without it.
    if (culprit.kind === 'size') bytesMax = Math.min(bytesMax, culprit.bytesMax);
    const rest = messages.filter((message, index) => {
      const outcome = outcomes[index] ?? stopped;
      const result = resultOfCulprit(culprit, message);
      if (result !== undefined) results.set(message, result);
      return result === undefined && (outcome.kind === 'lost' || outcome.kind === 'unavailable');
    });
    if (rest.length > 0) await publishTo(exchange, rest, signal, results);
  }

  async function sendAll(
    exchange: string,
    messages: readonly RabbitMessage[],
    signal: AbortSignal,
  ): Promise<readonly Outcome[]> {
    const opened = await openChannel(exchange, signal);
    if (opened.kind === 'unavailable') return messages.map(() => opened);
    const { channel } = opened;
    const outcomes: Promise<Outcome>[] = [];
    for (const message of messages) {
      await untilAbort(channel.hasRoom(), signal, undefined);
      outcomes.push(send(channel, message, signal));
    }
    return Promise.all(outcomes);
  }

  async function openChannel(
    exchange: string,
    signal: AbortSignal,
  ): Promise<{ readonly kind: 'open'; readonly channel: ConfirmingChannel } | Unavailable> {
    try {
      const channel = await untilAbort(connection.channel(exchange), signal, undefined);
      if (channel !== undefined) return { kind: 'open', channel };
      return unavailable('RabbitMQ did not open a channel in time');
    } catch (error) {
      return unavailable(`RabbitMQ cannot be reached: ${messageOf(error)}`);
    }
  }

  /** Sends it before it first waits for anything, so that the order of calls is that of messages. */
  async function send(
    channel: ConfirmingChannel,
    message: RabbitMessage,
    signal: AbortSignal,
  ): Promise<Outcome> {
    if (signal.aborted) return stopped;
    const isTooLarge = resultOfCulprit({ kind: 'size', bytesMax }, message);
    if (isTooLarge !== undefined) return isTooLarge;
    if (connection.blocked !== undefined) {
      return unavailable(`RabbitMQ takes no messages from us for now: ${connection.blocked}`);
    }
    if (channel.isSilent(message.routingKey)) {
      return unavailable('an earlier message with this routing key is not confirmed yet');
    }
    try {
      return await channel.send(message, signal);
    } catch (error) {
      const { end } = channel;
      if (end !== undefined) return unsent(end);
      return { kind: 'poison', reason: `AMQP cannot carry it: ${messageOf(error)}` };
    }
  }

  return {
    name,
    // What is behind a message that no queue took is on its way already.
    order: 'each-alone',
    async publish(batch, signal) {
      const messages = batch.map(print);
      const byExchange = Map.groupBy(messages, ({ exchange }) => exchange);
      const results = new Map<RabbitMessage, PublishResult>();
      await Promise.all([...byExchange].map(([to, group]) => publishTo(to, group, signal, results)));
      return messages.map((message) => results.get(message) ?? stopped);
    },
    close: () => connection.close(),
  };
}

type Unavailable = Extract<PublishResult, { kind: 'unavailable' }>;

/** What RabbitMQ said, or why it was not asked. */
type Outcome = Said | Exclude<PublishResult, { kind: 'published' }>;

const stopped = unavailable('publishing was stopped before it was sent');

function resultOf(outcome: Outcome): PublishResult {
  switch (outcome.kind) {
    case 'confirmed':
      return { kind: 'published' };
    case 'returned':
      return { kind: 'retriable', reason: `no queue took it: ${outcome.reason}` };
    case 'refused':
      return { kind: 'retriable', reason: `RabbitMQ refused it, as a full queue does: ${outcome.reason}` };
    case 'unanswered':
      return { kind: 'unknown', reason: 'RabbitMQ did not confirm it in time' };
    case 'lost':
      if (isRefusal(outcome.end)) return { kind: 'retriable', reason: outcome.end.reason };
      return { kind: 'unknown', reason: `ended before it was confirmed: ${outcome.end.reason}` };
    case 'retriable':
    case 'unknown':
    case 'poison':
    case 'unavailable':
      return outcome;
  }
}

function unsent(end: ChannelEnd): Outcome {
  return isRefusal(end) ? { kind: 'retriable', reason: end.reason } : unavailable(end.reason);
}

/** The exchange is missing, or not for us: as all on the channel go there, none of them went. */
function isRefusal({ code }: ChannelEnd): boolean {
  return code === 404 || code === 403;
}

/** Which messages RabbitMQ has ended a channel for. */
type Culprit =
  | { readonly kind: 'size'; readonly bytesMax: number }
  | { readonly kind: 'routing-key'; readonly routingKey: string; readonly reason: string };

function culpritIn({ code, reason }: ChannelEnd): Culprit | undefined {
  const [, bytesMax] = /larger than configured max size (\d+)/.exec(reason) ?? [];
  if (code === 406 && bytesMax !== undefined) return { kind: 'size', bytesMax: Number(bytesMax) };
  // Only topic authorisation looks at the routing key (https://www.rabbitmq.com/docs/access-control#topic-authorisation).
  const [, routingKey] = /access to topic '(.*)' in exchange '/.exec(reason) ?? [];
  return code === 403 && routingKey !== undefined ? { kind: 'routing-key', routingKey, reason } : undefined;
}

interface Refusal {
  readonly kind: 'poison' | 'retriable';
  readonly reason: string;
}

function resultOfCulprit(culprit: Culprit, { content, routingKey }: RabbitMessage): Refusal | undefined {
  switch (culprit.kind) {
    case 'size': {
      const { byteLength } = content;
      if (byteLength <= culprit.bytesMax) return undefined;
      const reason = `its ${byteLength} bytes are more than the ${culprit.bytesMax} that RabbitMQ takes`;
      return { kind: 'poison', reason };
    }
    case 'routing-key':
      return routingKey === culprit.routingKey ? { kind: 'retriable', reason: culprit.reason } : undefined;
  }
}

function unavailable(reason: string): Unavailable {
  return { kind: 'unavailable', reason };
}
