/** A message on its way from a transaction to a broker: what the outbox stores, and relays read. */

/** As it stands in the table. Everything is text, so that no driver's idea of a number or of JSON comes between. */
export interface StoredMessage {
  /** Where it stands within its lane, in the order in which statements wrote it: a whole number beyond 2^53. */
  readonly seq: bigint;
  readonly lane: number;
  /** Unique for ever: by it consumers recognise a repeat. */
  readonly id: string;
  readonly type: string;
  /** Of the type's shape; from 1 on. */
  readonly version: number;
  /** The name of the publisher: `kafka` of `kafka:orders`. */
  readonly target: string;
  /** What that publisher takes for an address: `orders` of `kafka:orders`. */
  readonly address: string;
  /** Messages with one key stay in order. Undefined: in order with nothing. */
  readonly key: string | undefined;
  /** JSON. */
  readonly payload: string;
  readonly headers: Headers;
  /** Milliseconds since 1970, by the clock of the database. */
  readonly createdAtMs: number;
  /** How often it was tried in vain. */
  readonly attempts: number;
  /** How often a relay began with it that was not heard of again. */
  readonly starts: number;
  /** Not to be tried before, by the clock of the database. */
  readonly dueAtMs: number | undefined;
}

/** Names in lower case. */
export type Headers = Readonly<Record<string, string>>;

/** Lanes are what relays share among each other. A constant, so that writers and relays of all versions agree. */
export const laneCount = 64;

/** The lane of a key, the same in all versions. */
export function laneOf(key: string): number {
  return hashOf(key) % laneCount;
}

/** 32 bits: FNV-1a over its UTF-8 bytes (http://www.isthe.com/chongo/tech/comp/fnv/). */
export function hashOf(text: string): number {
  let hash = 0x811c9dc5;
  for (const byte of encoder.encode(text)) hash = Math.imul(hash ^ byte, 0x01000193);
  return hash >>> 0;
}

const encoder = new TextEncoder();
