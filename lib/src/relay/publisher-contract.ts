/**
 * The facts every publisher holds to, tried against its real broker, for ours and for yours:
 *
 *   import { describe, it } from 'vitest' // or node:test
 *   publisherContract({ describe, it }, 'my broker', async (needs) => openMine(needs))
 */
import { assert } from '../util/assert.ts';
import { firstDifference } from '../util/json.ts';
import type { OutgoingMessage, Publisher, PublishResult } from './publisher.ts';

/** A publisher, and a broker that is empty at its address. */
export interface ContractBroker {
  readonly publisher: Publisher;
  /** Where to publish. With several partitions, where the broker has such. */
  readonly address: string;
  /** Where the broker keeps no message. */
  readonly unknownAddress?: string;
  /** A payload with so many bytes is more than the broker allows. */
  readonly tooLargeBytes?: number;
  /**
   * What is kept at the address, read by other means than ours: as soon as there are `count` different ids, or when nothing
   * more comes.
   * Messages of one key are in their order.
   */
  received(count: number): Promise<readonly ReceivedMessage[]>;
  /** Ends the broker as `kill -9` does; it is down when this resolves. Only asked of a broker opened as `killable`. */
  kill?(): Promise<void>;
  /** Starts it again with what it kept, and resolves when it takes messages. */
  restart?(): Promise<void>;
  /** Called after the fact is checked, whatever came out. */
  dispose?(): Promise<void>;
}

/** A message as the broker gave it, its fields read where this broker and this format have them. */
export interface ReceivedMessage {
  readonly id: string | undefined;
  readonly type: string | undefined;
  readonly version: string | undefined;
  readonly key: string | undefined;
  readonly payload: string;
  readonly contentType: string | undefined;
  readonly headers: Readonly<Record<string, string>>;
}

export interface BrokerNeeds {
  readonly format: 'plain' | 'cloudevents';
  /** A broker of this fact's own, which it may kill. */
  readonly killable: boolean;
}

/** Of a test runner, what the suite needs: vitest, jest, mocha and node:test all fit. */
export interface PublisherContractRunner {
  describe(name: string, body: () => void): unknown;
  it(title: string, body: () => Promise<void>): unknown;
}

/**
 * Declares one test per fact of the port. `open` is called for each. A fact that does not hold throws, with what was
 * expected. Facts that this broker cannot show are named in `skips`, with the reason, and are not declared.
 */
export function publisherContract(
  runner: PublisherContractRunner,
  name: string,
  open: (needs: BrokerNeeds) => Promise<ContractBroker>,
  skips: { readonly [Title in PublisherFact]?: string } = {},
): void {
  runner.describe(`publisher contract: ${name}`, () => {
    for (const title of Object.keys(facts) as PublisherFact[]) {
      if (skips[title] !== undefined) continue;
      const { needs, check } = facts[title];
      runner.it(title, async () => {
        const broker = await open(needs);
        try {
          await check(broker);
        } finally {
          await broker.dispose?.();
        }
      });
    }
  });
}

interface Fact {
  readonly needs: BrokerNeeds;
  readonly check: (broker: ContractBroker) => Promise<void>;
}

/** One call may take so long: a broker in tests is near. */
const callMs = 10_000;
/** An abort has to be heeded so soon. */
const abortMs = 2_000;
/** A broker that is down, or was started again, has to be noticed so soon. */
const noticeMs = 30_000;

const shared = (check: Fact['check']): Fact => ({ needs: { format: 'plain', killable: false }, check });
const killable = (check: Fact['check']): Fact => ({ needs: { format: 'plain', killable: true }, check });

