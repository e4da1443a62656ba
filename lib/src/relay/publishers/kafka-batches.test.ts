import { describe, expect, test } from 'vitest';
import type { OutgoingMessage } from '../publisher.ts';
import { type KafkaClient, kafkaBatches, type KafkaPublisherOptions } from './kafka-batches.ts';
import type { KafkaFailure } from './kafka-errors.ts';

type Ids = readonly string[];
type Answer = (topic: string, ids: Ids) => Promise<unknown> | undefined;

/** A Kafka that answers as it is told, and remembers what was sent to it. */
function scripted(answer: Answer, options: KafkaPublisherOptions = {}) {
  const sent: Ids[] = [];
  const client: KafkaClient<string> = {
    record: ({ id }) => id,
    send(topic, ids) {
      sent.push(ids);
      return answer(topic, ids) ?? Promise.resolve();
    },
    failuresOf: async (error, _topic, ids) =>
      ids.map(() => (error instanceof Told ? error.failure : undefined)),
  };
  return { sent, publisher: kafkaBatches(client, options) };
}

const fails = (kind: KafkaFailure['kind']): Promise<never> => Promise.reject(new Told(kind));

class Told extends Error {
  readonly failure: KafkaFailure;

  constructor(kind: KafkaFailure['kind']) {
    super('told to');
    this.failure = { kind, reason: 'told to' };
  }
}

function message(id: string, change: Partial<OutgoingMessage> = {}): OutgoingMessage {
  return {
    id,
    type: 'order.placed',
    version: 1,
    address: 'orders',
    key: 'k',
    payload: '{}',
    contentType: 'application/json',
    headers: {},
    createdAtMs: 0,
    attempt: 1,
    ...change,
  };
}

const never = new AbortController().signal;

async function kinds(publishing: Promise<readonly { readonly kind: string }[]>): Promise<readonly string[]> {
  return (await publishing).map(({ kind }) => kind);
}

describe('a batch for Kafka', () => {
  test('goes as one request for each topic', async () => {
    const { sent, publisher } = scripted(() => undefined);
    const batch = [message('a'), message('b', { address: 'bills' }), message('c')];
    expect(await kinds(publisher.publish(batch, never))).toEqual(['published', 'published', 'published']);
    expect(sent).toEqual([['a', 'c'], ['b']]);
  });

  test('is divided by size, and a message that is larger goes alone', async () => {
    const { sent, publisher } = scripted(() => undefined, { requestBytesMax: 1_500 });
    const large = message('c', { payload: 'x'.repeat(5_000) });
    await publisher.publish([message('a'), message('b'), large, message('d')], never);
    expect(sent).toEqual([['a', 'b'], ['c'], ['d']]);
  });

  test('is halved until the message that is rejected is alone', async () => {
    const { sent, publisher } = scripted((_topic, ids) =>
      ids.includes('c') ? fails('rejected') : undefined,
    );
    const batch = ['a', 'b', 'c', 'd'].map((id) => message(id, { key: id }));
    expect(await kinds(publisher.publish(batch, never))).toEqual([
      'published',
      'published',
      'poison',
      'published',
    ]);
    expect(sent).toEqual([['a', 'b', 'c', 'd'], ['a', 'b'], ['c', 'd'], ['c'], ['d']]);
  });

  test('sends nothing of a key behind a message of it that failed, and all others', async () => {
    const { sent, publisher } = scripted((_topic, ids) =>
      ids.includes('a') ? fails('rejected') : undefined,
    );
    const batch = [
      message('a'),
      message('other', { key: 'o' }),
      message('b'),
      message('none', { key: undefined }),
    ];
    const results = await publisher.publish(batch, never);
    expect(results).toMatchObject([
      { kind: 'poison' },
      { kind: 'published' },
      { kind: 'retriable', reason: 'waits behind a, which failed' },
      { kind: 'published' },
    ]);
    expect(sent.at(-1)).toEqual(['none']);
  });

  test('stops when Kafka takes nothing, and says so of the rest', async () => {
    const { sent, publisher } = scripted(() => fails('unavailable'), { requestBytesMax: 1 });
    const batch = [message('a', { key: 'a' }), message('b', { key: 'b' })];
    expect(await kinds(publisher.publish(batch, never))).toEqual(['unavailable', 'unavailable']);
    expect(sent).toEqual([['a']]);
  });
});

describe('a request that was given up', () => {
  test('is unknown, and holds up the next one until it has ended', async () => {
    const { promise, resolve } = Promise.withResolvers<void>();
    const { sent, publisher } = scripted((_topic, ids) => (ids.includes('a') ? promise : undefined));
    const abort = new AbortController();
    const first = publisher.publish([message('a')], abort.signal);
    await expect.poll(() => sent).toEqual([['a']]);
    abort.abort();
    expect(await kinds(first)).toEqual(['unknown']);
    expect(await kinds(publisher.publish([message('b')], AbortSignal.timeout(20)))).toEqual(['unavailable']);
    const third = publisher.publish([message('b')], never);
    resolve();
    expect(await kinds(third)).toEqual(['published']);
    expect(sent).toEqual([['a'], ['b']]);
  });

  test('is not begun when the time is up before', async () => {
    const { sent, publisher } = scripted(() => undefined);
    expect(await kinds(publisher.publish([message('a')], AbortSignal.abort()))).toEqual(['unavailable']);
    expect(sent).toEqual([]);
  });
});
