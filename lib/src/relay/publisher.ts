/** What a relay needs of a broker: the port that every publisher implements. */

/** A message as publishers get it. */
export interface OutgoingMessage {
  readonly id: string;
  readonly type: string;
  readonly version: number;
  /** `orders` of the destination `kafka:orders`: a topic, subject, exchange, stream or URL. */
  readonly address: string;
  readonly key: string | undefined;
  /** JSON. */
  readonly payload: string;
  readonly contentType: 'application/json';
  /** Names in lower case; `traceparent` and `tracestate` among them where the sender had a trace. */
  readonly headers: Readonly<Record<string, string>>;
  /** Milliseconds since 1970. */
  readonly createdAtMs: number;
  /** Counts from 1. */
  readonly attempt: number;
}

export interface Publisher {
  /** What destinations begin with: `kafka` of `kafka:orders`. */
  readonly name: string;
  /**
   * What is known of the messages behind one that failed, within one batch:
   * - `stops-at-failure`: none with the same key and address was published. Such a batch may hold many of one key.
   * - `each-alone`: any may have been. Of each key a batch holds one.
   */
  readonly order: 'stops-at-failure' | 'each-alone';
  /** At most so many messages in one call. Default: the relay's. */
  readonly batchMax?: number;
  /**
   * Publishes messages, those of one key in the order given. Resolves to one result for each, in order; a rejection means
   * that nothing is known of any. Must end soon after the signal aborts.
   */
  readonly publish: (
    batch: readonly OutgoingMessage[],
    signal: AbortSignal,
  ) => Promise<readonly PublishResult[]>;
}

/**
 * - `published`: the broker has said that it keeps the message.
 * - `retriable`: this message failed, and may succeed later. Counts as an attempt.
 * - `unknown`: it may or may not have been published. Is tried again, and counts as an attempt.
 * - `poison`: it will never succeed: too large, not what the broker allows. Becomes a dead letter.
 * - `unavailable`: the destination takes nothing now: down, overloaded, refuses our credentials. No attempt of the message;
 *   the relay leaves the destination alone for a while.
 */
export type PublishResult =
  | {
      readonly kind: 'published';
      /** Where the broker keeps it, for people: `orders/3@1207`. */
      readonly ref?: string;
      /** The broker had it already. */
      readonly duplicate?: boolean;
    }
  | { readonly kind: 'retriable' | 'unknown' | 'poison'; readonly reason: string }
  | {
      readonly kind: 'unavailable';
      readonly reason: string;
      /** The destination's own wish: a lower bound. */
      readonly retryAfterMs?: number;
    };
