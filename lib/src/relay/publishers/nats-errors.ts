/** What a failure of JetStream means for the message that was to be published. */
import { messageOf } from '../../util/errors.ts';
import type { PublishResult } from '../publisher.ts';

type Refusal = 'retriable' | 'poison' | 'unavailable';

/** Of JetStream's `err_code` (https://github.com/nats-io/nats-server/blob/main/server/errors.json); all others are retriable. */
const kinds: ReadonlyMap<unknown, Refusal> = new Map<unknown, Refusal>([
  [10_002, 'unavailable'], // resource limits exceeded for account
  [10_008, 'unavailable'], // JetStream system temporarily unavailable
  [10_009, 'unavailable'], // JetStream cluster can not handle request
  [10_023, 'unavailable'], // insufficient resources
  [10_028, 'unavailable'], // JetStream memory resource limit exceeded for server
  [10_039, 'unavailable'], // JetStream not enabled for account
  [10_047, 'unavailable'], // insufficient storage resources available
  [10_054, 'poison'], // message size exceeds maximum allowed
  [10_076, 'unavailable'], // JetStream not enabled
]);

/** `store failed` with one of these: the stream is full, and refuses what is new until there is room. */
const isFull = /maximum (messages|bytes) exceeded/;

export function failureOfPublish(error: unknown, subject: string): PublishResult {
  const reason = messageOf(error);
  switch (nameOf(error)) {
    case 'InvalidArgumentError':
    case 'InvalidSubjectError':
      // Larger than `max_payload`, no header or no subject: refused before anything was sent.
      return { kind: 'poison', reason };
    case 'JetStreamNotEnabled':
      return {
        kind: 'retriable',
        reason: `no stream takes the subject ${subject}, or the server has no JetStream`,
      };
    case 'JetStreamApiError':
      return { kind: kindOfRefusal(error, reason), reason };
    case 'PermissionViolationError':
      return { kind: 'retriable', reason };
    case 'AuthorizationError':
    case 'UserAuthenticationExpiredError':
    case 'ClosedConnectionError':
    case 'DrainingConnectionError':
      return { kind: 'unavailable', reason };
    case 'RequestError':
      return error instanceof Error && error.cause !== undefined
        ? failureOfPublish(error.cause, subject)
        : { kind: 'unknown', reason };
    default:
      return { kind: 'unknown', reason };
  }
}

function kindOfRefusal(error: unknown, reason: string): Refusal {
  if (isFull.test(reason)) return 'unavailable';
  return kinds.get(codeOf(error)) ?? 'retriable';
}

function codeOf(error: unknown): unknown {
  return typeof error === 'object' && error !== null && 'code' in error ? error.code : undefined;
}

function nameOf(error: unknown): string {
  return error instanceof Error ? error.name : '';
}
