/**
 * One lane, as the relay that holds it keeps it in memory.
 *
 * - N1 A message that is in memory is not taken in again, however often it is read: until the store has written down what
 *      became of it.
 * - N2 Reading goes on from a cursor. What commits late, with a smaller `seq`, stands behind it. So every read looks also at
 *      what was numbered in the last moments: what it shows of a key is complete, and in order, as long as transactions commit
 *      so soon after they have written their messages. For what commits later still, the cursor goes back now and then, in
 *      the end to the start: no row is passed over for good.
 * - N3 Who passed messages over, for want of room or because they wait, has them read again; as soon as nobody wants what
 *      has been read before, the cursor goes on from where it had been. So a long row of waiting messages is read once.
 */
import type { Row } from './line.ts';
import type { LaneToken } from './store.ts';

/** Milliseconds between the number of a message and its commit for which the order of its key holds. */
export const commitsWithinMs = 2_000;

/** How far back the cursor goes for what commits later, and how often. */
const looksBack = [
  { everyMs: 1_000, backMs: 60_000 },
  { everyMs: 30_000, backMs: Number.POSITIVE_INFINITY },
] as const;

/** By their times, messages are noted at most so often: a look at the last moments reaches back so much further. */
const timeNoteEveryMs = 100;
const timeNotesMax = 15_000 / timeNoteEveryMs;

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
  /** Gone while a read was under way that may still show them (N1). */
  readonly goneMeanwhile = new Set<bigint>();
  /** Failed, and that is not yet written down, or only since a read is under way: what is read of them is old. */
  readonly unwritten = new Set<bigint>();
  readonly writtenMeanwhile = new Set<bigint>();
  /** As far as it was ever read. */
  #reach = 0n;
  /** For whom it is read again, and up to where (N3). */
  readonly #rereading = new Map<object, bigint>();
  readonly #notes: { readonly atMs: number; readonly cursor: bigint }[] = [];
  readonly #lookedBackAtMs: number[];
  readonly #timeNotes: { readonly atMs: number; readonly seq: bigint }[] = [];
  /** When the youngest message that was read was numbered. */
  #youngestMs = Number.NEGATIVE_INFINITY;
  /** When that read began which last saw all there was up to the reach, and the one that is under way. */
  #seenMs = Number.NEGATIVE_INFINITY;
  #beganMs = Number.NEGATIVE_INFINITY;

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

  /** There may be more: behind the cursor, and before it if it is time (N2); while there is a backlog, only the far look is made. */
  look(nowMs: number): void {
    const wasAtEnd = this.isAtEnd;
    this.isAtEnd = false;
    for (const [i, { everyMs, backMs }] of looksBack.entries()) {
      const isTime = nowMs - (this.#lookedBackAtMs[i] ?? 0) >= everyMs;
      if (!isTime || (!wasAtEnd && Number.isFinite(backMs))) continue;
      this.#lookedBackAtMs[i] = nowMs;
      const back = this.#cursorAt(nowMs - backMs);
      if (back < this.cursor) this.rereadFrom(back + 1n, this);
    }
  }

  /**
   * After which message a read has to look for late ones too (N2): what was numbered so shortly before the last one that it may
   * not have been committed then. Undefined when all before the cursor are too old for that.
   */
  get lateAfter(): bigint | undefined {
    const safeMs = this.#seenMs - commitsWithinMs;
    if (safeMs >= this.#youngestMs) return undefined;
    const safe = this.#timeNotes.findLast(({ atMs }) => atMs <= safeMs)?.seq ?? 0n;
    return safe < this.cursor ? safe : undefined;
  }

  /** What is read from now on, by the time of the database, shows all that is written. */
  beginsReading(databaseMs: number): void {
    this.#beganMs = databaseMs;
    this.goneMeanwhile.clear();
    this.writtenMeanwhile.clear();
  }

  /** Whether what was read of that message may be older than what is known of it. */
  isOutdated(seq: bigint): boolean {
    return this.unwritten.has(seq) || this.writtenMeanwhile.has(seq);
  }

  /** What that read has shown counts. One of what was passed over may not have come as far as others had. */
  hasRead(after: bigint): void {
    if (after >= this.#reach) this.#seenMs = this.#beganMs;
  }

  /** Nothing is left behind the cursor. */
  hasEnded(): void {
    this.isAtEnd = true;
    this.#seenMs = this.#beganMs;
    this.#rereading.clear();
    if (this.#reach > this.cursor) this.cursor = this.#reach;
  }

  /** Read up to this message, which was numbered at that time of the database. */
  advance(to: bigint, createdAtMs: number, nowMs: number): void {
    if (to > this.cursor) this.cursor = to;
    for (const [who, until] of this.#rereading) if (until <= to) this.#rereading.delete(who);
    if (to <= this.#reach) return;
    this.#reach = to;
    this.#noteTime(to, createdAtMs);
    const last = this.#notes.at(-1);
    if (last !== undefined && nowMs - last.atMs < noteEveryMs) return;
    this.#notes.push({ atMs: nowMs, cursor: to });
    if (this.#notes.length > notesMax) this.#notes.shift();
  }

  #noteTime(seq: bigint, atMs: number): void {
    if (atMs > this.#youngestMs) this.#youngestMs = atMs;
    const last = this.#timeNotes.at(-1);
    if (last !== undefined && atMs - last.atMs < timeNoteEveryMs) return;
    this.#timeNotes.push({ atMs, seq });
    if (this.#timeNotes.length > timeNotesMax) this.#timeNotes.shift();
  }

  /** Where the cursor stood at that time; the start where nobody knows. */
  #cursorAt(atMs: number): bigint {
    return this.#notes.findLast((note) => note.atMs <= atMs)?.cursor ?? 0n;
  }
}
