/** A message that came from a broker, and what becomes of it: the port between consumers of brokers and what handles messages. */

export interface IncomingMessage {
  /** By it a repeat is recognised. */
  readonly id: string;
  readonly type: string;
  /** 1 where the broker's message says nothing. */
  readonly version: number;
  /** Messages with one key are handled one after the other, in the order they came. Undefined: in any. */
  readonly key: string | undefined;
  /** As it came; JSON where it was sent by an outbox. */
  readonly payload: string;
  readonly contentType: string | undefined;
  /** Names in lower case. */
  readonly headers: Readonly<Record<string, string>>;
  /** The topic, subject, queue, stream or path it came by. */
  readonly source: string;
  /** Where the broker keeps it, for people and for what stores positions: `orders/3@1207`. */
  readonly ref: string;
}

/**
 * Handles one message, with all its retries. Never rejects.
 * - `handled`: the transaction of its work is committed, now or at an earlier delivery. Acknowledge it.
 * - `dead`: it failed for good, and is kept as a dead letter, durably. Acknowledge it.
 * - `not-handled`: stopped, or neither could be written down. Do not acknowledge it: it has to come again.
 */
export type HandleMessage = (message: IncomingMessage, signal: AbortSignal) => Promise<Handled>;

export type Handled =
  | { readonly kind: 'handled'; readonly duplicate: boolean }
  | { readonly kind: 'dead'; readonly reason: string }
  | { readonly kind: 'not-handled'; readonly reason: string };

/** A consumer of a broker that runs. */
export interface RunningConsumer {
  /**
   * Takes no more messages, waits up to `timeoutMs` (default 10,000) for those at work, acknowledges them, and gives the rest
   * back. Resolves also when time ran out; what is not acknowledged comes again.
   */
  stop(timeoutMs?: number): Promise<void>;
  /** Resolves when it has stopped; rejects with what broke it for good. */
  readonly ended: Promise<void>;
}
