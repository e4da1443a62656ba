/** `settle/consumer/platformatic-kafka`: consumes topics of Kafka as a member of a group, with `@platformatic/kafka`. */
import type { RunningConsumer } from '../incoming.ts';
import {
  asError,
  endedWithin,
  keepConsuming,
  type ReconnectOptions,
  type Session,
} from '../keep-consuming.ts';
import { abortGraceMs } from '../keyed-queue.ts';
import {
  type Assignment,
  checkKafkaOptions,
  type KafkaConsumerOptions,
  type KafkaGroup,
  type KafkaRecord,
  KafkaWork,
  type Partition,
} from './kafka-work.ts';

export type { KafkaConsumerOptions, KafkaRecord } from './kafka-work.ts';

type Bytes = Buffer | string;

/** The part of a Consumer of @platformatic/kafka that is used. */
export interface PlatformaticConsumer {
  readonly topics: { track(topic: string): unknown };
  joinGroup(): Promise<unknown>;
  leaveGroup(force: boolean): Promise<void>;
  close(force: boolean): Promise<void>;
  consume(options: {
    topics: string[];
    mode: 'manual';
    offsets: { topic: string; partition: number; offset: bigint }[];
    autocommit: false;
    maxWaitTime: number;
  }): Promise<PlatformaticStream>;
  commit(options: {
    offsets: { topic: string; partition: number; offset: bigint; leaderEpoch: number }[];
  }): Promise<void>;
  listCommittedOffsets(options: {
    topics: { topic: string; partitions: number[] }[];
  }): Promise<ReadonlyMap<string, readonly bigint[]>>;
  listOffsets(options: {
    topics: string[];
    timestamp: bigint;
  }): Promise<ReadonlyMap<string, readonly bigint[]>>;
  on(
    event: 'consumer:group:join',
    listener: (payload: {
      readonly assignments?: readonly { readonly topic: string; readonly partitions: readonly number[] }[];
    }) => void,
  ): unknown;
}

export interface PlatformaticStream extends AsyncIterable<PlatformaticMessage> {
  close(): Promise<void>;
}

export interface PlatformaticMessage {
  readonly topic: string;
  readonly partition: number;
  readonly offset: bigint;
  readonly key: Bytes | null | undefined;
  readonly value: Bytes | null | undefined;
  readonly headers: ReadonlyMap<Bytes, Bytes | null | undefined>;
}

export interface PlatformaticConsumerOptions extends KafkaConsumerOptions, ReconnectOptions {
  /**
   * Makes a Consumer of @platformatic/kafka of the group, with its classic protocol; called again whenever one has ended. It is
   * closed here.
   */
  readonly consumer: () => PlatformaticConsumer;
}

/** A poll that finds nothing lasts so long. */
const pollMs = 500;
/** Of a position without the epoch of its leader. */
const epochUnknown = -1;
const earliest = -2n;
const latest = -1n;

/**
 * Consumes topics as a member of a group: commits a position once the transactions of all messages before it have committed (or
 * their dead letters are kept), handles messages of one key one after the other, and takes part in rebalances. Reconnects.
 *
 * Messages come again after a crash and after a rebalance: the inbox knows them. However long one is handled, the member keeps
 * its partitions; while nothing can be handled, as when the database is down, messages wait where they are and are tried again.
 *
 * Throws `config_invalid` for limits that are none.
 */
export function consumePlatformaticKafka(options: PlatformaticConsumerOptions): RunningConsumer {
  checkKafkaOptions(options);
  return keepConsuming(() => PlatformaticSession.open(options), { ...options, opensOnce: false });
}

class PlatformaticSession implements Session {
  readonly over: Promise<Error>;
  readonly #topics: readonly string[];
  readonly #consumer: PlatformaticConsumer;
  readonly #work: KafkaWork;
  /** Of the assignment there is now: each has its own, so that nothing read before a rebalance is met after it. */
  #stream: PlatformaticStream | undefined;
  #isOver: (why: Error) => void = () => undefined;

