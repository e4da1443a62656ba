import { JetStreamApiError } from '@nats-io/jetstream';
import { errors } from '@nats-io/transport-node';
import { expect, test } from 'vitest';
import { failureOfPublish } from './nats-errors.ts';

const refusal = (code: number, description: string) =>
  new JetStreamApiError({ code: 400, err_code: code, description });

// The client does not give this class out.
const noStream = Object.assign(new Error('jetstream is not enabled'), { name: 'JetStreamNotEnabled' });

test.each<[string, Error, string]>([
  [
    'a message above max_payload',
    errors.InvalidArgumentError.format('payload', 'max_payload size exceeded'),
    'poison',
  ],
  ['a subject that is none', new errors.InvalidSubjectError('a b'), 'poison'],
  ['a message the stream finds too large', refusal(10_054, 'message size exceeds maximum allowed'), 'poison'],
  ['a subject without a stream', noStream, 'retriable'],
  [
    'a subject that may have no more messages',
    refusal(10_077, 'maximum messages per subject exceeded'),
    'retriable',
  ],
  ['what it may not publish', new errors.PermissionViolationError('no', 'publish', 'orders'), 'retriable'],
  ['a stream that is full', refusal(10_077, 'maximum messages exceeded'), 'unavailable'],
  ['a stream that holds too many bytes', refusal(10_077, 'maximum bytes exceeded'), 'unavailable'],
  ['a cluster without a leader', refusal(10_008, 'JetStream system temporarily unavailable'), 'unavailable'],
  ['credentials that have run out', new errors.UserAuthenticationExpiredError('expired'), 'unavailable'],
  ['credentials that are refused', new errors.AuthorizationError('authorization violation'), 'unavailable'],
  ['a closed connection', new errors.ClosedConnectionError(), 'unavailable'],
  ['no answer in time', new errors.TimeoutError(), 'unknown'],
  ['a connection that was closed meanwhile', new errors.RequestError('connection closed'), 'unknown'],
  [
    'what wraps another error',
    new errors.RequestError('no', { cause: new errors.PermissionViolationError('no', 'publish', 'orders') }),
    'retriable',
  ],
])('%s', (_what, error, kind) => {
  expect(failureOfPublish(error, 'orders').kind).toBe(kind);
});
