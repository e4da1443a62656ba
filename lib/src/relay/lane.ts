/**
 * One lane, as the relay that holds it keeps it in memory.
 *
 * - N1 A message that is in memory is not taken in again, however often it is read: until the store has written down what
 *      became of it.
 * - N2 Reading goes on from a cursor. What commits late, with a smaller `seq`, stands behind it: the cursor goes back a
 *      little often, further seldom, and to the start now and then, so that no row is passed over for good.
 * - N3 Who passed messages over, for want of room or because they wait, has them read again; as soon as nobody wants what
 *      has been read before, the cursor goes on from where it had been. So a long row of waiting messages is read once.
 */
import type { Row } from './line.ts';
import type { LaneToken } from './store.ts';

/** How far back the cursor goes, and how often: the longest a transaction may hold a `seq` before its row is seen late. */
const looksBack = [
  { everyMs: 10, backMs: 2_000 },
  { everyMs: 1_000, backMs: 60_000 },
  { everyMs: 30_000, backMs: Number.POSITIVE_INFINITY },
] as const;

/** Positions are noted at most so often, for at most the longest finite look back. */
const noteEveryMs = 500;
const notesMax = 130;

/** After a take-over from a relay that vanished, so many messages are noted down before they are published. */
const carefulMessages = 4_000;

export class Lane implements LaneToken {
  readonly lane: number;
  readonly token: bigint;
  /** In memory: waiting, being published, or not yet written down. */
  readonly rows = new Map<bigint, Row>();
  /** `leaving`: what is under way is ended, and nothing begun. `gone`: nothing of it counts any more. */
  state: 'held' | 'leaving' | 'gone' = 'held';
  /** Read is what comes after. */
  cursor = 0n;
  /** Nothing was left when it was read last, and nothing has told of more since. */
  isAtEnd = false;
  /** Messages still to be noted down before they are published. */
  careful: number;
  /** Written down while a read was under way that may still show them (N1). */
  readonly goneMeanwhile = new Set<bigint>();
  /** As far as it was ever read. */
  #reach = 0n;
  /** For whom it is read again, and up to where (N3). */
  readonly #rereading = new Map<object, bigint>();
  readonly #notes: { readonly atMs: number; readonly cursor: bigint }[] = [];
  readonly #lookedBackAtMs: number[];

  constructor({ lane, token }: LaneToken, isAbandoned: boolean, nowMs: number) {
    this.lane = lane;
    this.token = token;
    this.careful = isAbandoned ? carefulMessages : 0;
    // It begins at the start, which is as far back as can be.
    this.#lookedBackAtMs = looksBack.map(() => nowMs);
  }

  /** The cursor goes back before that message, for somebody who has passed it over (N3). */
  rereadFrom(seq: bigint, who: object): void {
    this.isAtEnd = false;
    if (seq > this.#reach) return;
    this.#rereading.set(who, this.#reach);
    if (seq <= this.cursor) this.cursor = seq - 1n;
  }

  /** Whether somebody waits for what was passed over. */
  get isReread(): boolean {
    return this.#rereading.size > 0;
  }

  /**
   * Somebody passes messages over again: what follows is not read for him. Gives back the first message that was not yet read
   * again, if he was waiting for any.
   */
  stopsRereading(who: object): bigint | undefined {
    const next = this.cursor + 1n;
    if (!this.#rereading.delete(who)) return undefined;
    if (this.#rereading.size === 0) this.cursor = this.#reach;
    return next;
  }

  /**
   * There may be more: behind the cursor, and before it (N2). Looking back waits for its time, and while there is a backlog
   * only the far looks are made: gives back in how many milliseconds to look again, if this time it did not look back.
   */
  look(nowMs: number): number | undefined {
    const wasAtEnd = this.isAtEnd;
    this.isAtEnd = false;
    let hasLookedBack = false;
    for (const [i, { everyMs, backMs }] of looksBack.entries()) {
      const isTime = nowMs - (this.#lookedBackAtMs[i] ?? 0) >= everyMs;
      if (!isTime || (!wasAtEnd && Number.isFinite(backMs))) continue;
      this.#lookedBackAtMs[i] = nowMs;
      hasLookedBack = true;
      const back = this.#cursorAt(nowMs - backMs);
      if (back < this.cursor) this.rereadFrom(back + 1n, this);
    }
    return hasLookedBack ? undefined : looksBack[0].everyMs;
  }

  /** Nothing is left behind the cursor. */
  hasEnded(): void {
    this.isAtEnd = true;
    this.#rereading.clear();
    if (this.#reach > this.cursor) this.cursor = this.#reach;
  }

  /** Read up to here. */
  advance(to: bigint, nowMs: number): void {
    if (to > this.cursor) this.cursor = to;
    for (const [who, until] of this.#rereading) if (until <= to) this.#rereading.delete(who);
    if (to <= this.#reach) return;
    this.#reach = to;
    const last = this.#notes.at(-1);
    if (last !== undefined && nowMs - last.atMs < noteEveryMs) return;
    this.#notes.push({ atMs: nowMs, cursor: to });
    if (this.#notes.length > notesMax) this.#notes.shift();
  }

  /** Where the cursor stood at that time; the start where nobody knows. */
  #cursorAt(atMs: number): bigint {
    return this.#notes.findLast((note) => note.atMs <= atMs)?.cursor ?? 0n;
  }
}
