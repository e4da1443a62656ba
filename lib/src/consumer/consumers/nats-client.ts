/** The parts of @nats-io/jetstream that the consumer uses. */

export interface JetStreamConsuming {
  readonly consumers: { get(stream: string, consumer: string): Promise<NatsPullConsumer> };
}

export interface NatsPullConsumer {
  info(): Promise<NatsConsumerInfo>;
  /** Times in milliseconds. */
  consume(options: { max_messages: number; expires: number; idle_heartbeat: number }): Promise<NatsMessages>;
}

export interface NatsConsumerInfo {
  readonly delivered: { readonly stream_seq: number };
  readonly ack_floor: { readonly stream_seq: number };
  readonly num_ack_pending: number;
  readonly config: {
    readonly ack_policy?: string;
    /** Nanoseconds. */
    readonly ack_wait?: number;
    readonly max_ack_pending?: number;
    /** Nanoseconds each. */
    readonly backoff?: readonly number[];
    readonly max_deliver?: number;
  };
}

export interface NatsMessages extends AsyncIterable<NatsMessage> {
  close(): Promise<unknown>;
}

export interface NatsMessage {
  /** In the stream. */
  readonly seq: number;
  readonly subject: string;
  readonly redelivered: boolean;
  readonly headers: { keys(): readonly string[]; get(name: string): string } | undefined;
  string(): string;
  ack(): void;
  /** True once the server has it. */
  ackAck(): Promise<boolean>;
  nak(): void;
  working(): void;
}
