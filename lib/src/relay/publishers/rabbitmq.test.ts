/** What no broker does at the moment a test wants it to; the rest is tried against a real one. */
import { EventEmitter } from 'node:events';
import { describe, expect, it } from 'vitest';
import type { OutgoingMessage } from '../publisher.ts';
import type { RabbitProperties } from './rabbitmq-client.ts';
import { rabbitPublisher } from './rabbitmq.ts';

interface Sent {
  readonly routingKey: string;
  readonly properties: RabbitProperties;
  readonly confirm: (error?: Error) => void;
}

class FakeChannel extends EventEmitter {
  readonly sent: Sent[] = [];

  publish(
    _exchange: string,
    routingKey: string,
    _content: Buffer,
    properties: RabbitProperties,
    confirm: (error?: Error) => void,
  ): boolean {
    this.sent.push({ routingKey, properties, confirm });
    queueMicrotask(() => this.emit('sent'));
    return true;
  }

  /** As amqplib tells it: the error, the end to each message, and the end. */
  end(error: Error & { code?: number }): void {
    this.emit('error', error);
    for (const { confirm } of this.sent) confirm(new Error('channel closed'));
    this.emit('close');
  }

  close(): Promise<void> {
    this.emit('close');
    return Promise.resolve();
  }
}

class FakeConnection extends EventEmitter {
  readonly channels: FakeChannel[] = [];

  createConfirmChannel(): Promise<FakeChannel> {
    const channel = new FakeChannel();
    this.channels.push(channel);
    this.emit('channel', channel);
    return Promise.resolve(channel);
  }

  close(): Promise<void> {
    this.emit('close');
    return Promise.resolve();
  }
}

/** Opens connections whose channels do with the messages what the test says. */
function broker(onSent: (channel: FakeChannel, connections: number) => void) {
  const connections: FakeConnection[] = [];
  const publisher = rabbitPublisher({
    connection() {
      const connection = new FakeConnection();
      connections.push(connection);
      connection.on('channel', (channel: FakeChannel) =>
        channel.on('sent', () => onSent(channel, connections.length)),
      );
      return Promise.resolve(connection);
    },
  });
  return { connections, publisher };
}

const confirmAll = ({ sent }: FakeChannel): void => sent.splice(0).forEach(({ confirm }) => confirm());

describe('publishing to RabbitMQ, scripted', () => {
  it('sends nothing while the broker blocks the connection, and goes on after', async () => {
    const { connections, publisher } = broker(confirmAll);
    const publish = async () => (await publisher.publish([message({})], AbortSignal.timeout(1_000)))[0];
    expect(await publish()).toEqual({ kind: 'published' });
    connections[0]?.emit('blocked', 'low on memory');
    expect(await publish()).toEqual({
      kind: 'unavailable',
      reason: 'RabbitMQ takes no messages from us for now: low on memory',
    });
    connections[0]?.emit('unblocked');
    expect(await publish()).toEqual({ kind: 'published' });
  });

  it('knows nothing of what was sent before the channel ended, and connects anew', async () => {
    const { connections, publisher } = broker((channel, count) => {
      if (count > 1) return confirmAll(channel);
      channel.end(new Error('read ECONNRESET'));
      connections[0]?.emit('close');
    });
    const publish = async () => (await publisher.publish([message({})], AbortSignal.timeout(1_000)))[0];
    expect(await publish()).toEqual({
      kind: 'unknown',
      reason: 'ended before it was confirmed: read ECONNRESET',
    });
    expect(await publish()).toEqual({ kind: 'published' });
    expect(connections).toHaveLength(2);
  });

  it('opens one channel for calls that find the last one ended at the same time', async () => {
    const { connections, publisher } = broker(confirmAll);
    const publish = async () => (await publisher.publish([message({})], AbortSignal.timeout(1_000)))[0];
    await publish();
    connections[0]?.channels[0]?.end(new Error('closed'));
    const results = await Promise.all([publish(), publish(), publish()]);
    expect(results.map((result) => result?.kind)).toEqual(['published', 'published', 'published']);
    expect(connections.map(({ channels }) => channels.length)).toEqual([2]);
  });

  it('harms no neighbour of a message whose routing key is forbidden', async () => {
    const { publisher } = broker((channel) => {
      if (!channel.sent.some(({ routingKey }) => routingKey === 'secret')) return confirmAll(channel);
      const reason =
        "ACCESS_REFUSED - access to topic 'secret' in exchange 'orders' in vhost '/' refused for user 'guest'";
      channel.end(Object.assign(new Error(`Channel closed by server: 403 (${reason})`), { code: 403 }));
    });
    const addresses = ['orders/a', 'orders/secret', 'orders/b'];
    const results = await publisher.publish(
      addresses.map((address) => message({ address })),
      AbortSignal.timeout(1_000),
    );
    expect(results.map(({ kind }) => kind)).toEqual(['published', 'retriable', 'published']);
  });

  it('takes a return for the message it is about alone, though its confirm comes', async () => {
    const { publisher } = broker((channel) => {
      for (const { properties, routingKey } of channel.sent) {
        const fields = { replyCode: 312, replyText: 'NO_ROUTE' };
        if (routingKey === 'nowhere') channel.emit('return', { fields, properties });
      }
      confirmAll(channel);
    });
    const results = await publisher.publish(
      [message({ address: 'orders/a' }), message({ address: 'orders/nowhere' })],
      AbortSignal.timeout(1_000),
    );
    expect(results.map(({ kind }) => kind)).toEqual(['published', 'retriable']);
  });

  it('is unavailable when nothing connects in time', async () => {
    const never = rabbitPublisher({ connection: () => new Promise(() => undefined) });
    expect(await never.publish([message({})], AbortSignal.timeout(20))).toMatchObject([
      { kind: 'unavailable' },
    ]);
  });
});

let made = 0;

function message(fields: Partial<OutgoingMessage>): OutgoingMessage {
  return {
    id: `m${made++}`,
    type: 'order.placed',
    version: 1,
    address: 'orders/order.placed',
    key: undefined,
    payload: '{}',
    contentType: 'application/json',
    headers: {},
    createdAtMs: 1_763_000_000_000,
    attempt: 1,
    ...fields,
  };
}
