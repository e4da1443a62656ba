/**
 * Reads lanes ahead of the publishers: one statement for all of them, one at a time, as far as there is room.
 *
 * - A1 What a read shows of a lane whose cursor has moved meanwhile does not count: messages would come out of order.
 * - A2 A wake-up that comes while a read is under way is not lost: there may be more than that read could see.
 */
import { backoffMs, type RelayClock } from './clock.ts';
import type { Lane } from './lane.ts';
import type { RelayLimits } from './options.ts';
import { laneCount, type StoredMessage } from '../outbox/message.ts';
import { planted } from '../util/planted-bug.ts';
import type { ReadRequest, RelayStore } from './store.ts';
import type { Work } from './work.ts';

export interface ReaderPorts {
  readonly store: Pick<RelayStore, 'read'>;
  readonly clock: RelayClock;
  readonly random: () => number;
  readonly limits: RelayLimits;
  /** All lanes are one, in the order of `seq`. */
  readonly isMerged: boolean;
  readonly lanes: () => Iterable<Lane>;
  /** By the clock of the database. */
  readonly nowMs: () => number;
  readonly work: Pick<Work, 'accept' | 'room'>;
  /** Told how many new messages a read has found. */
  readonly done: (found: number) => void;
  readonly failed: (error: unknown) => void;
}

/** Whoever wants to know when these lanes were read. */
interface Asking {
  readonly left: Set<Lane>;
  readonly answered: Promise<void>;
  readonly resolve: () => void;
}

function asking(): Asking {
  const { promise, resolve } = Promise.withResolvers<void>();
  return { left: new Set(), answered: promise, resolve };
}

/** A read is worth it from so large a part of all room on. */
const roomPart = 4;
/** Of each lane at least so many rows, although there may not be room for all. */
const rowsPerLaneMin = 4;
/** Reading on for others, past messages that there is no room for, takes at most this part of the time. */
const passingPart = 10;

/** Late messages that one read finds in a lane, besides those in memory; those passed over a moment ago count among them. */
const lateMax = 200;

const again = { baseMs: 50, maxMs: 2_000 };

export class Reader {
  readonly #ports: ReaderPorts;
  isReading = false;
  /** There may be more than a read under way can see (A2). */
  isDirty = false;
  /** `failed`: the store is left alone. `passing`: there is only what there is no room for. */
  #pausing: 'failed' | 'passing' | undefined;
  #failures = 0;
  #asking: Asking[] = [];
  /** Those who asked since the last read began. */
  #next: Asking | undefined;
  /** Where the next read begins, if it is not of all lanes. */
  #turn = 0;
  /** Of a payload; so small at first that the first read is not too large for what they may be. */
  #bytes: number;

  constructor(ports: ReaderPorts) {
    this.#ports = ports;
    this.#bytes = ports.limits.bytesMax / (laneCount * rowsPerLaneMin);
  }

