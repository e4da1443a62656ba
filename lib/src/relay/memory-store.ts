/**
 * The outbox in memory: for tests of relays and for the simulator, held to the same contract as those of databases. Nothing
 * in it outlives the process.
 */
import { laneCount, laneOf, type Headers, type StoredMessage } from '../outbox/message.ts';
import { planted } from '../util/planted-bug.ts';
import {
  byPlace,
  checkedLimit,
  checkedQuery,
  cursorOf,
  pageEndOf,
  pageMax,
  takenDefault,
  takenMax,
} from './dead-letter-pages.ts';
import type {
  BlockedKey,
  DeadLetter,
  DeadLetterQuery,
  LaneToken,
  LaneView,
  RelayStore,
  Settlement,
} from './store.ts';

export interface NewMessage {
  readonly id: string;
  readonly type?: string;
  readonly target: string;
  readonly address: string;
  readonly key?: string;
  /** Default: that of its key; without one, each in turn. */
  readonly lane?: number;
  readonly version?: number;
  readonly payload?: string;
  readonly headers?: Headers;
  readonly delayMs?: number;
}

export interface MemoryOutbox extends RelayStore {
  /** Takes a `seq` now, and shows the message when the function that is returned is called: as a transaction that commits. */
  begin(message: NewMessage): () => void;
  append(...messages: readonly NewMessage[]): void;
  /** What is in lanes, in order of `seq`. */
  readonly waiting: readonly StoredMessage[];
  /** Of the last take-over of that lane. */
  tokenOf(lane: number): bigint;
}

interface LaneRow {
  owner: string | undefined;
  token: bigint;
  untilMs: number;
}

