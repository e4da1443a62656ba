/**
 * What a relay does with the messages of its lanes: takes them in, gives them to publishers, and has written down what became
 * of them. Owns everything between a row that was read and a row that is settled; who holds lanes, and when to read, is not
 * its matter. Nothing in it waits: publishers and the store call back.
 *
 * - R1 A message counts as published only when its publisher says so, and leaves the table only then.
 * - R2 What fails holds up its own line, and nothing else; a destination that takes nothing holds up its own lines.
 * - R3 Every message in memory is either in a line, under way, or with the settler.
 */
import type { StoredMessage } from '../outbox/message.ts';
import { planted } from '../util/planted-bug.ts';
import { backoffMs, type RelayClock } from './clock.ts';
import { DeadLines } from './dead-lines.ts';
import type { Destination } from './destination.ts';
import type { RelayEvent } from './events.ts';
import type { Lane } from './lane.ts';
import { isSuspect, type Line, type Row } from './line.ts';
import type { Ordering, RelayLimits, RelayRetry } from './options.ts';
import { outgoingOf } from './outgoing.ts';
import { Outlet } from './outlet.ts';
import { publishCall } from './publish-call.ts';
import type { Publisher, PublishResult } from './publisher.ts';
import { Settler, type Fate } from './settler.ts';
import { Starts } from './starts.ts';
import type { BlockedKey, DeadCause, RelayStore } from './store.ts';

export interface WorkPorts {
  readonly store: Pick<RelayStore, 'settle'>;
  readonly publishers: readonly Publisher[];
  readonly ordering: Ordering;
  readonly onDead: 'skip' | 'block-key';
  readonly retry: RelayRetry;
  readonly limits: RelayLimits;
  readonly clock: RelayClock;
  readonly random: () => number;
  /** Whether the leases of the lanes still run, so that nobody else publishes from them. */
  readonly mayPublish: () => boolean;
  readonly lost: (lane: Lane) => void;
  /** Something has changed: there may be room, or nothing left to do. */
  readonly changed: () => void;
  /** A message waits outside of its lane for so many milliseconds. */
  readonly postponed: (delayMs: number) => void;
  readonly tell: (event: RelayEvent) => void;
}

export class Work {
  readonly #ports: WorkPorts;
  readonly #outlets = new Map<string, Outlet>();
  readonly #settler: Settler;
  readonly #starts: Starts;
  readonly #flights = new Set<AbortController>();
  readonly #deadLines = new DeadLines();
  /** One message at a time that has outlived a relay: if this one dies too, it is known of what. */
  #isSuspectFlying = false;
  #isStopped = false;
  published = 0;
  failed = 0;
  dead = 0;

