/** The part of a client of RabbitMQ that consuming needs; amqplib has it. */

export interface RabbitConsumingConnection {
  createChannel(): Promise<RabbitChannel>;
  /** `close`, `error`. */
  on(event: string, listener: (detail: unknown) => void): unknown;
  close(): Promise<void>;
}

export interface RabbitChannel {
  prefetch(count: number): Promise<unknown>;
  /** `onMessage` gets null when the broker ends it, as it does when the queue is deleted. */
  consume(
    queue: string,
    onMessage: (delivery: RabbitDelivery | null) => void,
    options?: { readonly consumerTag?: string; readonly priority?: number },
  ): Promise<{ readonly consumerTag: string }>;
  cancel(consumerTag: string): Promise<unknown>;
  ack(delivery: RabbitDelivery): void;
  /** `close`, `error`. */
  on(event: string, listener: (detail: unknown) => void): unknown;
  close(): Promise<void>;
}

export interface RabbitDelivery {
  readonly fields: {
    readonly deliveryTag: number;
    readonly redelivered: boolean;
    readonly exchange: string;
    readonly routingKey: string;
    readonly consumerTag?: string;
  };
  readonly properties: {
    readonly messageId?: unknown;
    readonly type?: unknown;
    readonly contentType?: unknown;
    readonly correlationId?: unknown;
    readonly headers?: Readonly<Record<string, unknown>> | undefined;
  };
  readonly content: Buffer;
}
