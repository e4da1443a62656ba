/** `settle/consumer/kafka`: consumes topics of Kafka as a member of a group, with `kafkajs`. */
import type { RunningConsumer } from '../incoming.ts';
import {
  asError,
  endedWithin,
  keepConsuming,
  type ReconnectOptions,
  type Session,
} from '../keep-consuming.ts';
import { abortGraceMs } from '../keyed-queue.ts';
import type {
  KafkaJs,
  KafkaJsAdmin,
  KafkaJsBatch,
  KafkaJsConsumer,
  KafkaJsEachBatch,
} from './kafka-client.ts';
import type { PartitionProgress } from './kafka-progress.ts';
import {
  type Assignment,
  checkKafkaOptions,
  type KafkaConsumerOptions,
  type KafkaGroup,
  type KafkaRecord,
  KafkaWork,
  type Partition,
} from './kafka-work.ts';

export type { KafkaJs, KafkaJsAdmin, KafkaJsConsumer } from './kafka-client.ts';
export type { KafkaConsumerOptions, KafkaRecord } from './kafka-work.ts';

export interface KafkaJsConsumerOptions extends KafkaConsumerOptions, ReconnectOptions {
  /** `new Kafka(...)` of kafkajs. Consumers and an admin client are made with it, and ended again. */
  readonly kafka: KafkaJs;
  readonly groupId: string;
  /** Milliseconds without a heartbeat after which the group gives the partitions to others. Default: 30,000. */
  readonly sessionTimeoutMs?: number;
}

const sessionTimeoutMsDefault = 30_000;
/** A poll that finds nothing lasts so long; also how long it takes to stop. */
const pollMs = 500;
/** kafkajs sends one less often: with every third part of a session. */
const heartbeatMs = 500;
/** A first batch that begins elsewhere than asked is asked for again so often: it may be left over from before a rebalance. */
const strayBatchesMax = 3;

/**
 * Consumes topics as a member of a group: commits a position once the transactions of all messages before it have committed (or
 * their dead letters are kept), handles messages of one key one after the other, and takes part in rebalances. Reconnects.
 *
 * Messages come again after a crash and after a rebalance: the inbox knows them. However long one is handled, the member keeps
 * its partitions; while nothing can be handled, as when the database is down, messages wait where they are and are tried again.
 *
 * Throws `config_invalid` for limits that are none.
 */
export function consumeKafka(options: KafkaJsConsumerOptions): RunningConsumer {
  checkKafkaOptions(options);
  return keepConsuming(() => KafkaJsSession.open(options), { ...options, opensOnce: false });
}

class KafkaJsSession implements Session {
  readonly over: Promise<Error>;
  readonly #consumer: KafkaJsConsumer;
  readonly #admin: KafkaJsAdmin;
  readonly #work: KafkaWork;
  readonly #drained = Promise.withResolvers<void>();
  /** Whose first batch has come. */
  readonly #begun = new WeakSet<PartitionProgress>();
  readonly #strays = new WeakMap<PartitionProgress, number>();
  #assigned: Promise<Assignment | undefined> = Promise.resolve(undefined);
  #isOver: (why: Error) => void = () => undefined;

  static async open(options: KafkaJsConsumerOptions): Promise<KafkaJsSession> {
    const { kafka, groupId, topics, from = 'earliest', sessionTimeoutMs = sessionTimeoutMsDefault } = options;
    const admin = kafka.admin();
    const consumer = kafka.consumer({
      groupId,
      sessionTimeout: sessionTimeoutMs,
      heartbeatInterval: Math.floor(sessionTimeoutMs / 10),
      maxWaitTimeInMs: pollMs,
    });
    const session = new KafkaJsSession(options, consumer, admin);
    try {
      await Promise.all([admin.connect(), consumer.connect()]);
      await consumer.subscribe({ topics: [...topics], fromBeginning: from === 'earliest' });
      await consumer.run({
        autoCommit: false,
        eachBatchAutoResolve: false,
        eachBatch: (given) => session.#take(given),
      });
      return session;
    } catch (error) {
      await session.end(0);
      throw error;
    }
  }

