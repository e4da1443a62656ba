import { jetstreamManager } from '@nats-io/jetstream';
import { connect } from '@nats-io/transport-node';
import {
  brokerOfThisFile,
  type LeftByFile,
  type PrivateBroker,
  privateBroker,
  type SharedBroker,
  type TestBroker,
} from './broker.ts';

export const sharedNats: SharedBroker = { service: 'nats', cleanUp: deleteStreams };

/**
 * The NATS server of this run, with JetStream. Streams and buckets whose name begins with that of this file are deleted
 * after it; name subjects alike, `${nats.name('orders')}.created`, so that no other file hears of them.
 */
export function testNats(): TestBroker {
  return brokerOfThisFile(sharedNats);
}

/** A NATS server of one's own, with JetStream; takes a tenth of a second. Call it in `beforeAll` or in a test. */
export function natsServer(): Promise<PrivateBroker> {
  return privateBroker('privateNats');
}

/** Those of a bucket are called `KV_` or `OBJ_` and then like the bucket. */
async function deleteStreams(url: string, { prefix }: LeftByFile): Promise<void> {
  const connection = await connect({ servers: url, reconnect: false });
  try {
    const manager = await jetstreamManager(connection);
    for await (const name of manager.streams.names())
      if (name.replace(/^(?:KV|OBJ)_/, '').startsWith(prefix)) await manager.streams.delete(name);
  } finally {
    await connection.close();
  }
}
