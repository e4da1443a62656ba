/** The parts of kafkajs that the consumer uses. */

export interface KafkaJs {
  consumer(config: {
    groupId: string;
    sessionTimeout: number;
    heartbeatInterval: number;
    maxWaitTimeInMs: number;
  }): KafkaJsConsumer;
  admin(): KafkaJsAdmin;
}

export interface KafkaJsConsumer {
  connect(): Promise<void>;
  disconnect(): Promise<void>;
  subscribe(subscription: { topics: string[]; fromBeginning: boolean }): Promise<void>;
  run(config: {
    autoCommit: boolean;
    eachBatchAutoResolve: boolean;
    eachBatch: (given: KafkaJsEachBatch) => Promise<void>;
  }): Promise<void>;
  seek(to: { topic: string; partition: number; offset: string }): void;
  commitOffsets(offsets: { topic: string; partition: number; offset: string }[]): Promise<void>;
  on(
    event: 'consumer.group_join',
    listener: (event: {
      readonly payload: { readonly memberAssignment: Readonly<Record<string, number[]>> };
    }) => void,
  ): unknown;
  on(
    event: 'consumer.crash',
    listener: (event: { readonly payload: { readonly error: Error; readonly restart: boolean } }) => void,
  ): unknown;
}

export interface KafkaJsAdmin {
  connect(): Promise<void>;
  disconnect(): Promise<void>;
  fetchOffsets(query: {
    groupId: string;
    topics: string[];
  }): Promise<
    readonly { readonly partitions: readonly { readonly partition: number; readonly offset: string }[] }[]
  >;
  fetchTopicOffsets(
    topic: string,
  ): Promise<readonly { readonly partition: number; readonly low: string; readonly high: string }[]>;
}

export interface KafkaJsEachBatch {
  readonly batch: KafkaJsBatch;
  readonly resolveOffset: (offset: string) => void;
  readonly heartbeat: () => Promise<void>;
}

export interface KafkaJsBatch {
  readonly topic: string;
  readonly partition: number;
  /** Where the request for it began; kafkajs has it, and does not declare it. */
  readonly fetchedOffset?: string;
  readonly messages: readonly {
    readonly offset: string;
    readonly key: Buffer | null;
    readonly value: Buffer | null;
    readonly headers?: Readonly<Record<string, Buffer | string | (Buffer | string)[] | undefined>>;
  }[];
  lastOffset(): string;
}
