/** `settle/relay/kafka`: publishes to Kafka through a producer of `kafkajs`. */
import { SettleError, messageOf } from '../../util/errors.ts';
import type { OutgoingMessage, Publisher } from '../publisher.ts';
import { kafkaBatches, type KafkaPublisherOptions } from './kafka-batches.ts';
import { failureOfCode, failureOfConnection, type KafkaFailure } from './kafka-errors.ts';

export type { KafkaPublisherOptions } from './kafka-batches.ts';

/** The part of a producer of kafkajs that is used. */
export interface KafkaJsProducer {
  send(record: KafkaJsRecord): Promise<unknown>;
  isIdempotent(): boolean;
}

interface KafkaJsRecord {
  topic: string;
  acks: number;
  messages: KafkaJsMessage[];
}

interface KafkaJsMessage {
  key: string | null;
  value: Buffer;
  headers: Record<string, string>;
}

/**
 * A publisher over a producer of kafkajs, which is connected and stays the caller's. `order` is `stops-at-failure`: the
 * messages of a key are in one record batch, which Kafka keeps wholly or not at all.
 *
 * `published` means that all replicas in sync have the message (`acks` -1): how many those are at least is
 * `min.insync.replicas` of the topic. A message may be there twice after an outcome that was unknown. kafkajs tells only the
 * first error of a request, so that a partition without a leader makes those of the other partitions be published again.
 *
 * Throws `config_invalid` for an idempotent producer: kafkajs takes sequence numbers of a failed request again for other
 * messages, which Kafka then takes for those it has, and confirms without keeping them.
 */
export function kafkaPublisher(
  options: KafkaPublisherOptions & { readonly producer: KafkaJsProducer },
): Publisher {
  const { producer } = options;
  if (producer.isIdempotent()) {
    throw new SettleError('config_invalid', 'an idempotent producer of kafkajs can lose messages', {
      next: 'Make the producer without `idempotent`: consumers recognise repeats by the id',
    });
  }
  return kafkaBatches(
    {
      record: ({ key }: OutgoingMessage, headers, value): KafkaJsMessage => ({
        key: key ?? null,
        value,
        headers: { ...headers },
      }),
      send: (topic, messages) => producer.send({ topic, acks: -1, messages: [...messages] }),
      failuresOf: async (error, _topic, messages) => {
        const failure = failureOf(error);
        return messages.map(() => failure);
      },
    },
    options,
  );
}

/** What kafkajs knew before it wrapped it: the last of its own retries. */
function failureOf(error: unknown): KafkaFailure {
  const cause = innermost(error);
  const reason = messageOf(cause);
  switch (nameOf(cause)) {
    case 'KafkaJSProtocolError': {
      const code = codeOf(cause);
      return typeof code === 'number' ? failureOfCode(code, reason) : { kind: 'unknown', reason };
    }
    case 'KafkaJSConnectionError':
      // Its own limit of time to connect has no name of the system.
      return reason === 'Connection timeout'
        ? { kind: 'unavailable', reason }
        : failureOfConnection(codeOf(cause), reason);
    case 'KafkaJSSASLAuthenticationError':
    case 'KafkaJSBrokerNotFound':
    case 'KafkaJSNoBrokerAvailableError':
    case 'KafkaJSMetadataNotLoaded':
    case 'KafkaJSLockTimeout':
      return { kind: 'unavailable', reason };
    case 'KafkaJSTopicMetadataNotLoaded':
      return { kind: 'retriable', reason };
    default:
      return reason.startsWith('The producer is disconnect')
        ? { kind: 'unavailable', reason }
        : { kind: 'unknown', reason };
  }
}

function innermost(error: unknown): unknown {
  const wraps = ['KafkaJSNumberOfRetriesExceeded', 'KafkaJSNonRetriableError'].includes(nameOf(error));
  if (!wraps || !(error instanceof Error) || error.cause === undefined) return error;
  return innermost(error.cause);
}

function nameOf(error: unknown): string {
  return error instanceof Error ? error.name : '';
}

function codeOf(error: unknown): unknown {
  return typeof error === 'object' && error !== null && 'code' in error ? error.code : undefined;
}
