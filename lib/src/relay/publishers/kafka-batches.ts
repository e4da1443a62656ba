/**
 * What the publishers of all clients of Kafka share: how a batch becomes requests, and what is made of failures.
 *
 * - K1 The messages of a topic go in as few requests as their size allows, one after the other. Within a request those of one
 *      partition are one record batch, which Kafka keeps wholly or not at all. So nothing of a key is published behind a
 *      message of it that failed: later requests leave out the keys of which one did.
 * - K2 A record batch that is rejected for one of its messages is split until that one is alone.
 * - K3 A send that was given up goes on within the client, which cannot be told to stop. Until it ends nothing else is sent:
 *      while Kafka is away there is one batch to come late at most, and it does not come between later ones.
 */
import { headerStyles } from '../../outbox/broker-headers.ts';
import type { OutgoingMessage, Publisher, PublishResult } from '../publisher.ts';
import { envelope, type EnvelopeOptions } from './envelope.ts';
import type { KafkaFailure } from './kafka-errors.ts';
import { untilAbort } from './until-abort.ts';

export interface KafkaPublisherOptions extends EnvelopeOptions {
  /** What destinations begin with: `kafka` of `kafka:orders`. Default: `kafka`. */
  readonly name?: string;
  /**
   * Messages of a topic go together up to so many bytes; a larger one goes alone. Of use up to the `max.message.bytes` of the
   * topics. Default: 900,000, which fits Kafka's own default.
   */
  readonly requestBytesMax?: number;
}

/** What is different of a client. */
export interface KafkaClient<Message> {
  record(message: OutgoingMessage, headers: Readonly<Record<string, string>>, value: Buffer): Message;
  /** Sends all in one request to each broker, and waits until all replicas in sync have it. Rejects as the client does. */
  send(topic: string, messages: readonly Message[]): Promise<unknown>;
  /** What is known after a rejection, of each message: nothing stands for published. */
  failuresOf(
    error: unknown,
    topic: string,
    messages: readonly Message[],
  ): Promise<readonly (KafkaFailure | undefined)[]>;
}

export const requestBytesMaxDefault = 900_000;

/** What a record has besides payload, key and the sender's headers. */
const recordOverheadBytes = 400;

/** A send that was given up and never ends is waited for so long (K3). */
const abandonedMsMax = 300_000;

export function kafkaBatches<Message>(
  client: KafkaClient<Message>,
  options: KafkaPublisherOptions,
): Publisher {
  const headersOf = envelope(headerStyles.kafka, options);
  const abandoned = new Abandoned();
  return {
    name: options.name ?? 'kafka',
    order: 'stops-at-failure',
    async publish(batch, signal) {
      const results: PublishResult[] = [];
      if (!(await abandoned.ended(signal))) return batch.map(() => busy);
      const topics = new Map<string, Entry<Message>[]>();
      batch.forEach((message, index) => {
        const value = Buffer.from(message.payload);
        const record = client.record(message, headersOf(message), value);
        const entry = { index, id: message.id, key: message.key, record, bytes: bytesOf(message, value) };
        const entries = topics.get(message.address);
        if (entries === undefined) topics.set(message.address, [entry]);
        else entries.push(entry);
      });
      const send = async ([topic, entries]: [string, Entry<Message>[]]): Promise<void> => {
        const run = new TopicRun(client, topic, { signal, abandoned, results });
        for (const part of partsOf(entries, options.requestBytesMax ?? requestBytesMaxDefault)) {
          await run.send(part);
        }
      };
      await Promise.all(Array.from(topics, send));
      return results;
    },
  };
}

interface Entry<Message> {
  /** Its place in the batch. */
  readonly index: number;
  readonly id: string;
  readonly key: string | undefined;
  readonly record: Message;
  readonly bytes: number;
}

interface Call {
  readonly signal: AbortSignal;
  readonly abandoned: Abandoned;
  /** By their places in the batch. */
  readonly results: PublishResult[];
}

/** The messages of one topic in one call. */
class TopicRun<Message> {
  readonly #client: KafkaClient<Message>;
  readonly #topic: string;
  readonly #call: Call;
  /** Of failed keys, the message that failed (K1). */
  readonly #failed = new Map<string, string>();
  /** The topic takes nothing: the rest is not tried. */
  #halted: PublishResult | undefined;

  constructor(client: KafkaClient<Message>, topic: string, call: Call) {
    this.#client = client;
    this.#topic = topic;
    this.#call = call;
  }