const facts = {
  'gives no results for no messages': shared(async ({ publisher }) => {
    same(await publish(publisher, []), []);
  }),
  'gives one result for each message, and the broker has them all': shared(async (broker) => {
    const messages = batchOf(20, { address: broker.address, keys: 20 });
    same(kinds(await publish(broker.publisher, messages)), Array(20).fill('published'));
    same(idsOf(await broker.received(20)).toSorted(), idsOf(messages).toSorted());
  }),
  'publishes the messages of a key in the order given': shared(async (broker) => {
    const messages = batchOf(90, { address: broker.address, keys: 3 });
    await drain(broker.publisher, messages);
    sameOrder(await broker.received(90), messages);
  }),
  'carries id, type, version, key, content type and trace where the broker has them': shared((broker) =>
    carriesFields(broker),
  ),
  'carries the same fields as a CloudEvent': {
    needs: { format: 'cloudevents', killable: false },
    check: (broker) => carriesFields(broker),
  },
  'carries a message without a key, and one whose key is empty': shared(async (broker) => {
    const without = messageOf(broker, { key: undefined });
    const empty = messageOf(broker, { key: '' });
    await drain(broker.publisher, [without, empty]);
    const keys = new Map((await broker.received(2)).map(({ id, key }) => [id, key ?? 'none']));
    same(keys.get(without.id), 'none');
    assert(['', 'none'].includes(keys.get(empty.id) ?? '?'), 'an empty key is an empty one, or none');
  }),
  'takes ids, keys, types and payloads of any alphabet': shared(async (broker) => {
    const odd = 'Zoë "50 %" £ 注文 🦊';
    const id = `${odd} ${messageOf(broker).id}`;
    const sent = messageOf(broker, { id, key: odd, type: odd, payload: JSON.stringify({ odd }) });
    await drain(broker.publisher, [sent]);
    const [received] = await broker.received(1);
    same(fieldsOf(received), fieldsOf({ ...sent, version: String(sent.version) }));
  }),
  'calls a message that is too large poison, and publishes its neighbours': shared(async (broker) => {
    const messages = batchOf(9, { address: broker.address, keys: 9 });
    const results = await publish(broker.publisher, messages.with(4, tooLarge(broker)));
    same(kinds(results), Array(9).fill('published').with(4, 'poison'));
    same(idsOf(await broker.received(8)).toSorted(), idsOf(messages.toSpliced(4, 1)).toSorted());
  }),
  'publishes on after a message that was too large': shared(async (broker) => {
    same(kinds(await publish(broker.publisher, [tooLarge(broker)])), ['poison']);
    const messages = batchOf(3, { address: broker.address, keys: 1 });
    await drain(broker.publisher, messages);
    sameOrder(await broker.received(3), messages);
  }),
  'publishes nothing of a key behind a message that failed': shared(async (broker) => {
    // The others are given one message of a key at a time.
    if (broker.publisher.order === 'each-alone') return;
    const [first, behind] = batchOf(2, { address: broker.address, keys: 1 });
    const other = messageOf(broker);
    assert(first !== undefined && behind !== undefined, 'two messages were made');
    const failing = { ...tooLarge(broker), key: first.key };
    const results = kinds(await publish(broker.publisher, [first, failing, behind, other]));
    same(results.toSpliced(2, 1), ['published', 'poison', 'published']);
    assert(results[2] !== 'published', 'a message overtook one that failed');
    same(idsOf(await broker.received(2)).toSorted(), [first.id, other.id].toSorted());
  }),
  'never calls published what no place of the broker keeps': shared(async (broker) => {
    const [result] = await publish(broker.publisher, [messageOf(broker, unknownAddress(broker))]);
    assert(
      result?.kind === 'retriable' || result?.kind === 'unavailable',
      `an address nobody knows gave ${JSON.stringify(result)}`,
    );
    const good = messageOf(broker);
    await drain(broker.publisher, [good]);
    same(idsOf(await broker.received(1)), [good.id]);
  }),
  'publishes what goes elsewhere than to an unknown address beside it': shared(async (broker) => {
    const messages = batchOf(4, { address: broker.address, keys: 4 });
    const lost = messageOf(broker, unknownAddress(broker));
    const results = kinds(await publish(broker.publisher, messages.toSpliced(1, 0, lost)));
    same(results.toSpliced(1, 1), Array(4).fill('published'));
    assert(results[1] !== 'published', 'a message to nowhere was called published');
  }),
  'ends soon after an abort, also when the broker is down': killable(async (broker) => {
    await drain(broker.publisher, batchOf(1, { address: broker.address, keys: 1 }));
    await broker.kill?.();
    const abort = new AbortController();
    const began = performance.now();
    const published = broker.publisher
      .publish(batchOf(10, { address: broker.address, keys: 10 }), abort.signal)
      .catch(() => []);
    abort.abort();
    const results = await published;
    assert(performance.now() - began < abortMs, `it took ${performance.now() - began} ms after the abort`);
    assert(!kinds(results).includes('published'), 'a broker that is down confirmed');
  }),
  'says that the broker is down within the time it is given': killable(async (broker) => {
    await drain(broker.publisher, batchOf(1, { address: broker.address, keys: 1 }));
    await broker.kill?.();
    const messages = batchOf(5, { address: broker.address, keys: 5 });
    const until = performance.now() + noticeMs;
    let results: readonly PublishResult[] = [];
    // What was under way as it went down may be unknown; soon all are unavailable, and no message has an attempt more.
    while (!kinds(results).every((kind) => kind === 'unavailable') || results.length === 0) {
      assert(performance.now() < until, `still ${JSON.stringify(results)}`);
      const began = performance.now();
      results = await broker.publisher.publish(messages, AbortSignal.timeout(1_000)).catch(() => []);
      assert(performance.now() - began < 1_000 + abortMs, 'a call outlived its signal');
      assert(!kinds(results).includes('published'), 'a broker that is down confirmed');
    }
  }),
  'loses nothing it confirmed and keeps each key in order when the broker is killed': killable(
    async (broker) => {
      const messages = batchOf(600, { address: broker.address, keys: 5 });
      await drain(broker.publisher, messages.slice(0, 100));
      const drained = drain(broker.publisher, messages.slice(100));
      await broker.kill?.();
      await broker.restart?.();
      await drained;
      sameOrder(firstOfEach(await broker.received(600)), messages);
    },
  ),
} satisfies Record<string, Fact>;