  static async open(options: PlatformaticConsumerOptions): Promise<PlatformaticSession> {
    const session = new PlatformaticSession(options);
    try {
      for (const topic of options.topics) session.#consumer.topics.track(topic);
      await session.#consumer.joinGroup();
      return session;
    } catch (error) {
      await session.end(0);
      throw error;
    }
  }

  private constructor(options: PlatformaticConsumerOptions) {
    this.#topics = options.topics;
    this.#consumer = options.consumer();
    this.over = new Promise((resolve) => (this.#isOver = resolve));
    this.#work = new KafkaWork(options, groupOf(this.#consumer));
    this.#consumer.on('consumer:group:join', ({ assignments = [] }) => {
      const partitions = assignments.flatMap(({ topic, partitions: numbers }) =>
        numbers.map((partition): Partition => ({ topic, partition })),
      );
      void this.#consume(partitions);
    });
  }

  async end(timeoutMs: number): Promise<void> {
    await this.#work.end(timeoutMs);
    await this.#closeStream();
    await endedWithin(abortGraceMs, this.#consumer.leaveGroup(true));
    await endedWithin(abortGraceMs, this.#consumer.close(true));
  }

  async #consume(partitions: readonly Partition[]): Promise<void> {
    try {
      const assigned = this.#work.assign(partitions);
      await this.#closeStream();
      const assignment = await assigned;
      if (assignment === undefined || assignment.partitions.length === 0) return;
      const stream = await this.#open(assignment);
      if (assignment.isRevoked) return await stream.close();
      this.#stream = stream;
      await this.#read(stream, assignment);
    } catch (error) {
      this.#isOver(asError(error));
    }
  }

  #open({ partitions }: Assignment): Promise<PlatformaticStream> {
    return this.#consumer.consume({
      topics: [...this.#topics],
      mode: 'manual',
      offsets: partitions.map(({ topic, partition, next }) => ({ topic, partition, offset: next })),
      autocommit: false,
      maxWaitTime: pollMs,
    });
  }

  async #read(stream: PlatformaticStream, assignment: Assignment): Promise<void> {
    const partitions = new Map(assignment.partitions.map((own) => [`${own.topic}/${own.partition}`, own]));
    for await (const message of stream) {
      const progress = partitions.get(`${message.topic}/${message.partition}`);
      if (progress === undefined) continue;
      if (!(await this.#work.take(recordOf(message), progress))) return;
    }
    if (!assignment.isRevoked && !this.#work.isStopping) throw new Error('the stream of messages ended');
  }

  async #closeStream(): Promise<void> {
    const stream = this.#stream;
    this.#stream = undefined;
    if (stream !== undefined) await endedWithin(pollMs + abortGraceMs, stream.close());
  }
}

function groupOf(consumer: PlatformaticConsumer): KafkaGroup {
  return {
    async committed(topic, partitions) {
      const found = await consumer.listCommittedOffsets({ topics: [{ topic, partitions: [...partitions] }] });
      const offsets = found.get(topic) ?? [];
      return new Map(
        partitions.flatMap((partition) => {
          const offset = offsets[partition] ?? -1n;
          return offset < 0n ? [] : [[partition, offset] as const];
        }),
      );
    },
    async ends(topic) {
      const [firsts, ends] = await Promise.all([
        consumer.listOffsets({ topics: [topic], timestamp: earliest }),
        consumer.listOffsets({ topics: [topic], timestamp: latest }),
      ]);
      const end = ends.get(topic) ?? [];
      return new Map(
        (firsts.get(topic) ?? []).map((first, partition) => [
          partition,
          { first, end: end[partition] ?? first },
        ]),
      );
    },
    commit: (positions) =>
      consumer.commit({
        offsets: positions.map(({ topic, partition, position }) => ({
          topic,
          partition,
          offset: position,
          leaderEpoch: epochUnknown,
        })),
      }),
  };
}

function recordOf({ topic, partition, offset, key, value, headers }: PlatformaticMessage): KafkaRecord {
  const texts: Record<string, string> = {};
  for (const [name, text] of headers) texts[name.toString().toLowerCase()] = text?.toString() ?? '';
  return { topic, partition, offset, key: key?.toString(), value: value?.toString() ?? '', headers: texts };
}
