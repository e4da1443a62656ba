/** One publisher, with all destinations it serves, and the lines that wait for their turn with it. */
import { Destination } from './destination.ts';
import { isSuspect, Passed, type Line, type Row } from './line.ts';
import type { RelayLimits } from './options.ts';
import type { Publisher } from './publisher.ts';

/** What a batch may have in it. */
export interface May {
  /** A message that has outlived a relay. */
  readonly maySuspect: boolean;
  /** A message that tries its destination. */
  readonly mayProbe: boolean;
}

export class Outlet {
  readonly target: string;
  /** Undefined: this relay has none of that name. */
  readonly publisher: Publisher | undefined;
  readonly destinations = new Map<string, Destination>();
  /** Those whose messages may go; the one that waits longest first. */
  readonly queue = new Set<Line>();
  /** Messages of it in memory, and the characters of their payloads. */
  kept = 0;
  bytes = 0;
  /** Passed over for want of room. */
  readonly passed = new Passed();
  /** Calls under way, and those among them that try a destination. */
  flights = 0;
  probes = 0;

  constructor(target: string, publisher: Publisher | undefined) {
    this.target = target;
    this.publisher = publisher;
  }

  /** How much of what it may keep in memory is taken: 1 is all. */
  fill({ messagesMax, bytesMax }: Pick<RelayLimits, 'messagesMax' | 'bytesMax'>): number {
    return Math.max(this.kept / messagesMax, this.bytes / bytesMax);
  }

  destination(address: string): Destination {
    const known = this.destinations.get(address);
    if (known !== undefined) return known;
    const destination = new Destination(this, address);
    this.destinations.set(address, destination);
    return destination;
  }

  /** To be called after every change of a line: what it means for whether it is queued, and remembered. */
  hasChanged(line: Line): void {
    const { destination, name, rows, state } = line;
    const mayGo = state.kind === 'ready' && rows.length > 0 && destination.state.kind !== 'held';
    if (mayGo) this.queue.add(line);
    else this.queue.delete(line);
    // Only itself: rows of a line that was forgotten may still be with the settler when there is a new one of its name.
    if (name !== undefined && line.isForgettable && destination.lines.get(name) === line) {
      destination.lines.delete(name);
    }
    const { address } = destination;
    if (destination.isForgettable && this.destinations.get(address) === destination) {
      this.destinations.delete(address);
    }
  }

  /** The messages to publish next, out of their lines; empty when there are none. */
  take(batchMax: number, { maySuspect, mayProbe }: May): Row[] {
    if (this.publisher === undefined) return [];
    const max = Math.min(batchMax, this.publisher.batchMax ?? batchMax);
    const perLine = this.publisher.order === 'each-alone' ? 1 : max;
    const batch: Row[] = [];
    let later: Line | undefined;
    for (const line of this.queue) {
      const [first] = line.rows;
      const { destination } = line;
      if (first === undefined || (isSuspect(first) && !maySuspect)) continue;
      if (destination.state.kind === 'probing') {
        if (!mayProbe || destination.flying > 0 || batch.length > 0) continue;
        // It is tried with a message that is not in doubt, if there is one.
        if (destination.isAlone(first)) {
          later ??= line;
          continue;
        }
        this.#take(line, 1, batch);
        break;
      }
      if (destination.isAlone(first)) {
        if (batch.length > 0) continue;
        this.#take(line, 1, batch);
        break;
      }
      const room = Math.min(line.isOrdered ? perLine : max, max - batch.length, line.rows.length);
      let count = 1;
      while (count < room && mayFollow(line, first, line.rows[count])) count++;
      this.#take(line, count, batch);
      if (batch.length >= max) break;
    }
    if (batch.length === 0 && later !== undefined) this.#take(later, 1, batch);
    return batch;
  }

  #take(line: Line, count: number, batch: Row[]): void {
    for (const row of line.rows.splice(0, count)) batch.push(row);
    line.destination.flying += count;
    if (line.isOrdered) line.state = { kind: 'busy' };
    // The others have their turn before it comes again.
    this.queue.delete(line);
    this.hasChanged(line);
  }
}

/** Whether it may go in the same call: of different keys, publishers keep no order. */
function mayFollow({ isOrdered, destination }: Line, first: Row, next: Row | undefined): boolean {
  if (next === undefined || destination.isAlone(next)) return false;
  const { key } = next.message;
  return !isOrdered || (key !== undefined && key === first.message.key);
}
