/**
 * Reads lanes ahead of the publishers: one statement for all of them, one at a time, as far as there is room.
 *
 * - A1 What a read shows of a lane whose cursor has moved meanwhile does not count: messages would come out of order.
 * - A2 A wake-up that comes while a read is under way is not lost: there may be more than that read could see.
 */
import { backoffMs, type RelayClock } from './clock.ts';
import type { Lane } from './lane.ts';
import type { RelayLimits } from './options.ts';
import type { StoredMessage } from '../outbox/message.ts';
import type { RelayStore } from './store.ts';
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
  readonly resolve: () => void;
}

/** A read is worth it from so large a part of all room on. */
const roomPart = 4;
/** Of each lane at least so many rows, although there may not be room for all. */
const rowsPerLaneMin = 4;
/** Reading on for others, past messages that there is no room for, takes at most this part of the time. */
const passingPart = 10;

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
  /** Of a payload; so small at first that the first read is not too large for what they may be. */
  #bytes: number;

  constructor(ports: ReaderPorts) {
    this.#ports = ports;
    this.#bytes = ports.limits.bytesMax / 200;
  }

  /** It has read everything there is, and no look is due. */
  get isIdle(): boolean {
    if (this.isReading || this.#pausing !== undefined || this.isDirty) return false;
    for (const lane of this.#ports.lanes()) if (lane.state === 'held' && !lane.isAtEnd) return false;
    return true;
  }

  /** Resolves once every lane that is held now was read, by a read that begins from now on. */
  whenRead(): Promise<void> {
    return new Promise((resolve) => {
      this.#asking.push({ left: new Set(this.#ports.lanes()), resolve });
    });
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
    if (work.room * roomPart < limits.messagesMax) return;
    const room = Math.min(work.room, limits.bytesMax / this.#bytes);
    const perLane = this.#ports.isMerged ? room : room / asked.length;
    const limit = Math.ceil(Math.max(rowsPerLaneMin, Math.min(perLane, limits.messagesMax / roomPart)));
    void this.#read(asked, limit);
  }

  async #read(lanes: readonly Lane[], limit: number): Promise<void> {
    const { store, clock, done, failed, random } = this.#ports;
    this.isReading = true;
    this.isDirty = false;
    const requests = lanes.map(({ lane, cursor }) => ({ lane, after: cursor, limit }));
    for (const lane of lanes) lane.goneMeanwhile.clear();
    const startedMs = clock.now();
    const asking = [...this.#asking];
    try {
      const messages = await store.read(requests);
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

  #pause(why: 'failed' | 'passing', delayMs: number): void {
    this.#pausing = why;
    this.#ports.clock.schedule(Math.max(1, Math.ceil(delayMs)), () => {
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
    // Of a lane that may have more, nothing is known beyond its last row: others wait for it.
    let until: bigint | undefined;
    if (isMerged) {
      for (const [i, { lane }] of lanes.entries()) {
        const rows = byLane.get(lane) ?? [];
        const last = rows.at(-1)?.seq;
        const mayHaveMore = last !== undefined && rows.length >= (requests[i]?.limit ?? 0);
        if (mayHaveMore && (until === undefined || last < until)) until = last;
      }
    }
    const ended: Lane[] = [];
    const taken: { readonly lane: Lane; readonly message: StoredMessage }[] = [];
    let bytes = 0;
    for (const [i, lane] of lanes.entries()) {
      const request = requests[i];
      // A1
      if (request === undefined || lane.state !== 'held' || lane.cursor !== request.after) continue;
      const rows = byLane.get(lane.lane) ?? [];
      for (const message of rows) {
        bytes += message.payload.length;
        if (until === undefined || message.seq <= until) taken.push({ lane, message });
      }
      const isCut = until !== undefined && rows.some(({ seq }) => until !== undefined && seq > until);
      if (rows.length < request.limit && !isCut && !this.isDirty) ended.push(lane);
    }
    if (isMerged) taken.sort((a, b) => (a.message.seq < b.message.seq ? -1 : 1));
    const atMs = nowMs();
    for (const { lane, message } of taken) {
      const fate = work.accept(lane, message, atMs);
      if (fate === 'kept') count.kept++;
      if (fate === 'passed') count.passed++;
      lane.advance(message.seq, clock.now());
    }
    for (const lane of ended) lane.hasEnded();
    if (messages.length > 0) this.#bytes = Math.max(256, this.#bytes / 2, bytes / messages.length);
    return count;
  }
}
