/** What is different from one database to the next in the statements of a relay. */
import type { SqlValue } from '../../util/sql.ts';
import type { ReadRequest, Settlement } from '../store.ts';

export interface Statement {
  readonly sql: string;
  readonly values: readonly SqlValue[];
}

export interface Words {
  /** Milliseconds since 1970 by the clock of the database, for one statement the same wherever it stands in it. */
  readonly nowMs: string;
  /** The nth parameter, from 1 on. Each is used once, and in order. */
  readonly parameter: (n: number) => string;
  /** A whole number of 64 bits as text: no driver's number holds it exactly. */
  readonly exactly: (expression: string) => string;
  /** Makes two texts differ that differ in a byte, also where a collation passes over spaces at their ends. */
  readonly bytes: (expression: string) => string;
  /** After a table: reads it by this index, also when the optimizer takes the table for small. */
  readonly through: (index: string) => string;
  /** Locks the rows that a select chooses, until the end of the transaction. */
  readonly locked: string;
  /** The same, except for those that others have locked. */
  readonly lockedUnlessInUse: string;
  /** A table of what the first parameter, a JSON list of objects, holds. Is called `given`. */
  readonly given: (columns: GivenColumns) => string;
  /** A join of a table with `given`, by lane and number, that never reads more of the table than is given. */
  readonly givenIn: (table: string, columns: GivenColumns) => string;
  /** Deletes of the table what is given, by lane and number. */
  readonly deleteGiven: (table: string) => string;
  /** Updates of the messages (`o`) what is given. */
  readonly updateGiven: (set: string, columns: GivenColumns) => string;
  /** Messages of several lanes, each from its floor on and in order, in one round trip and by the index alone. */
  readonly read: (requests: readonly ReadRequest[]) => Statement;
  /** Deletes what is done, where the token of the lane stands, and tells of the lanes where it does not. */
  readonly deleteDone: (settlements: readonly Settlement[]) => DeleteDone;
  /** Deletes the dedup keys of messages that are older than the first parameter says, at most as many as the second. */
  readonly pruneDedup: (olderThanMs: number, limit: number) => Statement;
}

export type GivenColumns = Readonly<Record<string, 'whole' | 'text'>>;

/**
 * - `tells`: its rows are the lanes whose token does not stand.
 * - `counts`: it says how many it deleted; only where those are fewer than there were, lanes may be lost.
 */
export interface DeleteDone extends Statement {
  readonly answer: 'tells' | 'counts';
}

/** What a message is known by, in a list of `given`. */
export const place = { lane: 'whole', seq: 'whole' } as const;

/** Of a message, in the order in which they are copied from table to table; without place, attempts, and what became of it. */
export const contents = 'id, target, aggregatetype, aggregateid, type, payload, version, headers, created_at';

/** What `messageOf` reads. Names without underscores: a driver may have been told to change those. */
export function messageColumns({ exactly }: Pick<Words, 'exactly'>): string {
  return `lane, ${exactly('seq')} as seq, id, type, version, target, aggregatetype as address, aggregateid as keyed,
    payload, headers, ${exactly('created_at')} as created, attempts, starts, ${exactly('due_at')} as due`;
}
