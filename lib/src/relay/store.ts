/**
 * What a relay needs of the place where messages wait: the port between its loop and the database. `store-contract.ts` is
 * the suite all implementations pass.
 *
 * All times are the database's own (D5). A call that rejects has left open what it did: the relay reads again.
 */
import type { StoredMessage } from '../outbox/message.ts';

export interface RelayStore {
  /**
   * Says that this relay lives, for `ttlMs` more, prolongs all lanes it holds by as much, and tells how the lanes are shared.
   * Rejects with `store_newer` for tables that a newer version has made, `tables_missing` where there are none.
   */
  readonly heartbeat: (relay: string, ttlMs: number) => Promise<LaneView>;
  /**
   * Takes lanes over whose token is still the one given and whose lease is free or has run out; each gets a new token, greater
   * than all before. Gives back those it got.
   */
  readonly claim: (
    relay: string,
    ttlMs: number,
    lanes: readonly LaneToken[],
  ) => Promise<readonly ClaimedLane[]>;
  /** Gives lanes back that this relay holds under these tokens; others stay as they are. */
  readonly release: (relay: string, lanes: readonly LaneToken[]) => Promise<void>;
  /** Ends this relay: gives back all lanes, and is counted no more. */
  readonly leave: (relay: string) => Promise<void>;
  /** For each lane its messages after `after`, in order of `seq`, at most `limit` of each; those of the delay are not in lanes. */
  readonly read: (requests: readonly ReadRequest[]) => Promise<readonly StoredMessage[]>;
  /**
   * Writes down what became of messages, for each lane only if its token still stands: gives back the lanes of which it does
   * not. A message that is gone already is no error.
   */
  readonly settle: (settlements: readonly Settlement[]) => Promise<readonly number[]>;
  /** Moves delayed messages that are due to the ends of their lanes, at most `limit`. Gives back how many, and when it is next. */
  readonly promote: (limit: number) => Promise<Promotion>;
  /** Keys that no message may overtake a dead letter of, of these lanes. */
  readonly blockedKeys: (lanes: readonly number[]) => Promise<readonly BlockedKey[]>;
  /** Forgets the dedup keys of messages that are older, at most `limit`. Gives back how many. */
  prune(options: { readonly dedupOlderThanMs: number; readonly limit: number }): Promise<number>;
  readonly dead: DeadLetters;
  readonly stats: () => Promise<OutboxStats>;
}

export interface LaneToken {
  readonly lane: number;
  /** Grows with each take-over: the fencing token. */
  readonly token: bigint;
}

export interface LaneView {
  /** Milliseconds since 1970. */
  readonly nowMs: number;
  /** Relays that live, this one among them. */
  readonly relays: number;
  readonly held: readonly LaneToken[];
  /** Free, or with a lease that has run out. */
  readonly free: readonly LaneToken[];
}

export interface ClaimedLane extends LaneToken {
  /** Whether its last owner never gave it back: it may have died of a message. */
  readonly abandoned: boolean;
}

export interface ReadRequest {
  readonly lane: number;
  /** 0n for the first. */
  readonly after: bigint;
  readonly limit: number;
}

export interface Settlement extends LaneToken {
  /** Published: they are deleted. */
  readonly done: readonly bigint[];
  /** About to be published by a relay that took the lane from one that vanished. */
  readonly started: readonly StartedMessage[];
  readonly failed: readonly FailedMessage[];
  readonly dead: readonly DeadMessage[];
}

export interface StartedMessage {
  readonly seq: bigint;
  /** This start among them: a number, so that it is counted once however often it is written down. */
  readonly starts: number;
}

/** Whoever began with it lives: `starts` is 0 again. */
export interface FailedMessage {
  readonly seq: bigint;
  readonly attempts: number;
  readonly reason: string;
  readonly retryInMs: number;
  /** `stay`: keeps its place, and its key waits. `later`: comes back at the end of its lane. */
  readonly place: 'stay' | 'later';
}

export interface DeadMessage {
  readonly seq: bigint;
  readonly attempts: number;
  readonly cause: DeadCause;
  readonly reason: string;
  /** Whether later messages with its key wait until it is replayed or purged. */
  readonly blocksKey: boolean;
}

/** `crash`: relays died with it again and again. */
export type DeadCause = 'poison' | 'attempts' | 'crash';

export interface Promotion {
  readonly moved: number;
  /** Until the next one is due; undefined when none waits. */
  readonly nextInMs: number | undefined;
}

/** Order is kept per destination and key. */
export interface BlockedKey {
  readonly lane: number;
  readonly target: string;
  readonly address: string;
  readonly key: string;
}

export interface DeadLetter extends StoredMessage {
  readonly cause: DeadCause;
  readonly reason: string;
  readonly diedAtMs: number;
  readonly blocksKey: boolean;
}

/** Of dead letters: all conditions must hold. Without any, all; one that is undefined or unknown is `invalid_request`. */
export interface DeadLetterQuery {
  readonly ids?: readonly string[];
  readonly type?: string;
  readonly cause?: DeadCause;
  readonly diedBeforeMs?: number;
}

export interface DeadLetters {
  /** Oldest first; at most `limit` (1 to 1,000), after the `cursor` of the page before. */
  list(
    query: DeadLetterQuery,
    page: { readonly limit: number; readonly cursor?: string },
  ): Promise<{ readonly items: readonly DeadLetter[]; readonly next: string | undefined }>;
  /** Puts them back where they stood, with the same id and no attempts, at most `limit` (default 1,000). Gives back how many. */
  replay(query: DeadLetterQuery, limit?: number): Promise<number>;
  /** Deletes them, at most `limit` (default 1,000). Gives back how many. */
  purge(query: DeadLetterQuery, limit?: number): Promise<number>;
}

export interface OutboxStats {
  readonly nowMs: number;
  /** In lanes; counted up to 100,000 (`pendingMax`). */
  readonly pending: number;
  /** How long the oldest in a lane has been waiting; undefined when there is none. */
  readonly oldestMs: number | undefined;
  readonly delayed: number;
  readonly dead: number;
  readonly relays: number;
  readonly lanesHeld: number;
}

export const pendingMax = 100_000;