  private constructor(options: KafkaJsConsumerOptions, consumer: KafkaJsConsumer, admin: KafkaJsAdmin) {
    this.#consumer = consumer;
    this.#admin = admin;
    this.over = new Promise((resolve) => (this.#isOver = resolve));
    this.#work = new KafkaWork(options, groupOf(options.groupId, consumer, admin));
    consumer.on('consumer.group_join', ({ payload }) => {
      const partitions = Object.entries(payload.memberAssignment).flatMap(([topic, numbers]) =>
        numbers.map((partition): Partition => ({ topic, partition })),
      );
      this.#assigned = this.#assign(partitions);
    });
    consumer.on('consumer.crash', ({ payload }) => {
      this.#work.revoke();
      if (!payload.restart) this.#isOver(payload.error);
    });
  }

  async end(timeoutMs: number): Promise<void> {
    await this.#work.end(timeoutMs);
    this.#drained.resolve();
    await endedWithin(pollMs + abortGraceMs, this.#consumer.disconnect());
    await endedWithin(abortGraceMs, this.#admin.disconnect());
  }

  async #assign(partitions: readonly Partition[]): Promise<Assignment | undefined> {
    try {
      const assignment = await this.#work.assign(partitions);
      for (const progress of assignment?.partitions ?? []) this.#seek(progress);
      return assignment;
    } catch (error) {
      this.#isOver(asError(error));
      return undefined;
    }
  }

  /** While it waits, the member lives. Throws what tells kafkajs of a rebalance. */
  async #take({ batch, heartbeat, resolveOffset }: KafkaJsEachBatch): Promise<void> {
    const assignment = await beating(this.#assigned, heartbeat);
    const progress = assignment?.partitions.find(
      ({ topic, partition }) => topic === batch.topic && partition === batch.partition,
    );
    if (progress === undefined || progress.isRevoked || !this.#continues(progress, batch)) return;
    for (const message of batch.messages) {
      const taking = this.#work.take(recordOf(batch, message), progress);
      const isTaken = await (this.#work.hasRoom ? taking : beating(taking, heartbeat));
      // It would come again at once.
      if (this.#work.isStopping) return await beating(this.#drained.promise, heartbeat);
      if (!isTaken) return;
    }
    progress.skipTo(BigInt(batch.lastOffset()) + 1n);
    resolveOffset(batch.lastOffset());
  }

  #continues(progress: PartitionProgress, { fetchedOffset }: KafkaJsBatch): boolean {
    if (this.#begun.has(progress)) return true;
    const strays = this.#strays.get(progress) ?? 0;
    if (fetchedOffset !== undefined && BigInt(fetchedOffset) !== progress.next && strays < strayBatchesMax) {
      this.#strays.set(progress, strays + 1);
      this.#seek(progress);
      return false;
    }
    this.#begun.add(progress);
    return true;
  }

  #seek({ topic, partition, next }: PartitionProgress): void {
    this.#consumer.seek({ topic, partition, offset: String(next) });
  }
}

function groupOf(groupId: string, consumer: KafkaJsConsumer, admin: KafkaJsAdmin): KafkaGroup {
  return {
    async committed(topic, partitions) {
      const [found] = await admin.fetchOffsets({ groupId, topics: [topic] });
      const known = (found?.partitions ?? [])
        .map(({ partition, offset }) => [partition, BigInt(offset)] as const)
        .filter(([partition, offset]) => offset >= 0n && partitions.includes(partition));
      return new Map(known);
    },
    async ends(topic) {
      const ends = await admin.fetchTopicOffsets(topic);
      return new Map(
        ends.map(({ partition, low, high }) => [partition, { first: BigInt(low), end: BigInt(high) }]),
      );
    },
    commit: (positions) =>
      consumer.commitOffsets(
        positions.map(({ topic, partition, position }) => ({ topic, partition, offset: String(position) })),
      ),
  };
}

/** Waits for the promise with a heartbeat now and then. */
async function beating<Value>(promise: Promise<Value>, heartbeat: () => Promise<void>): Promise<Value> {
  const waiting = Symbol('waiting');
  for (;;) {
    let timer: NodeJS.Timeout | undefined;
    const beat = new Promise<typeof waiting>((resolve) => {
      timer = setTimeout(() => resolve(waiting), heartbeatMs);
    });
    const value = await Promise.race([promise, beat]);
    clearTimeout(timer);
    if (value !== waiting) return value;
    await heartbeat();
  }
}

function recordOf(
  { topic, partition }: KafkaJsBatch,
  { offset, key, value, headers }: KafkaJsBatch['messages'][number],
): KafkaRecord {
  const texts: Record<string, string> = {};
  for (const [name, header] of Object.entries(headers ?? {})) {
    const text = Array.isArray(header) ? header.at(-1) : header;
    if (text !== undefined) texts[name.toLowerCase()] = text.toString();
  }
  return {
    topic,
    partition,
    offset: BigInt(offset),
    key: key?.toString(),
    value: value?.toString() ?? '',
    headers: texts,
  };
}
