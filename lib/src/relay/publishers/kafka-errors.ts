/** What the error codes of Kafka mean for a message that was to be published (https://kafka.apache.org/protocol#protocol_error_codes). */

/**
 * - `rejected`: of a record batch at least one message will never be taken: which, only smaller batches tell.
 * - the others: as of a publisher's result.
 */
export interface KafkaFailure {
  readonly kind: 'rejected' | 'poison' | 'retriable' | 'unknown' | 'unavailable';
  readonly reason: string;
}

type Kind = KafkaFailure['kind'];

/**
 * A condition of the cluster is `unavailable`, so that no message is given up for it. What concerns one topic alone is
 * `retriable`, so that it does not stop the others. Codes that are not here leave it open whether the messages were kept.
 */
const kinds: ReadonlyMap<number, Kind> = new Map<number, Kind>([
  [2, 'retriable'], // CORRUPT_MESSAGE
  [3, 'retriable'], // UNKNOWN_TOPIC_OR_PARTITION
  [5, 'unavailable'], // LEADER_NOT_AVAILABLE
  [6, 'unavailable'], // NOT_LEADER_OR_FOLLOWER
  [8, 'unavailable'], // BROKER_NOT_AVAILABLE
  [9, 'unavailable'], // REPLICA_NOT_AVAILABLE
  [10, 'rejected'], // MESSAGE_TOO_LARGE
  [17, 'poison'], // INVALID_TOPIC_EXCEPTION
  [18, 'rejected'], // RECORD_LIST_TOO_LARGE
  [19, 'unavailable'], // NOT_ENOUGH_REPLICAS
  [29, 'retriable'], // TOPIC_AUTHORIZATION_FAILED
  [31, 'unavailable'], // CLUSTER_AUTHORIZATION_FAILED
  [32, 'rejected'], // INVALID_TIMESTAMP
  [33, 'unavailable'], // UNSUPPORTED_SASL_MECHANISM
  [34, 'unavailable'], // ILLEGAL_SASL_STATE
  [44, 'retriable'], // POLICY_VIOLATION
  [56, 'unavailable'], // KAFKA_STORAGE_ERROR
  [58, 'unavailable'], // SASL_AUTHENTICATION_FAILED
  [72, 'unavailable'], // LISTENER_NOT_FOUND
  [74, 'unavailable'], // FENCED_LEADER_EPOCH
  [75, 'unavailable'], // UNKNOWN_LEADER_EPOCH
  [87, 'rejected'], // INVALID_RECORD
  [89, 'unavailable'], // THROTTLING_QUOTA_EXCEEDED
]);

export function failureOfCode(code: number, reason: string): KafkaFailure {
  return { kind: kinds.get(code) ?? 'unknown', reason: `${reason} (Kafka's error ${code})` };
}

/** Names under which a system call says that nothing was sent, since there never was a connection. */
const notConnected: ReadonlySet<unknown> = new Set([
  'ECONNREFUSED',
  'ENOTFOUND',
  'EAI_AGAIN',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'ETIMEDOUT',
]);

/** Of a failure of the connection, by the name the system gave it. */
export function failureOfConnection(code: unknown, reason: string): KafkaFailure {
  return { kind: notConnected.has(code) ? 'unavailable' : 'unknown', reason };
}
