/** `settle/relay/platformatic-kafka`: publishes to Kafka through a `Producer` of `@platformatic/kafka`. */
import { messageOf } from '../../util/errors.ts';
import type { Publisher } from '../publisher.ts';
import { kafkaBatches, type KafkaPublisherOptions } from './kafka-batches.ts';
import { failureOfCode, failureOfConnection, type KafkaFailure } from './kafka-errors.ts';

export type { KafkaPublisherOptions } from './kafka-batches.ts';

/** The part of a Producer of @platformatic/kafka that is used; one without serializers, which takes buffers. */
export interface PlatformaticProducer {
  send(options: { acks: number; messages: PlatformaticRecord[] }): Promise<unknown>;
  getSendTopicPartitions(options: { messages: PlatformaticRecord[] }): Map<string, Set<number>>;
  metadata(options: {
    topics: string[];
  }): Promise<{ readonly topics: ReadonlyMap<string, { readonly partitionsCount: number }> }>;
}

interface PlatformaticRecord {
  topic: string;
  key?: Buffer;
  value: Buffer;
  headers: Map<Buffer, Buffer>;
  partition?: number;
}

/**
 * A publisher over a Producer of @platformatic/kafka, which stays the caller's. `order` is `stops-at-failure`: the messages
 * of a key are in one record batch, which Kafka keeps wholly or not at all.
 *
 * `published` means that all replicas in sync have the message (`acks` -1): how many those are at least is
 * `min.insync.replicas` of the topic. A message may be there twice after an outcome that was unknown, and after a restart;
 * with a producer that is `idempotent` not for a connection that broke meanwhile.
 */
export function platformaticKafkaPublisher(
  options: KafkaPublisherOptions & { readonly producer: PlatformaticProducer },
): Publisher {
  const { producer } = options;
  // The producer tells the partition of a keyed message at any time, of others only this once.
  let turn = 0;
  return kafkaBatches<PlatformaticRecord>(
    {
      record: ({ address, key }, headers, value) => ({
        topic: address,
        value,
        headers: buffersOf(headers),
        ...(key === undefined ? { partition: turn++ % 2 ** 30 } : { key: Buffer.from(key) }),
      }),
      send: (_topic, messages) => producer.send({ acks: -1, messages: [...messages] }),
      failuresOf: (error, topic, messages) => failuresOf(error, { producer, topic, messages }),
    },
    options,
  );
}

interface Failed {
  readonly producer: PlatformaticProducer;
  readonly topic: string;
  readonly messages: readonly PlatformaticRecord[];
}

/** Each partition has an answer of its own, where its broker gave one. */
async function failuresOf(
  error: unknown,
  { producer, topic, messages }: Failed,
): Promise<readonly (KafkaFailure | undefined)[]> {
  const leaves = leavesOf(error);
  const other = leaves.find((leaf) => !('apiCode' in leaf) || !('path' in leaf));
  const general = failureOf(other ?? leaves.at(-1) ?? error);
  const answers = answersOf(error, topic, leaves);
  if (answers.size === 0) return messages.map(() => general);
  const count = await partitionCount(producer, topic);
  if (count === undefined) return messages.map(() => general);
  return messages.map((message) => {
    const [number] = producer.getSendTopicPartitions({ messages: [message] }).get(topic) ?? [];
    const answer = number === undefined ? undefined : answers.get(number % count);
    if (answer === undefined) return general;
    return answer.kind === 'kept' ? undefined : answer.failure;
  });
}

type Answer = { readonly kind: 'kept' } | { readonly kind: 'refused'; readonly failure: KafkaFailure };

/** By partition, what the brokers said of this topic. */
function answersOf(error: unknown, topic: string, leaves: readonly object[]): Map<number, Answer> {
  const answers = new Map<number, Answer>();
  for (const { responses } of responsesOf(error)) {
    for (const { name, partitionResponses } of responses) {
      if (name !== topic) continue;
      for (const { index, errorCode } of partitionResponses) {
        if (errorCode === 0) answers.set(index, { kind: 'kept' });
        else
          answers.set(index, {
            kind: 'refused',
            failure: failureOfCode(errorCode, reasonOf(errorCode, leaves)),
          });
      }
    }
  }
  const kept = isProduced(error) ? (error.produced.offsets ?? []) : [];
  for (const { topic: name, partition } of kept) if (name === topic) answers.set(partition, { kind: 'kept' });
  return answers;
}

