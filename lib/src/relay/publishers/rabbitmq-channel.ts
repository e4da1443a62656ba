/**
 * One confirm channel, and what RabbitMQ said of each message on it.
 *
 * - R1 Each message that was sent gets one answer: its confirm, the end of the channel, or nothing until the signal aborted.
 * - R2 A message that no queue took is confirmed all the same. Its return comes first
 *   (https://www.rabbitmq.com/docs/confirms#when-publishes-are-confirmed), so that the confirm finds it.
 * - R3 An error of a channel ends all that is on it, guilty or not. So a channel carries one exchange only, and what it has
 *   not confirmed is unknown.
 * - R4 A routing key with a message that was given up unconfirmed is `silent` until that one is confirmed after all: sending
 *   again what a queue without majority keeps waiting would only multiply it.
 */
import { messageOf } from '../../util/errors.ts';
import { onAbort } from '../../util/on-abort.ts';
import type { RabbitConfirmChannel, RabbitConnection, RabbitProperties } from './rabbitmq-client.ts';

/** What became of a message. */
export type Said =
  | { readonly kind: 'confirmed' | 'unanswered' }
  | { readonly kind: 'returned' | 'refused'; readonly reason: string }
  | { readonly kind: 'lost'; readonly end: ChannelEnd };

export interface ChannelEnd {
  /** The reply code of AMQP, where the broker has ended it: 404 for an exchange that is not there. */
  readonly code: number | undefined;
  readonly reason: string;
}

export interface RabbitMessage {
  readonly exchange: string;
  readonly routingKey: string;
  readonly content: Buffer;
  readonly properties: RabbitProperties;
}

export class ConfirmingChannel {
  readonly #channel: RabbitConfirmChannel;
  /** By id, what waits for its confirm: why RabbitMQ returned it, if it did. */
  readonly #unconfirmed = new Map<string, { returned: string | undefined }>();
  /** R4: how many messages of a routing key. */
  readonly #givenUp = new Map<string, number>();
  #cause: ChannelEnd | undefined;
  #end: ChannelEnd | undefined;
  #isFull = false;
  #waiting: (() => void)[] = [];

  static async open(connection: RabbitConnection): Promise<ConfirmingChannel> {
    return new ConfirmingChannel(await connection.createConfirmChannel());
  }

  private constructor(channel: RabbitConfirmChannel) {
    this.#channel = channel;
    channel.on('return', (message) => this.#returned(message));
    // Without a listener an error would end the process.
    channel.on('error', (error) => (this.#cause ??= endOf(error)));
    channel.on('drain', () => this.#goOn());
    channel.on('close', () => this.#ended());
  }

  /** Undefined as long as it is open. */
  get end(): ChannelEnd | undefined {
    return this.#end;
  }

  /** Whether nothing on it waits for a confirm. */
  get isIdle(): boolean {
    return this.#unconfirmed.size === 0;
  }

  /** R4 */
  isSilent(routingKey: string): boolean {
    return this.#givenUp.has(routingKey);
  }

  /** Sends it. Throws when the channel has ended, then nothing was sent, or for what AMQP has no room for. */
  send({ exchange, routingKey, content, properties }: RabbitMessage, signal: AbortSignal): Promise<Said> {
    const { messageId } = properties;
    const state: { returned: string | undefined } = { returned: undefined };
    let isGivenUp = false;
    const { promise, resolve } = Promise.withResolvers<Said>();
    const confirmed = (error: unknown): void => {
      this.#unconfirmed.delete(messageId);
      if (isGivenUp) this.#count(routingKey, -1);
      // An end of the channel is told to its messages first, and to us right after: then a refusal can be told from it.
      queueMicrotask(() => resolve(this.#said(error, state.returned)));
    };
    this.#isFull = !this.#channel.publish(exchange, routingKey, content, properties, confirmed);
    this.#unconfirmed.set(messageId, state);
    const forget = onAbort(signal, () => {
      isGivenUp = true;
      this.#count(routingKey, 1);
      resolve({ kind: 'unanswered' });
    });
    return promise.finally(forget);
  }

  /** Resolves when more can be sent, or when the channel has ended. */
  async hasRoom(): Promise<void> {
    while (this.#isFull && this.#end === undefined) {
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    }
  }

  /** Ends it, whatever is still on it. Never rejects. */
  async close(): Promise<void> {
    this.#cause ??= { code: undefined, reason: 'we closed the channel' };
    try {
      await this.#channel.close();
    } catch {
      // It has ended already.
    }
  }

  #said(error: unknown, returned: string | undefined): Said {
    if (error === null || error === undefined) {
      return returned === undefined ? { kind: 'confirmed' } : { kind: 'returned', reason: returned };
    }
    if (this.#end !== undefined) return { kind: 'lost', end: this.#end };
    return { kind: 'refused', reason: messageOf(error) };
  }

  #returned(message: unknown): void {
    const { fields, properties } = message as {
      readonly fields: { readonly replyCode?: number; readonly replyText?: string };
      readonly properties: { readonly messageId?: string };
    };
    const state = this.#unconfirmed.get(properties.messageId ?? '');
    if (state !== undefined) state.returned = `${fields.replyCode} ${fields.replyText}`;
  }

  #count(routingKey: string, change: 1 | -1): void {
    const count = (this.#givenUp.get(routingKey) ?? 0) + change;
    if (count === 0) this.#givenUp.delete(routingKey);
    else this.#givenUp.set(routingKey, count);
  }

  #ended(): void {
    this.#end ??= this.#cause ?? { code: undefined, reason: 'the connection ended' };
    this.#goOn();
  }

  #goOn(): void {
    this.#isFull = false;
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const resolve of waiting) resolve();
  }
}

function endOf(error: unknown): ChannelEnd {
  const code = typeof error === 'object' && error !== null && 'code' in error ? error.code : undefined;
  return { code: typeof code === 'number' ? code : undefined, reason: messageOf(error) };
}
