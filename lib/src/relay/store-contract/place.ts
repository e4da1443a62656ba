/** What a store has to come with to be held to the contract. */
import type { StoredMessage } from '../../outbox/message.ts';
import type { MaybePromise } from '../../util/maybe-promise.ts';
import type { RelayStore } from '../store.ts';

/** A store with nothing in it, and what happens to its place from outside. */
export interface ContractPlace {
  readonly store: RelayStore;
  /** Writes messages, in this order, in a transaction of their own. */
  write(messages: readonly NewMessage[]): Promise<void>;
  /** Begins a transaction that writes and stays open. */
  readonly begin?: () => Promise<OpenWriter>;
  /** Begins a transaction that has read, and stays open until it is told to end. */
  readonly readLong?: () => Promise<{ end(): Promise<void> }>;
  /** The database's clock goes on: what is stored becomes older. */
  pass(ms: number): Promise<void>;
  /** Makes the next message of a lane have this number, or a greater one. */
  readonly continueFrom?: (seq: bigint) => Promise<void>;
  /** Gives every lane this token. */
  readonly setTokens?: (token: bigint) => Promise<void>;
  readonly dedup?: DedupKeys;
  /** Makes the tables those of a version that comes after all that are known. */
  readonly makeNewer?: () => Promise<void>;
  readonly dropTables?: () => Promise<void>;
  /** Called after the fact is checked, whatever came out. */
  dispose?(): MaybePromise<unknown>;
}

export interface DedupKeys {
  /** Writes them down, as of now. */
  remember(dedupKeys: readonly string[]): Promise<void>;
  remembered(): Promise<readonly string[]>;
}

export interface OpenWriter {
  write(messages: readonly NewMessage[]): Promise<void>;
  commit(): Promise<void>;
}

export interface NewMessage extends Omit<
  StoredMessage,
  'seq' | 'createdAtMs' | 'attempts' | 'starts' | 'dueAtMs'
> {
  /** For the delay, due after so many milliseconds. Undefined: for its lane. */
  readonly delayMs: number | undefined;
}

/**
 * What a place may not have, and what the skipped facts then are told to be skipped for.
 * - `writers`: several transactions that write at once (`begin`).
 * - `readers`: a transaction that reads while others write (`readLong`).
 * - `tables`: `makeNewer` and `dropTables`.
 * - `numbers`: `continueFrom` and `setTokens`.
 * - `dedup`: keys of messages that must not be sent twice.
 * - `clock`: a clock that is not this process's.
 */
export type Lack = 'writers' | 'readers' | 'tables' | 'numbers' | 'dedup' | 'clock';
