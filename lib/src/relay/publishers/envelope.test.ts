import { describe, expect, test } from 'vitest';
import { headerStyles } from '../../outbox/broker-headers.ts';
import type { OutgoingMessage } from '../publisher.ts';
import { envelope } from './envelope.ts';

const traceparent = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01';
const message: OutgoingMessage = {
  id: 'm 1',
  type: 'order.placed',
  version: 2,
  address: 'orders',
  key: 'Zoë',
  payload: '{}',
  contentType: 'application/json',
  headers: { tenant: 'north', traceparent, 'settle-version': '9' },
  createdAtMs: Date.UTC(2026, 10, 21),
  attempt: 1,
};

describe('a plain envelope', () => {
  test('names what the broker has no field for, and wins over headers of the sender', () => {
    expect(envelope(headerStyles.kafka)(message)).toEqual({
      tenant: 'north',
      traceparent,
      'settle-id': 'm 1',
      'settle-type': 'order.placed',
      'settle-version': '2',
      'content-type': 'application/json',
    });
  });

  test('is printable ASCII where the broker needs that', () => {
    expect(envelope(headerStyles.http)(message)).toEqual({
      tenant: 'north',
      traceparent,
      'settle-type': 'order.placed',
      'settle-version': '2',
      'settle-key': 'Zo%C3%AB',
    });
  });

  test('has no key for a message without one', () => {
    expect(envelope(headerStyles.amqp)({ ...message, key: undefined })).not.toHaveProperty('settle-key');
  });
});

describe('an envelope of CloudEvents', () => {
  test('has the required attributes, the key and the trace under the prefix of Kafka', () => {
    expect(envelope(headerStyles.kafka, { format: 'cloudevents', source: '/shop' })(message)).toEqual({
      tenant: 'north',
      traceparent,
      'settle-version': '9',
      ce_specversion: '1.0',
      ce_id: 'm 1',
      ce_source: '/shop',
      ce_type: 'order.placed',
      ce_time: '2026-11-21T00:00:00.000Z',
      ce_partitionkey: 'Zoë',
      ce_dataversion: '2',
      ce_traceparent: traceparent,
      'content-type': 'application/json',
    });
  });

  test('tells NATS the type of the data as an attribute, and encodes values', () => {
    const headers = envelope(headerStyles.nats, { format: 'cloudevents' })(message);
    expect(headers).toMatchObject({
      'ce-id': 'm%201',
      'ce-partitionkey': 'Zo%C3%AB',
      'ce-datacontenttype': 'application/json',
    });
  });
});
