/** `settle/relay/nats`: publishes to streams of NATS JetStream. */
import { headerStyles, percentEncoded } from '../../outbox/broker-headers.ts';
import type { OutgoingMessage, Publisher, PublishResult } from '../publisher.ts';
import { envelope, type EnvelopeOptions } from './envelope.ts';
import { failureOfPublish } from './nats-errors.ts';
import { type NatsConnection, NatsLink } from './nats-link.ts';
import { untilAbort } from './until-abort.ts';

export type { NatsConnection } from './nats-link.ts';

/** The part of a client of @nats-io/jetstream that is used. */
export interface JetStream<Headers> {
  publish(
    subject: string,
    payload: string,
    options: { msgID: string; headers: Headers; timeout: number },
  ): Promise<{ readonly stream: string; readonly seq: number; readonly duplicate: boolean }>;
}

/** The part of the headers of NATS that is used. */
export interface NatsHeaders {
  set(name: string, value: string): void;
}

export interface NatsPublisherOptions<Headers extends NatsHeaders> extends EnvelopeOptions {
  readonly connection: NatsConnection;
  /** `jetstream(connection)` of `@nats-io/jetstream`. */
  readonly jetstream: JetStream<Headers>;
  /** `headers` of `@nats-io/transport-node`. */
  readonly headers: () => Headers;
  /** What destinations begin with: `nats` of `nats:orders.placed`. Default: `nats`. */
  readonly name?: string;
  /**
   * - `one-by-one`: a message is sent when the stream has confirmed the one before it with the same key and subject.
   * - `in-flight`: all are sent at once. One that fails, or is lost as when a stream changes its leader, is overtaken by those
   *   behind it and comes after them.
   *
   * Default: `one-by-one`.
   */
  readonly perKey?: 'one-by-one' | 'in-flight';
  /** Messages on their way at a time in one call. Default: 256. */
  readonly inFlightMax?: number;
  /** Milliseconds after which a message that the stream has not confirmed is `unknown`. Default: 5,000. */
  readonly ackTimeoutMs?: number;
}

const inFlightMaxDefault = 256;
const ackTimeoutMsDefault = 5_000;

/**
 * A publisher over JetStream; the connection stays the caller's. `order` is `stops-at-failure`: behind a message that failed
 * nothing of its key is sent, unless you choose `in-flight`.
 *
 * `published` means that the stream has the message, on as many servers as it has replicas. The id is the `Nats-Msg-Id`: what
 * comes again within the `duplicate_window` of the stream (2 minutes unless you set it) is kept once; what comes later is
 * there twice. A subject that no stream takes is `retriable`; a stream that is full takes nothing for now.
 */
export function natsPublisher<Headers extends NatsHeaders>(
  options: NatsPublisherOptions<Headers>,
): Publisher {
  const link = new NatsLink(options.connection);
  const toHeaders = envelope(headerStyles.nats, options);
  const { perKey = 'one-by-one', ackTimeoutMs = ackTimeoutMsDefault } = options;

  const send = async (message: OutgoingMessage): Promise<PublishResult> => {
    try {
      const headers = options.headers();
      for (const [name, value] of Object.entries(toHeaders(message))) headers.set(name, value);
      const ack = await options.jetstream.publish(message.address, message.payload, {
        msgID: percentEncoded(message.id),
        headers,
        timeout: ackTimeoutMs,
      });
      const ref = `${ack.stream}@${ack.seq}`;
      return ack.duplicate ? { kind: 'published', ref, duplicate: true } : { kind: 'published', ref };
    } catch (error) {
      return failureOfPublish(error, message.address);
    }
  };

  return {
    name: options.name ?? 'nats',
    order: 'stops-at-failure',
    async publish(batch, signal) {
      const { whyDown } = link;
      if (whyDown !== undefined) return batch.map(() => ({ kind: 'unavailable', reason: whyDown }));
      const results: PublishResult[] = batch.map(() => notSent);
      const turns = perKey === 'in-flight' ? batch.map((_, index) => [index]) : turnsOf(batch);
      const ended = new AbortController();
      let next = 0;
      const work = async (): Promise<void> => {
        for (let turn = turns[next++]; turn !== undefined; turn = turns[next++]) {
          await inTurn(turn, batch, { send, results, ended: ended.signal });
        }
      };
      const workers = Math.min(turns.length, options.inFlightMax ?? inFlightMaxDefault);
      const all = Promise.all(Array.from({ length: workers }, work));
      await untilAbort(Promise.race([all, link.lost]), signal, undefined);
      // What is under way goes on; nothing else begins, and what it comes to is nobody's any more.
      ended.abort();
      return [...results];
    },
  };
}

/** The places of messages which have to wait for each other, for each key and subject. */
function turnsOf(batch: readonly OutgoingMessage[]): readonly (readonly number[])[] {
  const turns: number[][] = [];
  const byLine = new Map<string, number[]>();
  batch.forEach(({ key, address }, index) => {
    const line = key === undefined ? undefined : `${address} ${key}`;
    const turn = line === undefined ? undefined : byLine.get(line);
    if (turn !== undefined) {
      turn.push(index);
      return;
    }
    const made = [index];
    turns.push(made);
    if (line !== undefined) byLine.set(line, made);
  });
  return turns;
}

interface Way {
  readonly send: (message: OutgoingMessage) => Promise<PublishResult>;
  readonly results: PublishResult[];
  /** Nothing more is sent. */
  readonly ended: AbortSignal;
}

async function inTurn(
  turn: readonly number[],
  batch: readonly OutgoingMessage[],
  { send, results, ended }: Way,
): Promise<void> {
  let failed: string | undefined;
  for (const index of turn) {
    const message = batch[index];
    if (message === undefined || ended.aborted) return;
    if (failed !== undefined) {
      results[index] = { kind: 'retriable', reason: `waits behind ${failed}, which failed` };
      continue;
    }
    results[index] = unconfirmed;
    const result = await send(message);
    results[index] = result;
    if (result.kind !== 'published') failed = message.id;
  }
}

const notSent: PublishResult = { kind: 'unavailable', reason: 'the time was up before it was sent to NATS' };
const unconfirmed: PublishResult = {
  kind: 'unknown',
  reason: 'NATS did not confirm it before the time was up',
};