  constructor(ports: WorkPorts) {
    this.#ports = ports;
    for (const publisher of ports.publishers) {
      this.#outlets.set(publisher.name, new Outlet(publisher.name, publisher));
    }
    this.#settler = new Settler({
      ...ports,
      written: (lane, fates) => this.#written(lane, fates),
      failed: (error) => ports.tell({ kind: 'warning', code: 'store_unavailable', error: errorOf(error) }),
    });
    this.#starts = new Starts(this.#settler);
  }

  /** Nothing is under way, neither to a broker nor to the store. */
  get isIdle(): boolean {
    return this.#flights.size === 0 && this.#settler.isIdle;
  }

  /** How much of its memory is free, from 0 to 1: as much as the publisher has that takes most; 0 if it would pass all over. */
  get room(): number {
    let room = 0;
    for (const outlet of this.#outlets.values()) {
      if (outlet.publisher !== undefined) room = Math.max(room, 1 - outlet.fill(this.#ports.limits));
    }
    return room;
  }

  // ---- taking in

  /** A row that was read. `passed`: there was no room for it; it will be read again. */
  accept(lane: Lane, message: StoredMessage, nowMs: number): 'kept' | 'known' | 'waits' | 'passed' {
    const { seq } = message;
    if (lane.state !== 'held' || lane.rows.has(seq) || lane.goneMeanwhile.has(seq)) return 'known';
    const outlet = this.#outlet(message.target);
    if (outlet.publisher === undefined) return this.#pass(outlet, lane, seq, 'waits');
    if (outlet.passed.isBefore(seq) || outlet.fill(this.#ports.limits) >= 1) {
      return this.#pass(outlet, lane, seq, 'passed');
    }
    const destination = outlet.destination(message.address);
    const name = this.#lineName(message);
    if (destination.passed.isBefore(seq) || !destination.hasRoomFor(name)) {
      return this.#pass(destination, lane, seq, 'waits');
    }
    const line = destination.line(name);
    if (this.#isBehindDeadLetter(line)) this.#waitForDeadLetter(line);
    if (line.state.kind === 'waiting' || lane.isOutdated(seq)) return this.#pass(line, lane, seq, 'waits');
    if (line.passed.isBefore(seq) || line.rows.length >= this.#lineMax(line)) {
      return this.#pass(line, lane, seq, 'passed');
    }
    const { attempts, starts } = message;
    const row: Row = { message, lane, line, attempts, starts, isNoted: false };
    lane.rows.set(seq, row);
    outlet.kept++;
    outlet.bytes += message.payload.length;
    destination.kept++;
    if (message.starts >= this.#ports.limits.crashesMax) {
      this.#giveUp(
        row,
        'crash',
        `${message.starts} relays were not heard of again after they had begun with it`,
      );
      if (this.#isBehindDeadLetter(line)) this.#waitForDeadLetter(line);
      return 'kept';
    }
    line.insert(row);
    const dueInMs = message.dueAtMs === undefined ? 0 : message.dueAtMs - nowMs;
    if (line.isOrdered && line.state.kind === 'ready' && dueInMs > 0) this.#wait(line, dueInMs);
    outlet.hasChanged(line);
    return 'kept';
  }

  #pass<Why>(who: Outlet | Destination | Line, lane: Lane, seq: bigint, why: Why): Why {
    who.passed.add(lane, seq);
    return why;
  }

  #outlet(target: string): Outlet {
    const known = this.#outlets.get(target);
    if (known !== undefined) return known;
    const outlet = new Outlet(target, undefined);
    this.#outlets.set(target, outlet);
    const error = new Error(`messages for ${target} wait: this relay has no publisher of that name`);
    this.#ports.tell({ kind: 'warning', code: 'no_publisher', error });
    return outlet;
  }

  /** Undefined: in order with nothing. */
  #lineName({ key }: StoredMessage): string | undefined {
    switch (this.#ports.ordering) {
      case 'none':
        return undefined;
      case 'per-key':
        return key;
      case 'global':
        return '';
    }
  }

  /** One line does not take all room that others leave: those which come later have some too. */
  #lineMax({ rows, destination }: Line): number {
    const { batchMax, messagesMax } = this.#ports.limits;
    return Math.max(batchMax, (messagesMax - destination.outlet.kept + rows.length) / 2);
  }

  // ---- publishing

  /** Gives publishers what may go. */
  dispatch(): void {
    if (!this.#isStopped && this.#ports.mayPublish()) this.#launch();
    this.#settler.flush();
  }

  #launch(): void {
    const { limits } = this.#ports;
    const { batchMax, flightsMax } = limits;
    for (const outlet of this.#outlets.values()) {
      if (outlet.publisher === undefined) continue;
      if (outlet.fill(limits) <= 0.5) outlet.passed.reread();
      while (outlet.flights < flightsMax) {
        const mayProbe = outlet.probes < Math.max(1, Math.floor(flightsMax / 2));
        const batch = outlet.take(batchMax, { maySuspect: !this.#isSuspectFlying, mayProbe });
        if (batch.length === 0) break;
        if (batch.some(isSuspect)) this.#isSuspectFlying = true;
        void this.#fly(outlet, batch);
      }
    }
  }

  async #fly(outlet: Outlet, batch: readonly Row[]): Promise<void> {
    const { clock, limits, tell } = this.#ports;
    const { publisher } = outlet;
    if (publisher === undefined) return;
    const flight = new AbortController();
    const isProbe = batch.some(({ line }) => line.destination.state.kind === 'probing');
    outlet.flights++;
    if (isProbe) outlet.probes++;
    this.#flights.add(flight);
    const startedMs = clock.now();
    const mayGo = await this.#starts.note(batch, flight.signal);
    const early = planted('settle-before-confirm') ? batch : [];
    for (const { lane, message } of early) this.#settler.add(lane, { kind: 'done', seq: message.seq });
    const results = mayGo
      ? await publishCall({
          publisher,
          messages: batch.map(outgoingOf),
          flight,
          timeoutMs: limits.publishTimeoutMs,
          clock,
          broken: (error) => tell({ kind: 'warning', code: 'publisher_broken', error }),
        })
      : 'not-begun';
    outlet.flights--;
    if (isProbe) outlet.probes--;
    this.#flights.delete(flight);
    if (batch.some(isSuspect)) this.#isSuspectFlying = false;
    const published = results === 'not-begun' ? [] : results.filter((result) => result.kind === 'published');
    if (results !== 'not-begun') {
      tell({
        kind: 'batch',
        target: outlet.target,
        messages: batch.length,
        published: published.length,
        duplicates: published.filter(({ duplicate }) => duplicate === true).length,
        durationMs: clock.now() - startedMs,
      });
    }
    this.#conclude(outlet, batch, results);
    this.#ports.changed();
  }

  // ---- what became of them

  #conclude(outlet: Outlet, batch: readonly Row[], results: readonly PublishResult[] | 'not-begun'): void {
    const back: Row[] = [];
    const troubled = new Map<Destination, Trouble>();
    const seen = results === 'not-begun' ? [] : results;
    // Whoever was published in the same call shows that the destination takes messages.
    const hasTaken = new Set<Destination>();
    batch.forEach((row, i) => {
      row.line.destination.flying--;
      if (seen[i]?.kind === 'published') hasTaken.add(row.line.destination);
    });
    const touched = new Set<Line>();
    /** Lines of which a message failed: those behind it were not to be published (L1), and it is not their fault. */
    const behind = new Set<Line>();
    for (const [i, row] of batch.entries()) {
      const { line } = row;
      const { destination } = line;
      const result = seen[i];
      touched.add(line);
      if (row.lane.state === 'gone') this.#drop(row);
      else if (result?.kind === 'published') this.#isPublished(row);
      else if (result === undefined || behind.has(line)) back.push(row);
      else if (result.kind === 'poison') this.#giveUp(row, 'poison', result.reason);
      else if (result.kind === 'retriable') this.#fail(row, result.reason, back);
      else if (result.kind === 'unknown' && (hasTaken.has(destination) || destination.isAtFault(row))) {
        this.#fail(row, result.reason, back);
      } else {
        back.push(row);
        troubled.set(destination, result);
      }
      if (line.isOrdered && result?.kind !== 'published') behind.add(line);
    }
    for (const line of touched) if (line.state.kind === 'busy') line.state = { kind: 'ready' };
    // In their old places, before what was read meanwhile.
    for (const row of back.toReversed()) this.#putBack(row);
    for (const [line, delayMs] of this.#retries) this.#wait(line, delayMs);
    this.#retries.clear();
    for (const destination of hasTaken) this.#open(destination);
    for (const [destination, trouble] of troubled) this.#hold(destination, trouble);
    for (const line of touched) {
      if (this.#isBehindDeadLetter(line)) this.#waitForDeadLetter(line);
      this.#topUp(line);
      outlet.hasChanged(line);
    }
  }

  #putBack(row: Row): void {
    const { lane, line, attempts } = row;
    const { seq } = row.message;
    if (row.isNoted) {
      // It was begun with, and this relay lives.
      row.isNoted = false;
      row.starts = 0;
      const reason = 'put back';
      this.#settler.add(lane, { kind: 'failed', seq, attempts, reason, retryInMs: 0, place: 'stay' });
      lane.unwritten.add(seq);
    }
    if (lane.state !== 'held') this.#leaveBehind(row);
    else if (planted('publish-past-a-failure')) line.rows.push(row);
    else line.rows.unshift(row);
  }

  /** Of a lane that leaves: it goes when the last is written down that became of it. */
  #leaveBehind(row: Row): void {
    if (row.lane.state === 'gone' || !row.lane.unwritten.has(row.message.seq)) this.#drop(row);
  }

  /** Lines that begin to wait at the end of `#conclude`. */
  readonly #retries = new Map<Line, number>();

  #isPublished(row: Row): void {
    row.line.destination.hasTaken(row);
    this.published++;
    if (!planted('settle-before-confirm'))
      this.#settler.add(row.lane, { kind: 'done', seq: row.message.seq });
  }

  #fail(row: Row, reason: string, back: Row[]): void {
    const { retry, random, tell } = this.#ports;
    const { line, message, lane } = row;
    row.attempts++;
    if (row.attempts >= retry.attemptsMax) return this.#giveUp(row, 'attempts', reason);
    this.failed++;
    const retryInMs = backoffMs(row.attempts, retry, random);
    const { seq } = message;
    const attempts = row.attempts;
    const place = line.isOrdered ? 'stay' : 'later';
    this.#settler.add(lane, { kind: 'failed', seq, attempts, reason: cut(reason), retryInMs, place });
    lane.unwritten.add(seq);
    const destination = line.destination.name;
    tell({ kind: 'failed', id: message.id, type: message.type, destination, attempts, reason, retryInMs });
    if (place === 'later') return this.#ports.postponed(retryInMs);
    row.isNoted = false;
    row.starts = 0;
    back.push(row);
    this.#retries.set(line, retryInMs);
  }

  #giveUp(row: Row, cause: DeadCause, reason: string): void {
    const { line, lane, message, attempts } = { ...row, attempts: row.attempts };
    const blocksKey = this.#ports.onDead === 'block-key' && message.key !== undefined && line.isOrdered;
    this.dead++;
    line.destination.forgetDoubt(row);
    this.#settler.add(lane, {
      kind: 'dead',
      seq: message.seq,
      attempts,
      cause,
      reason: cut(reason),
      blocksKey,
    });
    this.#ports.tell({
      kind: 'dead',
      id: message.id,
      type: message.type,
      destination: line.destination.name,
      cause,
      reason,
    });
    if (blocksKey) this.#deadLines.givesUp(fullName(line), lane);
  }

  /** The store has it. */
  #written(lane: Lane, fates: readonly Fate[]): void {
    for (const fate of fates) {
      const row = lane.rows.get(fate.seq);
      if (fate.kind === 'failed' && lane.unwritten.delete(fate.seq)) lane.writtenMeanwhile.add(fate.seq);
      if (row === undefined) continue;
      if (fate.kind === 'dead' && fate.blocksKey) this.#deadLines.isWritten(fullName(row.line));
      if (fate.kind === 'started') this.#starts.isWritten(row);
      else if (fate.kind === 'failed' && fate.place === 'stay') {
        if (lane.state === 'leaving') this.#drop(row);
      } else {
        lane.goneMeanwhile.add(fate.seq);
        this.#drop(row);
      }
    }
    this.#ports.changed();
  }

  /** Out of memory. */
  #drop(row: Row): void {
    const { lane, line, message } = row;
    if (!lane.rows.delete(message.seq)) return;
    const { outlet } = line.destination;
    outlet.kept--;
    outlet.bytes -= message.payload.length;
    line.destination.kept--;
    outlet.hasChanged(line);
  }

  // ---- lines and destinations that wait

  /** Its messages behind the first are passed over until that one is through (L2). */
  #wait(line: Line, delayMs: number): void {
    if (line.state.kind === 'waiting') line.state.forget();
    const forget = this.#ports.clock.schedule(delayMs, () => {
      line.state = { kind: 'ready' };
      if (line.rows.length === 0) line.passed.reread();
      line.destination.outlet.hasChanged(line);
      this.#ports.changed();
    });
    line.state = { kind: 'waiting', until: 'retry', forget };
    // Where many wait, not even their first ones stay: others need the room.
    const isCrowded = line.destination.outlet.fill(this.#ports.limits) > 0.5;
    this.#passOver(line, isCrowded ? 0 : 1, line);
  }

  #waitForDeadLetter(line: Line): void {
    if (line.state.kind === 'waiting') line.state.forget();
    line.state = { kind: 'waiting', until: 'dead-letter', forget: () => undefined };
    this.#passOver(line, 0, line);
  }

  #isBehindDeadLetter(line: Line): boolean {
    return line.isOrdered && !this.#deadLines.isEmpty && this.#deadLines.has(fullName(line));
  }

  /**
   * Begins a look for dead letters that others wait for; what is returned takes what was found. Gives back whether somebody
   * waits no longer: that dead letter may have been put back before all of them, so the lanes are to be read from the start.
   */
  looksForDeadLetters(): (keys: readonly BlockedKey[]) => boolean {
    const found = this.#deadLines.look();
    return (keys) => {
      const { ordering } = this.#ports;
      const nameOf = ({ target, address, key }: BlockedKey): string =>
        fullNameOf(target, address, ordering === 'global' ? '' : key);
      const isFreed = found(new Set(keys.map(nameOf)));
      if (isFreed) this.#freeLines();
      return isFreed;
    };
  }

  #freeLines(): void {
    for (const outlet of this.#outlets.values()) {
      for (const { lines } of outlet.destinations.values()) {
        for (const line of lines.values()) {
          const isWaiting = line.state.kind === 'waiting' && line.state.until === 'dead-letter';
          if (!isWaiting || this.#isBehindDeadLetter(line)) continue;
          line.state = { kind: 'ready' };
          line.passed.reread();
          outlet.hasChanged(line);
        }
      }
    }
  }

  /** Messages of the line beyond the first `keep` are read again later. */
  #passOver(line: Line, keep: number, who: Line | Destination): void {
    for (const row of line.rows.splice(keep)) {
      who.passed.add(row.lane, row.message.seq);
      this.#drop(row);
    }
  }

  /** O1 */
  #hold(destination: Destination, { reason, retryAfterMs = 0 }: Trouble): void {
    const { clock, random, retry, tell } = this.#ports;
    if (destination.state.kind === 'held') destination.state.forget();
    // Calls that were under way together failed for one reason.
    if (destination.state.kind !== 'held') destination.failures++;
    const retryInMs = Math.max(retryAfterMs, backoffMs(destination.failures, retry, random));
    const forget = clock.schedule(retryInMs, () => {
      destination.state = { kind: 'probing' };
      destination.passed.reread();
      this.#linesHaveChanged(destination);
      this.#ports.changed();
    });
    destination.state = { kind: 'held', forget };
    tell({ kind: 'held', target: destination.name, reason, retryInMs });
    for (const line of [destination.loose, ...destination.lines.values()]) {
      this.#passOver(line, 0, destination);
    }
    this.#linesHaveChanged(destination);
  }

  #open(destination: Destination): void {
    if (destination.state.kind === 'open') return;
    if (destination.state.kind === 'held') destination.state.forget();
    destination.state = { kind: 'open' };
    destination.passed.reread();
    this.#ports.tell({ kind: 'open', target: destination.name });
    this.#linesHaveChanged(destination);
  }

  #linesHaveChanged({ outlet, loose, lines }: Destination): void {
    for (const line of [loose, ...lines.values()]) outlet.hasChanged(line);
  }

  /** A line that has little left has read again what it passed over. */
  #topUp(line: Line): void {
    const isLow = line.rows.length * 2 <= this.#lineMax(line);
    if (line.state.kind === 'ready' && isLow) line.passed.reread();
  }

  /**
   * What was passed over is read again when messages before it are through. Those may vanish: with their lane, or because
   * somebody deletes them. So now and then it is read again without that.
   */
  refill(): void {
    for (const { destinations } of this.#outlets.values()) {
      for (const destination of destinations.values()) {
        const { state, kept, passed, loose, lines } = destination;
        if (destination.isStale) destinations.delete(destination.address);
        if (state.kind === 'probing' && kept === 0) passed.reread();
        for (const line of [loose, ...lines.values()]) {
          if (line.state.kind === 'ready' && line.rows.length === 0) line.passed.reread();
        }
      }
    }
  }

  // ---- the end of lanes, and of all

  /** Nothing of the lane is begun any more. What is under way ends, and is written down: then it has no rows left. */
  drain(lane: Lane): void {
    lane.state = 'leaving';
    this.#empty(lane);
  }

  /** The lane is another relay's now. What is under way ends, and nothing is written down. */
  leave(lane: Lane): void {
    lane.state = 'gone';
    this.#deadLines.leave(lane);
    this.#empty(lane);
    for (const row of lane.rows.values()) this.#drop(row);
    this.#starts.leave(lane);
  }

  /** Takes what waits out of memory. */
  #empty(lane: Lane): void {
    for (const outlet of this.#outlets.values()) {
      outlet.passed.leave(lane);
      for (const destination of outlet.destinations.values()) {
        destination.passed.leave(lane);
        for (const line of [destination.loose, ...destination.lines.values()]) {
          line.passed.leave(lane);
          const left = line.rows.filter((row) => row.lane === lane);
          line.rows = line.rows.filter((row) => row.lane !== lane);
          for (const row of left) this.#leaveBehind(row);
          outlet.hasChanged(line);
        }
      }
    }
  }

  /** Nothing leaves any more. */
  stop(): void {
    this.#isStopped = true;
  }

  /** Ends what is under way; its messages count as not published. */
  abort(): void {
    for (const flight of this.#flights) flight.abort();
  }
}

interface Trouble {
  readonly reason: string;
  readonly retryAfterMs?: number;
}

/** By which lines and dead letters find each other. */
function fullNameOf(target: string, address: string, key: string): string {
  return JSON.stringify([target, address, key]);
}

function fullName({ destination, name }: Line): string {
  return fullNameOf(destination.outlet.target, destination.address, name ?? '');
}

/** Of a reason, for the table. */
const reasonLengthMax = 2_000;

function cut(reason: string): string {
  return reason.length <= reasonLengthMax ? reason : `${reason.slice(0, reasonLengthMax)}…`;
}

function errorOf(error: unknown): Error {
  return error instanceof Error ? error : new Error(String(error));
}
