/**
 * What consumers of Kafka share, whatever the client: messages at work, positions, and what of them is committed.
 *
 * - W1 A position is committed when everything before it is handled or kept as a dead letter; never before.
 * - W2 A partition that was revoked is not committed any more, and nothing of it begins. What is at work goes on: whoever has the
 *      partition now meets its messages again, and the inbox knows them.
 * - W3 A message that could not be handled is tried again where it is, after a pause, since Kafka takes nothing back. Those
 *      behind it with its key wait; its partition's position stays before it.
 */
import { headerStyles } from '../../outbox/broker-headers.ts';
import { messageOf } from '../../util/errors.ts';
import type { HandleMessage, IncomingMessage } from '../incoming.ts';
import { concurrencyDefault, KeyedQueue } from '../keyed-queue.ts';
import { logRef, type StoredPositions } from '../offsets.ts';
import { type Identity, readIncoming } from '../read-incoming.ts';
import { PartitionProgress } from './kafka-progress.ts';
import { untilHandled } from './until-handled.ts';

export interface KafkaConsumerOptions {
  readonly topics: readonly string[];
  /** What `createConsumer` of `settle/consumer` gives. */
  readonly handle: HandleMessage;
  /** Messages handled at a time. Default: 16. */
  readonly concurrency?: number;
  /** Where a group begins that has committed nothing yet. Default: `earliest`. */
  readonly from?: 'earliest' | 'latest';
  /**
   * Positions that the transactions of the work store, which the consumer goes by in place of those committed to Kafka. The
   * messages of a partition are then handled one after the other. Default: none.
   */
  readonly positions?: { readonly stored: StoredPositions; readonly consumer: string };
  /** Milliseconds between two commits of positions, so many messages come again at most after a crash. Default: 200. */
  readonly commitEveryMs?: number;
  /** Who a message of somebody else is: what this gives goes before what the message says itself. Default: nothing. */
  readonly identify?: (record: KafkaRecord) => Partial<Identity>;
  /** Told of what mends itself: a commit that failed, a message that is tried again. Default: `console.error`. */
  readonly onTrouble?: (error: Error) => void;
}

/** A message as a client gave it. */
export interface KafkaRecord {
  readonly topic: string;
  readonly partition: number;
  readonly offset: bigint;
  readonly key: string | undefined;
  /** `''` for a tombstone. */
  readonly value: string;
  /** Names in lower case. */
  readonly headers: Readonly<Record<string, string>>;
}

export interface Partition {
  readonly topic: string;
  readonly partition: number;
}

export interface PartitionPosition extends Partition {
  readonly position: bigint;
}

/** What the work needs of a client. */
export interface KafkaGroup {
  /** By partition of the topic, what the group has committed. */
  committed(topic: string, partitions: readonly number[]): Promise<ReadonlyMap<number, bigint>>;
  /** Of every partition of the topic, the first offset that is there and the one after the last. */
  ends(topic: string): Promise<ReadonlyMap<number, { readonly first: bigint; readonly end: bigint }>>;
  commit(positions: readonly PartitionPosition[]): Promise<void>;
}

/** The partitions that the member has, from one rebalance to the next. */
export interface Assignment {
  readonly partitions: readonly PartitionProgress[];
  readonly isRevoked: boolean;
}

interface Item {
  readonly message: IncomingMessage;
  readonly offset: bigint;
  readonly progress: PartitionProgress;
}

const commitEveryMsDefault = 200;

export class KafkaWork {
  readonly #options: KafkaConsumerOptions;
  readonly #group: KafkaGroup;
  readonly #queue: KeyedQueue<Item>;
  readonly #stopping = new AbortController();
  readonly #committer: Committer;
  #assignment: Current = { partitions: [], isRevoked: true };
  /** How far the work came in partitions of the last assignment: true whatever became of them since. */
  #reached = new Map<string, bigint>();