/** The title of a fact. */
export type PublisherFact = keyof typeof facts;

async function carriesFields(broker: ContractBroker): Promise<void> {
  const headers = {
    tenant: 'north',
    traceparent: '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01',
    tracestate: 'vendor=1',
  };
  const sent = messageOf(broker, { headers });
  await drain(broker.publisher, [sent]);
  const [received] = await broker.received(1);
  same(fieldsOf(received), fieldsOf({ ...sent, version: String(sent.version) }));
  const { tenant, traceparent, tracestate } = received?.headers ?? {};
  same({ tenant, traceparent, tracestate }, headers);
}

function tooLarge(broker: ContractBroker): OutgoingMessage {
  assert(broker.tooLargeBytes !== undefined, 'tooLargeBytes is missing, or the fact in skips');
  return messageOf(broker, { payload: JSON.stringify('x'.repeat(broker.tooLargeBytes)) });
}

function unknownAddress({ unknownAddress: address }: ContractBroker): { readonly address: string } {
  assert(address !== undefined, 'unknownAddress is missing, or the fact in skips');
  return { address };
}

/**
 * Publishes all as a relay does: of each key in order, behind a failure nothing of that key, what failed again until it
 * succeeds. Fails after a minute.
 */
async function drain(publisher: Publisher, messages: readonly OutgoingMessage[]): Promise<void> {
  const deadline = performance.now() + 60_000;
  let waiting = [...messages];
  let reasons = '';
  while (waiting.length > 0) {
    assert(performance.now() < deadline, `${waiting.length} messages are left: ${reasons}`);
    const batch = batchFrom(publisher, waiting);
    const results = await publish(publisher, batch).catch((error: unknown) => {
      reasons = String(error);
      return [];
    });
    const done = publishedOf(batch, results);
    const failed = results.find(({ kind }) => kind !== 'published');
    if (failed !== undefined) reasons = JSON.stringify(failed);
    waiting = waiting.filter(({ id }) => !done.has(id));
    if (done.size < batch.length) await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

/** The first hundred that may go together: of one key all or one, as the publisher says. */
function batchFrom(publisher: Publisher, waiting: readonly OutgoingMessage[]): readonly OutgoingMessage[] {
  const keys = new Set<string>();
  const together = waiting.filter(({ key }) => {
    if (publisher.order === 'stops-at-failure' || key === undefined) return true;
    return keys.size < keys.add(key).size;
  });
  return together.slice(0, Math.min(100, publisher.batchMax ?? 100));
}

/** What stands behind a failure of its key counts as not published, whatever its result says. */
function publishedOf(
  batch: readonly OutgoingMessage[],
  results: readonly PublishResult[],
): ReadonlySet<string> {
  const failed = new Set<string>();
  const done = new Set<string>();
  batch.forEach(({ id, key }, index) => {
    const isPublished = results[index]?.kind === 'published';
    if (isPublished && (key === undefined || !failed.has(key))) done.add(id);
    else if (key !== undefined) failed.add(key);
  });
  return done;
}

function publish(publisher: Publisher, batch: readonly OutgoingMessage[]): Promise<readonly PublishResult[]> {
  return publisher.publish(batch, AbortSignal.timeout(callMs));
}

/** Unique also against a broker that remembers the ids of an earlier run. */
const run = Date.now().toString(36) + Math.random().toString(36).slice(2, 8);
let made = 0;

function messageOf(
  { address }: { readonly address: string },
  change: Partial<OutgoingMessage> = {},
): OutgoingMessage {
  made += 1;
  return {
    id: `${run}-${made}`,
    type: 'order.placed',
    version: 2,
    address,
    key: `key of ${made}`,
    payload: JSON.stringify({ order: made }),
    contentType: 'application/json',
    headers: {},
    createdAtMs: 1_763_000_000_000 + made,
    attempt: 1,
    ...change,
  };
}

function batchOf(
  count: number,
  { address, keys }: { readonly address: string; readonly keys: number },
): OutgoingMessage[] {
  return Array.from({ length: count }, (_, index) => messageOf({ address }, { key: `key ${index % keys}` }));
}

function kinds(results: readonly PublishResult[]): string[] {
  return results.map(({ kind }) => kind);
}

function idsOf(messages: readonly { readonly id: string | undefined }[]): string[] {
  return messages.map(({ id }) => id ?? 'none');
}

type Fields = Omit<ReceivedMessage, 'headers'>;

function fieldsOf(message: Fields | undefined): unknown {
  const { id, type, version, key, payload, contentType } = message ?? {};
  return { id, type, version, key, payload, contentType };
}

/** A broker may have a message twice that was published again after an unknown outcome: consumers see the first. */
function firstOfEach(received: readonly ReceivedMessage[]): readonly ReceivedMessage[] {
  const seen = new Set<string | undefined>();
  return received.filter(({ id }) => seen.size < seen.add(id).size);
}

function sameOrder(
  received: readonly { readonly id: string | undefined; readonly key: string | undefined }[],
  sent: readonly OutgoingMessage[],
): void {
  same(received.length, sent.length);
  for (const key of new Set(sent.map((message) => message.key))) {
    const ofKey = (message: { readonly key: string | undefined }): boolean => message.key === key;
    same(idsOf(received.filter(ofKey)), idsOf(sent.filter(ofKey)));
  }
}

function same(actual: unknown, expected: unknown): void {
  const difference = firstDifference(actual, expected);
  assert(difference === undefined, `${difference}, of ${JSON.stringify(actual).slice(0, 400)}`);
}
