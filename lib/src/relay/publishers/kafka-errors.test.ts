import {
  AuthenticationError,
  MultipleErrors,
  NetworkError,
  protocolErrors as codesOfPlatformatic,
  ResponseError,
  TimeoutError,
  UserError,
} from '@platformatic/kafka';
import {
  KafkaJSConnectionError,
  KafkaJSNumberOfRetriesExceeded,
  KafkaJSProtocolError,
  KafkaJSRequestTimeoutError,
} from 'kafkajs';
import { describe, expect, test } from 'vitest';
import type { OutgoingMessage, Publisher } from '../publisher.ts';
import { kafkaPublisher } from './kafka.ts';
import { platformaticKafkaPublisher } from './platformatic-kafka.ts';

const message: OutgoingMessage = {
  id: 'm',
  type: 'order.placed',
  version: 1,
  address: 'orders',
  key: 'k',
  payload: '{}',
  contentType: 'application/json',
  headers: {},
  createdAtMs: 0,
  attempt: 1,
};

async function kindOf(publisher: Publisher): Promise<string | undefined> {
  const [result] = await publisher.publish([message], new AbortController().signal);
  return result?.kind;
}

function kafkaJsProtocol(type: string, code: number): Error {
  return new KafkaJSProtocolError(Object.assign(new Error(type), { type, code, retriable: false }));
}

const requestDetails = {
  broker: 'b',
  clientId: 'c',
  correlationId: 1,
  createdAt: 0,
  sentAt: 0,
  pendingDuration: 0,
};

describe('kafkajs', () => {
  // What its types do not declare, or not rightly.
  const saslRefused = Object.assign(new Error('no'), { name: 'KafkaJSSASLAuthenticationError' });
  const closed = Object.assign(new Error('Closed connection'), { name: 'KafkaJSConnectionClosedError' });
  const refused = new KafkaJSConnectionError('connect ECONNREFUSED', { broker: 'b', code: 'ECONNREFUSED' });

  test.each<[string, Error, string]>([
    ['MESSAGE_TOO_LARGE', kafkaJsProtocol('MESSAGE_TOO_LARGE', 10), 'poison'],
    ['INVALID_TOPIC_EXCEPTION', kafkaJsProtocol('INVALID_TOPIC_EXCEPTION', 17), 'poison'],
    ['UNKNOWN_TOPIC_OR_PARTITION', kafkaJsProtocol('UNKNOWN_TOPIC_OR_PARTITION', 3), 'retriable'],
    ['TOPIC_AUTHORIZATION_FAILED', kafkaJsProtocol('TOPIC_AUTHORIZATION_FAILED', 29), 'retriable'],
    ['NOT_ENOUGH_REPLICAS', kafkaJsProtocol('NOT_ENOUGH_REPLICAS', 19), 'unavailable'],
    ['NOT_ENOUGH_REPLICAS_AFTER_APPEND', kafkaJsProtocol('NOT_ENOUGH_REPLICAS_AFTER_APPEND', 20), 'unknown'],
    ['REQUEST_TIMED_OUT', kafkaJsProtocol('REQUEST_TIMED_OUT', 7), 'unknown'],
    ['a refused connection', refused, 'unavailable'],
    [
      'retries that are used up',
      new KafkaJSNumberOfRetriesExceeded(refused, { retryCount: 5, retryTime: 100 }),
      'unavailable',
    ],
    ['refused credentials', saslRefused, 'unavailable'],
    ['a connection that broke', closed, 'unknown'],
    ['no answer', new KafkaJSRequestTimeoutError('late', requestDetails), 'unknown'],
  ])('%s', async (_what, error, kind) => {
    const producer = { isIdempotent: () => false, send: () => Promise.reject(error) };
    expect(await kindOf(kafkaPublisher({ producer }))).toBe(kind);
  });
});

function platformaticProtocol(name: string): Error {
  const code = codesOfPlatformatic[name]?.code ?? 0;
  const response = { responses: [{ name: 'orders', partitionResponses: [{ index: 0, errorCode: code }] }] };
  const errors = { '/responses/0/partition_responses/0': [code, null] as [number, null] };
  return new MultipleErrors('Producing messages failed.', [new ResponseError(produce, 9, errors, response)]);
}

/** The number of the request. */
const produce = 0;

describe('@platformatic/kafka', () => {
  const refused = new NetworkError('Connection to b failed.', {
    cause: Object.assign(new Error('connect ECONNREFUSED'), { code: 'ECONNREFUSED' }),
  });

  test.each<[string, Error, string]>([
    ['MESSAGE_TOO_LARGE', platformaticProtocol('MESSAGE_TOO_LARGE'), 'poison'],
    ['UNKNOWN_TOPIC_OR_PARTITION', platformaticProtocol('UNKNOWN_TOPIC_OR_PARTITION'), 'retriable'],
    ['TOPIC_AUTHORIZATION_FAILED', platformaticProtocol('TOPIC_AUTHORIZATION_FAILED'), 'retriable'],
    ['NOT_ENOUGH_REPLICAS', platformaticProtocol('NOT_ENOUGH_REPLICAS'), 'unavailable'],
    ['REQUEST_TIMED_OUT', platformaticProtocol('REQUEST_TIMED_OUT'), 'unknown'],
    ['an unknown topic', new UserError('Unknown topic orders.'), 'retriable'],
    ['a refused connection', refused, 'unavailable'],
    [
      'attempts of which the last was refused',
      new MultipleErrors('metadata failed 4 times.', [new NetworkError('Connection closed'), refused]),
      'unavailable',
    ],
    ['refused credentials', new AuthenticationError('SASL authentication failed.'), 'unavailable'],
    ['a connection that broke', new NetworkError('Connection closed'), 'unknown'],
    ['no answer', new TimeoutError('Request timed out'), 'unknown'],
  ])('%s', async (_what, error, kind) => {
    const producer = {
      send: () => Promise.reject(error),
      getSendTopicPartitions: () => new Map([['orders', new Set([0])]]),
      metadata: async () => ({ topics: new Map([['orders', { partitionsCount: 1 }]]) }),
    };
    expect(await kindOf(platformaticKafkaPublisher({ producer }))).toBe(kind);
  });
});