  /** It has read everything there is, and no look is due. */
  get isIdle(): boolean {
    if (this.isReading || this.#pausing !== undefined || this.isDirty) return false;
    for (const lane of this.#ports.lanes()) if (lane.state === 'held' && !lane.isAtEnd) return false;
    return true;
  }

  /** Resolves once every lane that is held now was read, by a read that begins from now on. */
  whenRead(): Promise<void> {
    // All who ask before the next read begins are answered by the same reads.
    this.#next ??= asking();
    for (const lane of this.#ports.lanes()) this.#next.left.add(lane);
    if (this.#next.left.size > 0) return this.#next.answered;
    this.#next = undefined;
    return Promise.resolve();
  }

  #hasRead(asking: readonly Asking[], lanes: readonly Lane[]): void {
    for (const { left } of asking) for (const lane of lanes) left.delete(lane);
    this.#asking = this.#asking.filter(({ left, resolve }) => {
      for (const lane of left) if (lane.state !== 'held') left.delete(lane);
      if (left.size === 0) resolve();
      return left.size > 0;
    });
  }

  /** Reads if it is worth it. */
  read(): void {
    if (this.isReading || this.#pausing === 'failed') return;
    const lanes = [...this.#ports.lanes()].filter(({ state }) => state === 'held');
    const asked = this.#ports.isMerged ? lanes : lanes.filter(({ isAtEnd }) => !isAtEnd);
    if (lanes.every(({ isAtEnd }) => isAtEnd) || asked.length === 0) {
      this.isDirty = false;
      return;
    }
    // Whoever has room again does not wait for a pause.
    if (this.#pausing !== undefined && !asked.some(({ isReread }) => isReread)) return;
    const { work, limits } = this.#ports;
    const { room } = work;
    if (room * roomPart < 1) return;
    const rows = room * limits.messagesMax;
    const rowsByBytes = (room * limits.bytesMax) / this.#bytes;
    const chosen = this.#ports.isMerged ? asked : this.#inTurn(asked, rowsByBytes / rowsPerLaneMin);
    const perLane = this.#ports.isMerged ? rows : rows / chosen.length;
    const wanted = Math.max(rowsPerLaneMin, Math.min(perLane, limits.messagesMax / roomPart));
    void this.#read(chosen, Math.ceil(Math.min(wanted, rowsByBytes / chosen.length)));
  }

  /** Where payloads are large, there is no room for some of all lanes: so many of them, others the next time. */
  #inTurn(lanes: readonly Lane[], most: number): readonly Lane[] {
    if (most >= lanes.length) return lanes;
    const start = this.#turn % lanes.length;
    const count = Math.max(1, Math.floor(most));
    this.#turn = start + count;
    return [...lanes.slice(start), ...lanes.slice(0, start)].slice(0, count);
  }

  async #read(lanes: readonly Lane[], limit: number): Promise<void> {
    const { store, clock, done, failed, random } = this.#ports;
    this.isReading = true;
    this.isDirty = false;
    const requests = lanes.map(({ lane, cursor }) => ({ lane, after: cursor, limit }));
    const late = planted('cursor-by-sequence') ? [] : lanes.flatMap((lane) => this.#lateRequest(lane));
    for (const lane of lanes) lane.beginsReading(this.#ports.nowMs());
    const startedMs = clock.now();
    if (this.#next !== undefined) this.#asking.push(this.#next);
    this.#next = undefined;
    const asking = [...this.#asking];
    try {
      const messages = await store.read([...late, ...requests]);
      this.isReading = false;
      this.#failures = 0;
      const valid = lanes.filter(({ state, cursor }, i) => state === 'held' && cursor === requests[i]?.after);
      const { kept, passed } = this.#take(lanes, requests, messages);
      this.#hasRead(asking, valid);
      if (passed > 0 && kept === 0) this.#pause('passing', (clock.now() - startedMs) * passingPart);
      done(kept);
    } catch (error) {
      this.isReading = false;
      failed(error);
      this.#pause('failed', backoffMs(++this.#failures, again, random));
      done(0);
    }
  }

  /** For messages that commit late: in the same statement, so that whoever sees a later one sees them too (N2). */
  #lateRequest(lane: Lane): readonly ReadRequest[] {
    const after = lane.lateAfter;
    if (after === undefined) return [];
    let known = 0;
    for (const seq of lane.rows.keys()) if (seq > after && seq <= lane.cursor) known++;
    const most = Math.ceil(this.#ports.limits.bytesMax / this.#bytes / laneCount);
    return [{ lane: lane.lane, after, limit: known + Math.min(lateMax, most) }];
  }

  #pause(why: 'failed' | 'passing', delayMs: number): void {
    this.#pausing = why;
    const { clock, limits } = this.#ports;
    const longest = why === 'passing' ? limits.pollMaxMs : delayMs;
    clock.schedule(Math.max(1, Math.ceil(Math.min(delayMs, longest))), () => {
      this.#pausing = undefined;
      this.#ports.done(0);
    });
  }

  #take(
    lanes: readonly Lane[],
    requests: readonly { readonly after: bigint; readonly limit: number }[],
    messages: readonly StoredMessage[],
  ): { kept: number; passed: number } {
    const { work, nowMs, clock, isMerged } = this.#ports;
    const count = { kept: 0, passed: 0 };
    const byLane = Map.groupBy(messages, ({ lane }) => lane);
    const found = lanes.flatMap((lane, i) => {
      const request = requests[i];
      // A1
      if (request === undefined || lane.state !== 'held' || lane.cursor !== request.after) return [];
      const rows = inOrder(byLane.get(lane.lane) ?? []);
      lane.hasRead(request.after);
      const isLast = rows.filter(({ seq }) => seq > request.after).length < request.limit;
      return [{ lane, rows, isLast }];
    });
    // Of a lane that is left out nothing is known: others would overtake it.
    if (isMerged && found.length < lanes.length) return count;
    const until = isMerged ? knownUntil(found) : undefined;
    const taken: { readonly lane: Lane; readonly message: StoredMessage }[] = [];
    const ended: Lane[] = [];
    let bytes = 0;
    for (const { lane, rows, isLast } of found) {
      let isCut = false;
      for (const message of rows) {
        bytes += message.payload.length;
        if (until === undefined || message.seq <= until) taken.push({ lane, message });
        else isCut = true;
      }
      if (isLast && !isCut && !this.isDirty) ended.push(lane);
    }
    if (isMerged) taken.sort((a, b) => (a.message.seq < b.message.seq ? -1 : 1));
    const atMs = nowMs();
    for (const { lane, message } of taken) {
      const fate = work.accept(lane, message, atMs);
      if (fate === 'kept') count.kept++;
      if (fate === 'passed') count.passed++;
      lane.advance(message.seq, message.createdAtMs, clock.now());
    }
    for (const lane of ended) lane.hasEnded();
    if (messages.length > 0) this.#bytes = Math.max(256, this.#bytes / 2, bytes / messages.length);
    return count;
  }
}

interface Found {
  readonly rows: readonly StoredMessage[];
  /** There are no more of the lane. */
  readonly isLast: boolean;
}

/** Each once: what is late is asked for besides what is new, and may overlap it. */
function inOrder(rows: readonly StoredMessage[]): readonly StoredMessage[] {
  let last = 0n;
  const isInOrder = rows.every(({ seq }) => {
    const isAfter = seq > last;
    last = seq;
    return isAfter;
  });
  if (isInOrder) return rows;
  const bySeq = new Map(rows.map((row) => [row.seq, row]));
  return [...bySeq.values()].toSorted((a, b) => (a.seq < b.seq ? -1 : 1));
}

/** Of a lane that may have more, nothing is known beyond its last row: others wait for it. */
function knownUntil(found: readonly Found[]): bigint | undefined {
  let until: bigint | undefined;
  for (const { rows, isLast } of found) {
    const last = rows.at(-1)?.seq;
    if (!isLast && last !== undefined && (until === undefined || last < until)) until = last;
  }
  return until;
}