  constructor(options: KafkaConsumerOptions, group: KafkaGroup) {
    const { concurrency = concurrencyDefault, positions } = options;
    this.#options = options;
    this.#group = group;
    this.#queue = new KeyedQueue<Item>({
      concurrency,
      // A position that is stored has none before it that is not done.
      keyOf: ({ message, progress }) => (positions === undefined ? message.key : nameOf(progress)),
      run: (item, signal) => this.#handle(item, signal),
    });
    this.#committer = new Committer({
      everyMs: options.commitEveryMs ?? commitEveryMsDefault,
      positions: () => this.#assignment.partitions,
      commit: (positions) => group.commit(positions),
      failed: (error) => this.#tell(error),
    });
  }

  get assignment(): Assignment {
    return this.#assignment;
  }

  get hasRoom(): boolean {
    return this.#queue.free > 0;
  }

  get isStopping(): boolean {
    return this.#stopping.signal.aborted;
  }

  /** The member has other partitions from now on: nothing of the earlier ones is begun or committed any more (W2). */
  revoke(): void {
    const { partitions } = this.#assignment;
    if (partitions.length > 0) this.#reached = new Map(partitions.map((own) => [nameOf(own), own.position]));
    for (const progress of partitions) progress.revoke();
    this.#assignment.isRevoked = true;
    this.#assignment = { partitions: [], isRevoked: true };
    this.#queue.withdraw(({ progress }) => progress.isRevoked);
  }

  /**
   * Reads where to begin, and makes these the partitions of the member. Nothing, if it was told of others meanwhile.
   */
  async assign(partitions: readonly Partition[]): Promise<Assignment | undefined> {
    this.revoke();
    const before = this.#assignment;
    const progress = await this.#begin(partitions);
    if (this.#assignment !== before || this.isStopping) return undefined;
    const assignment: Current = { partitions: progress, isRevoked: false };
    this.#assignment = assignment;
    return assignment;
  }

  /** Resolves when the message waits for its turn; with false when it is not wanted any more. */
  async take(record: KafkaRecord, progress: PartitionProgress): Promise<boolean> {
    while (this.#queue.free < 1) if ((await this.#queue.room()) === 0) return false;
    if (progress.isRevoked || this.isStopping) return false;
    if (progress.take(record.offset)) {
      this.#queue.push({ message: this.#incoming(record), offset: record.offset, progress });
    }
    return true;
  }

  /** Takes no more, waits so long for what is at work, and commits it. */
  async end(timeoutMs: number): Promise<void> {
    this.#stopping.abort();
    await this.#queue.drain(timeoutMs);
    await this.#committer.end();
    this.revoke();
  }

  async #begin(partitions: readonly Partition[]): Promise<readonly PartitionProgress[]> {
    const { positions, from = 'earliest' } = this.#options;
    const topics = Map.groupBy(partitions, ({ topic }) => topic);
    const begun = await Promise.all(
      Array.from(topics, async ([topic, own]) => {
        const numbers = own.map(({ partition }) => partition);
        const [ends, committed, stored] = await Promise.all([
          this.#group.ends(topic),
          this.#group.committed(topic, numbers),
          positions?.stored.read(positions.consumer, topic),
        ]);
        return numbers.map((partition) => {
          const { first, end } = ends.get(partition) ?? { first: 0n, end: 0n };
          const known = stored?.get(partition) ?? committed.get(partition);
          const start = known ?? (from === 'earliest' ? first : end);
          const reached = this.#reached.get(nameOf({ topic, partition })) ?? 0n;
          // What the topic has let go by its retention nobody can have any more.
          return new PartitionProgress(topic, partition, max(start, reached, first));
        });
      }),
    );
    return begun.flat();
  }

  /** W3 */
  async #handle({ message, offset, progress }: Item, signal: AbortSignal): Promise<void> {
    const isHandled = await untilHandled(this.#options.handle, message, {
      signal,
      stopping: this.#stopping.signal,
      isWanted: () => !progress.isRevoked,
      tell: (error) => this.#tell(error),
    });
    if (!isHandled) return;
    progress.done(offset);
    this.#committer.wake();
  }

  #incoming(record: KafkaRecord): IncomingMessage {
    const { topic, partition, offset, key, value, headers } = record;
    const ref = logRef(topic, partition, offset);
    const raw = { payload: value, headers, own: { key }, source: topic, ref };
    return readIncoming(headerStyles.kafka, raw, {
      told: this.#options.identify?.(record) ?? {},
      fallbackId: () => `kafka:${ref}`,
    });
  }

  #tell(error: Error): void {
    const { onTrouble = (trouble: Error) => console.error('settle: a consumer of Kafka:', trouble) } =
      this.#options;
    onTrouble(error);
  }
}

/** Limits that are none are found out before anything is connected: throws `config_invalid`. */
export function checkKafkaOptions(options: KafkaConsumerOptions): void {
  void new KafkaWork(options, nowhere);
}

const nowhere: KafkaGroup = {
  committed: async () => new Map(),
  ends: async () => new Map(),
  commit: async () => undefined,
};

interface Current extends Assignment {
  isRevoked: boolean;
}

interface CommitterPorts {
  readonly everyMs: number;
  readonly positions: () => readonly PartitionProgress[];
  readonly commit: (positions: readonly PartitionPosition[]) => Promise<void>;
  readonly failed: (error: Error) => void;
}

/** Commits what has changed, one request at a time, and not more often than it is told to. */
class Committer {
  readonly #ports: CommitterPorts;
  readonly #committed = new WeakMap<PartitionProgress, bigint>();
  #timer: NodeJS.Timeout | undefined;
  #running: Promise<void> = Promise.resolve();

  constructor(ports: CommitterPorts) {
    this.#ports = ports;
  }

  wake(): void {
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined;
      this.#running = this.#running.then(() => this.#commit());
    }, this.#ports.everyMs);
  }

  /** Commits what is left. */
  async end(): Promise<void> {
    clearTimeout(this.#timer);
    await this.#running;
    await this.#commit();
  }

  async #commit(): Promise<void> {
    const changed = this.#ports
      .positions()
      .filter((progress) => !progress.isRevoked && this.#committed.get(progress) !== progress.position);
    if (changed.length === 0) return;
    const positions = changed.map(({ topic, partition, position }) => ({ topic, partition, position }));
    try {
      await this.#ports.commit(positions);
      changed.forEach((progress, place) => this.#committed.set(progress, positions[place]?.position ?? 0n));
    } catch (error) {
      // The next commit says it too; without one the messages come again.
      this.#ports.failed(
        new Error(`positions could not be committed: ${messageOf(error)}`, { cause: error }),
      );
    }
  }
}

function nameOf({ topic, partition }: Partition): string {
  return `${topic}/${partition}`;
}

function max(...offsets: readonly bigint[]): bigint {
  return offsets.reduce((most, offset) => (offset > most ? offset : most));
}