/** `nowMs` is the clock of the database: milliseconds since 1970. */
export function memoryOutbox(nowMs: () => number): MemoryOutbox {
  let lastSeq = 0n;
  let nextLane = 0;
  const rows = new Map<bigint, StoredMessage>();
  const delayed: StoredMessage[] = [];
  const dead = new Map<bigint, DeadLetter>();
  const relays = new Map<string, number>();
  const lanes = Array.from({ length: laneCount }, (): LaneRow => ({
    owner: undefined,
    token: 0n,
    untilMs: 0,
  }));

  /** By lane, in order; until the next change. */
  let ordered: Map<number, StoredMessage[]> | undefined;
  const sorted = (): StoredMessage[] => [...rows.values()].toSorted((a, b) => (a.seq < b.seq ? -1 : 1));
  const inLanes = (): Map<number, StoredMessage[]> => (ordered ??= Map.groupBy(sorted(), ({ lane }) => lane));
  const isFree = (row: LaneRow): boolean => row.owner === undefined || row.untilMs <= nowMs();
  const held = (relay: string): LaneToken[] =>
    lanes.flatMap(({ owner, token }, lane) => (owner === relay ? [{ lane, token }] : []));

  function changed(): typeof rows {
    ordered = undefined;
    return rows;
  }

  function make({
    key,
    type = 'test',
    payload = '{}',
    headers = {},
    version = 1,
    lane = key === undefined ? nextLane++ % laneCount : laneOf(key),
    delayMs,
    ...rest
  }: NewMessage): StoredMessage {
    return {
      ...rest,
      type,
      payload,
      headers,
      key,
      seq: ++lastSeq,
      lane,
      version,
      createdAtMs: nowMs(),
      attempts: 0,
      starts: 0,
      dueAtMs: delayMs === undefined ? undefined : nowMs() + delayMs,
    };
  }

  function begin(message: NewMessage): () => void {
    const made = make(message);
    return () => {
      if (message.delayMs === undefined) changed().set(made.seq, made);
      else delayed.push(made);
    };
  }

  function settleOne({ done, started, failed, dead: died }: Settlement): void {
    for (const seq of done) changed().delete(seq);
    for (const { seq, starts } of started) update(seq, (row) => ({ ...row, starts }));
    for (const { seq, attempts, retryInMs, place } of failed) {
      update(seq, (row) => ({ ...row, attempts, starts: 0, dueAtMs: nowMs() + retryInMs }));
      const row = rows.get(seq);
      if (place === 'stay' || row === undefined) continue;
      changed().delete(seq);
      delayed.push(row);
    }
    for (const { seq, attempts, ...why } of died) {
      const row = rows.get(seq);
      if (row !== undefined) dead.set(seq, { ...row, attempts, ...why, diedAtMs: nowMs() });
      changed().delete(seq);
    }
  }

  function update(seq: bigint, change: (row: StoredMessage) => StoredMessage): void {
    const row = rows.get(seq);
    if (row !== undefined) changed().set(seq, change(row));
  }

  function deadOnes(query: DeadLetterQuery): DeadLetter[] {
    const { ids, type, cause, diedBeforeMs } = checkedQuery(query);
    return [...dead.values()]
      .toSorted(byPlace)
      .filter(
        (letter) =>
          (ids === undefined || ids.includes(letter.id)) &&
          (type === undefined || letter.type === type) &&
          (cause === undefined || letter.cause === cause) &&
          (diedBeforeMs === undefined || letter.diedAtMs < diedBeforeMs),
      );
  }

  function isStale({ lane, token }: Settlement): boolean {
    return lanes[lane]?.token !== token && !planted('settle-without-token');
  }

  return {
    begin,
    append: (...messages) => messages.forEach((message) => begin(message)()),
    get waiting() {
      return sorted();
    },
    tokenOf: (lane) => lanes[lane]?.token ?? 0n,
    async heartbeat(relay, ttlMs): Promise<LaneView> {
      relays.set(relay, nowMs() + ttlMs);
      for (const row of lanes) if (row.owner === relay) row.untilMs = nowMs() + ttlMs;
      return {
        nowMs: nowMs(),
        relays: [...relays.values()].filter((untilMs) => untilMs > nowMs()).length,
        held: held(relay),
        free: lanes.flatMap((row, lane) =>
          isFree(row) && row.owner !== relay ? [{ lane, token: row.token }] : [],
        ),
      };
    },
    async claim(relay, ttlMs, wanted) {
      return wanted.flatMap(({ lane, token }) => {
        const row = lanes[lane];
        if (row === undefined || row.token !== token || !isFree(row)) return [];
        const abandoned = row.owner !== undefined;
        lanes[lane] = { owner: relay, token: token + 1n, untilMs: nowMs() + ttlMs };
        return [{ lane, token: token + 1n, abandoned }];
      });
    },
    async release(relay, given) {
      for (const { lane, token } of given) {
        const row = lanes[lane];
        if (row?.owner === relay && row.token === token) row.owner = undefined;
      }
    },
    async leave(relay) {
      relays.delete(relay);
      for (const row of lanes) if (row.owner === relay) row.owner = undefined;
    },
    async read(requests) {
      const byLane = inLanes();
      return requests.flatMap(({ lane, after, limit }) =>
        (byLane.get(lane) ?? []).filter(({ seq }) => seq > after).slice(0, limit),
      );
    },
    async settle(settlements) {
      for (const settlement of settlements) if (!isStale(settlement)) settleOne(settlement);
      return settlements.filter(isStale).map(({ lane }) => lane);
    },
    async promote(limit) {
      delayed.sort((a, b) => (a.dueAtMs ?? 0) - (b.dueAtMs ?? 0));
      const due = delayed.filter(({ dueAtMs = 0 }) => dueAtMs <= nowMs()).slice(0, limit);
      delayed.splice(0, due.length);
      for (const row of due) {
        const seq = ++lastSeq;
        changed().set(seq, { ...row, seq, dueAtMs: undefined });
      }
      const [next] = delayed;
      return {
        moved: due.length,
        nextInMs: next === undefined ? undefined : Math.max(0, (next.dueAtMs ?? 0) - nowMs()),
      };
    },
    async blockedKeys(of) {
      return [...dead.values()].flatMap(({ lane, target, address, key, blocksKey }): BlockedKey[] =>
        blocksKey && key !== undefined && of.includes(lane) ? [{ lane, target, address, key }] : [],
      );
    },
    prune: async () => 0,
    dead: {
      async list(query, { limit, cursor }) {
        const most = checkedLimit(limit, pageMax);
        const after = cursor === undefined ? undefined : pageEndOf(cursor);
        const all = deadOnes(query).filter((letter) => after === undefined || byPlace(letter, after) > 0);
        const items = all.slice(0, most);
        const last = items.at(-1);
        return { items, next: all.length > most && last !== undefined ? cursorOf(last) : undefined };
      },
      async replay(query, limit = takenDefault) {
        const chosen = deadOnes(query).slice(0, checkedLimit(limit, takenMax));
        for (const {
          cause: _cause,
          reason: _reason,
          diedAtMs: _diedAtMs,
          blocksKey: _blocksKey,
          ...row
        } of chosen) {
          dead.delete(row.seq);
          changed().set(row.seq, { ...row, attempts: 0, starts: 0, dueAtMs: undefined });
        }
        return chosen.length;
      },
      async purge(query, limit = takenDefault) {
        const chosen = deadOnes(query).slice(0, checkedLimit(limit, takenMax));
        for (const { seq } of chosen) dead.delete(seq);
        return chosen.length;
      },
    },
    async stats() {
      const times = [...rows.values()].map(({ createdAtMs }) => createdAtMs);
      return {
        nowMs: nowMs(),
        pending: rows.size,
        oldestMs: times.length === 0 ? undefined : nowMs() - Math.min(...times),
        delayed: delayed.length,
        dead: dead.size,
        relays: [...relays.values()].filter((untilMs) => untilMs > nowMs()).length,
        lanesHeld: lanes.filter((row) => !isFree(row)).length,
      };
    },
  };
}