  async send(part: readonly Entry<Message>[]): Promise<void> {
    const entries = part.filter((entry) => this.#mayGo(entry));
    if (entries.length === 0) return;
    if (this.#call.signal.aborted) return this.#halt(entries, notSent);
    const records = entries.map(({ record }) => record);
    const outcome = await this.#outcomeOf(records);
    switch (outcome.kind) {
      case 'kept':
        for (const { index } of entries) this.#call.results[index] = published;
        return;
      case 'aborted':
        return this.#halt(entries, gaveUp);
      case 'failed':
        return this.#settle(entries, await this.#client.failuresOf(outcome.error, this.#topic, records));
    }
  }

  /** K3 */
  async #outcomeOf(records: readonly Message[]): Promise<Outcome> {
    const sent = this.#client.send(this.#topic, records).then(
      (): Outcome => ({ kind: 'kept' }),
      (error: unknown): Outcome => ({ kind: 'failed', error }),
    );
    const outcome = await untilAbort(sent, this.#call.signal, aborted);
    if (outcome.kind === 'aborted') this.#call.abandoned.add(sent);
    return outcome;
  }

  async #settle(
    entries: readonly Entry<Message>[],
    failures: readonly (KafkaFailure | undefined)[],
  ): Promise<void> {
    const rejected: Entry<Message>[] = [];
    entries.forEach((entry, place) => {
      const failure = failures[place];
      if (failure === undefined) this.#call.results[entry.index] = published;
      else if (failure.kind !== 'rejected') this.#fail(entry, { kind: failure.kind, reason: failure.reason });
      else if (entries.length === 1) this.#fail(entry, { kind: 'poison', reason: failure.reason });
      else rejected.push(entry);
    });
    // K2
    const middle = Math.ceil(rejected.length / 2);
    if (rejected.length > 0) await this.send(rejected.slice(0, middle));
    if (rejected.length > middle) await this.send(rejected.slice(middle));
  }

  #fail(entry: Entry<Message>, result: PublishResult): void {
    this.#call.results[entry.index] = result;
    if (entry.key !== undefined && !this.#failed.has(entry.key)) this.#failed.set(entry.key, entry.id);
    if (result.kind === 'unavailable') this.#halted = result;
  }

  #halt(entries: readonly Entry<Message>[], { result, rest }: Halt): void {
    for (const { index } of entries) this.#call.results[index] = result;
    this.#halted = rest;
  }

  #mayGo({ index, key }: Entry<Message>): boolean {
    const before = key === undefined ? undefined : this.#failed.get(key);
    if (this.#halted !== undefined) this.#call.results[index] = this.#halted;
    else if (before === undefined) return true;
    else this.#call.results[index] = { kind: 'retriable', reason: `waits behind ${before}, which failed` };
    return false;
  }
}

type Outcome = { readonly kind: 'kept' | 'aborted' } | { readonly kind: 'failed'; readonly error: unknown };

const aborted: Outcome = { kind: 'aborted' };

/** What becomes of those at hand, and of those that come after them. */
interface Halt {
  readonly result: PublishResult;
  readonly rest: PublishResult;
}

const published: PublishResult = { kind: 'published' };
const busy: PublishResult = {
  kind: 'unavailable',
  reason: 'an earlier request to Kafka was given up and is still under way',
};
const late: PublishResult = { kind: 'unavailable', reason: 'the time was up before it was sent to Kafka' };
const notSent: Halt = { result: late, rest: late };
const gaveUp: Halt = {
  result: { kind: 'unknown', reason: 'Kafka did not answer before the time was up' },
  rest: late,
};

/** Sends that nobody waits for any more, and that have not ended (K3). */
class Abandoned {
  readonly #sends = new Set<Promise<unknown>>();

  add(send: Promise<unknown>): void {
    this.#sends.add(send);
    const timer = setTimeout(() => this.#sends.delete(send), abandonedMsMax).unref();
    void send.then(() => {
      clearTimeout(timer);
      this.#sends.delete(send);
    });
  }

  /** Whether all have ended before the signal aborts. */
  async ended(signal: AbortSignal): Promise<boolean> {
    if (this.#sends.size > 0) await untilAbort(Promise.all(this.#sends), signal, undefined);
    return this.#sends.size === 0;
  }
}

/** In their order, as many together as may be. */
function* partsOf<Message>(
  entries: readonly Entry<Message>[],
  bytesMax: number,
): Generator<readonly Entry<Message>[]> {
  let first = 0;
  let bytes = 0;
  for (const [place, entry] of entries.entries()) {
    if (place > first && bytes + entry.bytes > bytesMax) {
      yield entries.slice(first, place);
      first = place;
      bytes = 0;
    }
    bytes += entry.bytes;
  }
  yield entries.slice(first);
}

function bytesOf({ key, headers }: OutgoingMessage, value: Buffer): number {
  let bytes = recordOverheadBytes + value.length + 3 * (key?.length ?? 0);
  for (const [name, header] of Object.entries(headers)) bytes += name.length + 3 * header.length;
  return bytes;
}
