/**
 * A member of the group: the real consumer, queue and progress of `settle/consumer`, over a broker and an inbox of the world.
 */
import { PartitionProgress } from '../../../lib/src/consumer/consumers/kafka-progress.ts';
import { createConsumer, type ConsumerInbox } from '../../../lib/src/consumer/consumer.ts';
import { KeyedQueue } from '../../../lib/src/consumer/keyed-queue.ts';
import type { Clock } from '../../../lib/src/local/clock.ts';
import type { Process } from '../world/process.ts';
import type { Rng } from '../world/random.ts';
import type { Broker, LogRecord, Membership } from './broker.ts';

const pollMs = 20;
const commitMs = 100;

/** Runs until its process dies. */
export function startConsumer(
  process: Process,
  broker: Broker,
  inbox: ConsumerInbox<string>,
  random: Rng,
): void {
  const clock: Clock = {
    now: () => process.clock.monotonicMs(),
    schedule: (delayMs, callback) => process.clock.schedule(delayMs, callback),
    turn: () => new Promise((resolve) => process.clock.afterTurn(resolve)),
  };
  const consumer = createConsumer<string>({
    name: 'group',
    inbox,
    clock,
    random: () => random.next(),
    retry: { attemptsMax: 100, baseMs: 5, maxMs: 50 },
    handle: () => Promise.resolve(),
  });
  let membership: Membership = { generation: -1, partitions: [] };
  let progress = new Map<number, PartitionProgress>();

  const queue = new KeyedQueue<{ readonly record: LogRecord; readonly of: PartitionProgress }>({
    clock,
    concurrency: 4,
    keyOf: ({ record }) => record.key,
    async run({ record, of }, signal) {
      const { id, type, version, key, payload, headers, contentType } = record.message;
      const source = `orders/${record.partition}`;
      const ref = `${source}@${record.offset}`;
      const message = { id, type, version, key, payload, headers, contentType, source, ref };
      // What could not be handled is tried again where it is: those behind it with its key wait.
      while (!of.isRevoked && (await consumer.handle(message, signal)).kind === 'not-handled')
        await pause(pollMs);
      if (!of.isRevoked) of.done(record.offset);
    },
  });

  function pause(ms: number): Promise<void> {
    return new Promise((resolve) => void process.clock.schedule(ms, resolve));
  }

  async function follow(): Promise<void> {
    const next = await broker.membership(process);
    if (next.generation === membership.generation) return;
    for (const one of progress.values()) one.revoke();
    queue.withdraw(({ of }) => of.isRevoked);
    const begun = new Map<number, PartitionProgress>();
    for (const partition of next.partitions) {
      begun.set(
        partition,
        new PartitionProgress('orders', partition, await broker.position(process, partition)),
      );
    }
    progress = begun;
    membership = next;
  }

  async function fetch(): Promise<void> {
    for (const [partition, of] of progress) {
      if (queue.free < 10) return;
      for (const record of await broker.fetch(process, partition, of.next)) {
        if (!of.isRevoked && of.take(record.offset)) queue.push({ record, of });
      }
    }
  }

  async function commit(): Promise<void> {
    for (const [partition, of] of progress) {
      if (!of.isRevoked) await broker.commit(process, membership.generation, partition, of.position);
    }
  }

  async function every(ms: number, work: () => Promise<void>): Promise<never> {
    for (;;) {
      await work().catch(() => undefined);
      await pause(ms);
    }
  }

  void every(pollMs, async () => {
    await follow();
    await fetch();
  });
  void every(commitMs, commit);
}
