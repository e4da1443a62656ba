/** The part of a client of RabbitMQ that publishing needs; amqplib has it. */

export interface RabbitConnection {
  createConfirmChannel(): Promise<RabbitConfirmChannel>;
  /** `blocked`, `unblocked`, `close`, `error`. */
  on(event: string, listener: (detail: unknown) => void): unknown;
  close(): Promise<void>;
}

export interface RabbitConfirmChannel {
  /**
   * Returns false when its buffer is full; then `drain` comes. `confirmed` is called with an error for what the broker did not
   * take, or when the channel ends. Throws when it has ended already, or for what it cannot encode.
   */
  publish(
    exchange: string,
    routingKey: string,
    content: Buffer,
    properties: RabbitProperties,
    confirmed: (error: unknown) => void,
  ): boolean;
  /** `return`, `drain`, `close`, `error`. */
  on(event: string, listener: (detail: unknown) => void): unknown;
  close(): Promise<void>;
}

export interface RabbitProperties {
  readonly mandatory: true;
  readonly persistent: true;
  readonly messageId: string;
  readonly type: string;
  readonly contentType: string;
  /** Seconds since 1970. */
  readonly timestamp: number;
  readonly correlationId?: string;
  readonly headers: Readonly<Record<string, string>>;
}