function reasonOf(errorCode: number, leaves: readonly object[]): string {
  const leaf = leaves.find((error) => 'apiCode' in error && error.apiCode === errorCode);
  return leaf === undefined ? 'Kafka refused the messages' : messageOf(leaf);
}

async function partitionCount(producer: PlatformaticProducer, topic: string): Promise<number | undefined> {
  try {
    const { topics } = await producer.metadata({ topics: [topic] });
    return topics.get(topic)?.partitionsCount;
  } catch {
    // Then the failure stands for all: some may be published again.
    return undefined;
  }
}

function failureOf(error: unknown): KafkaFailure {
  const reason = messageOf(error);
  if (typeof error !== 'object' || error === null || !('code' in error)) return { kind: 'unknown', reason };
  if ('apiCode' in error && typeof error.apiCode === 'number') return failureOfCode(error.apiCode, reason);
  switch (error.code) {
    case 'PLT_KFK_AUTHENTICATION':
      return { kind: 'unavailable', reason };
    case 'PLT_KFK_USER':
      if (reason.startsWith('Unknown topic')) return { kind: 'retriable', reason };
      return { kind: 'unknown', reason };
    case 'PLT_KFK_NETWORK': {
      const cause = 'cause' in error ? error.cause : undefined;
      if (/^(Connection to .* timed out|Client is closed|Cannot get a connection)/.test(reason)) {
        return { kind: 'unavailable', reason };
      }
      return failureOfConnection(systemCodeOf(cause), reason);
    }
    default:
      return { kind: 'unknown', reason };
  }
}

function systemCodeOf(cause: unknown): unknown {
  return typeof cause === 'object' && cause !== null && 'code' in cause ? cause.code : undefined;
}

/** The errors that the client put together: of several attempts the last, of several brokers all. */
function leavesOf(error: unknown): readonly object[] {
  if (typeof error !== 'object' || error === null) return [];
  if (!('errors' in error) || !Array.isArray(error.errors)) return [error];
  const errors: readonly unknown[] = error.errors;
  const isOfAttempts = / failed \d+ times\.$/.test(messageOf(error));
  return (isOfAttempts ? errors.slice(-1) : errors).flatMap(leavesOf);
}

interface ProduceResponse {
  readonly responses: readonly {
    readonly name: string;
    readonly partitionResponses: readonly { readonly index: number; readonly errorCode: number }[];
  }[];
}

/** The answers to requests that stand in the error: of several attempts the last, of several brokers all. */
function responsesOf(error: unknown): readonly ProduceResponse[] {
  if (typeof error !== 'object' || error === null) return [];
  if ('response' in error && isProduceResponse(error.response)) return [error.response];
  if (!('errors' in error) || !Array.isArray(error.errors)) return [];
  const errors: readonly unknown[] = error.errors;
  const isOfAttempts = / failed \d+ times\.$/.test(messageOf(error));
  return (isOfAttempts ? errors.slice(-1) : errors).flatMap(responsesOf);
}

function isProduceResponse(value: unknown): value is ProduceResponse {
  return (
    typeof value === 'object' && value !== null && 'responses' in value && Array.isArray(value.responses)
  );
}

interface Produced {
  readonly produced: {
    readonly offsets?: readonly { readonly topic: string; readonly partition: number }[];
  };
}

function isProduced(error: unknown): error is Produced {
  return (
    typeof error === 'object' && error !== null && 'produced' in error && typeof error.produced === 'object'
  );
}

/** Names of headers come again and again. */
const names = new Map<string, Buffer>();
const namesMax = 1_000;

function buffersOf(headers: Readonly<Record<string, string>>): Map<Buffer, Buffer> {
  const buffers = new Map<Buffer, Buffer>();
  for (const [name, value] of Object.entries(headers)) buffers.set(nameOf(name), Buffer.from(value));
  return buffers;
}

function nameOf(name: string): Buffer {
  const known = names.get(name);
  if (known !== undefined) return known;
  const made = Buffer.from(name);
  if (names.size < namesMax) names.set(name, made);
  return made;
}
