/**
 * Messages that have to be published one after the other: those of one destination and key, or of one destination.
 *
 * - L1 Of an ordered line one batch is under way at a time, and nothing overtakes a message that failed.
 * - L2 A line keeps a limited number of messages in memory, one that waits only the first. What it passes over it has read
 *      again, from the first of those on: until then it passes over all that come after.
 */
import type { StoredMessage } from '../outbox/message.ts';
import type { Destination } from './destination.ts';
import type { Lane } from './lane.ts';

/** A message in memory. */
export interface Row {
  readonly message: StoredMessage;
  readonly lane: Lane;
  readonly line: Line;
  attempts: number;
  /** How often it was begun with, by relays that were not heard of again. */
  starts: number;
  /** The store knows that it was begun with. */
  isNoted: boolean;
}

/** Whether it has outlived a relay, and may be why that one died. */
export function isSuspect({ starts }: Row): boolean {
  return starts > 0;
}

export class Line {
  readonly destination: Destination;
  /** Undefined: nothing in it waits for anything else. */
  readonly name: string | undefined;
  /** Sorted by `seq`; without those under way. */
  rows: Row[] = [];
  state: LineState = { kind: 'ready' };
  readonly passed = new Passed();

  constructor(destination: Destination, name: string | undefined) {
    this.destination = destination;
    this.name = name;
  }

  get isOrdered(): boolean {
    return this.name !== undefined;
  }

  /** Nothing is left that a later message would have to know of. */
  get isForgettable(): boolean {
    return this.rows.length === 0 && this.state.kind === 'ready' && this.passed.isEmpty;
  }

  /** What commits late comes before what was read before it, unless that is under way. */
  insert(row: Row): void {
    const { seq } = row.message;
    let at = this.rows.length;
    while (this.isOrdered && at > 0 && (this.rows[at - 1]?.message.seq ?? seq) > seq) at--;
    if (at === this.rows.length) this.rows.push(row);
    else this.rows.splice(at, 0, row);
  }
}

/**
 * - `ready`: its messages may go.
 * - `busy`: a batch of it is under way.
 * - `waiting`: for the next attempt of its first message, or until a dead letter is out of the way.
 */
export type LineState =
  | { readonly kind: 'ready' }
  | { readonly kind: 'busy' }
  | { readonly kind: 'waiting'; readonly until: 'retry' | 'dead-letter'; readonly forget: () => void };

/** For each lane the first message that was passed over. */
export class Passed {
  readonly #from = new Map<Lane, bigint>();

  get isEmpty(): boolean {
    return this.#from.size === 0;
  }

  /** Whether a message would overtake one of them. */
  isBefore(seq: bigint): boolean {
    for (const from of this.#from.values()) if (from <= seq) return true;
    return false;
  }

  add(lane: Lane, seq: bigint): void {
    // What he still waited for is passed over too.
    const unread = lane.stopsRereading(this);
    const first = unread !== undefined && unread < seq ? unread : seq;
    const from = this.#from.get(lane);
    if (from === undefined || first < from) this.#from.set(lane, first);
  }

  /** They are read again. */
  reread(): void {
    for (const [lane, seq] of this.#from) lane.rereadFrom(seq, this);
    this.#from.clear();
  }

  /** That lane is another relay's now. */
  leave(lane: Lane): void {
    this.#from.delete(lane);
  }
}
