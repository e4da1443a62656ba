/**
 * The store that keeps everything in this process: for tests, the simulator and trying things out.
 *
 * Owns: transactions and leases in Maps. Does not own: durability. Whatever it acknowledged is gone when the process
 * ends, so promise D1 holds only for as long as the process lives.
 *
 * Rows are never changed in place: a write puts a new object, so what was handed out stays as it was.
 */
import type { Gid } from '../../core/ids.ts';
import {
  batchMax,
  clusterDefault,
  clusterMismatch,
  type ClaimedTransaction,
  type CommitReply,
  type Company,
  type Lease,
  type ListPage,
  type ListQuery,
  type PrunePolicy,
  type Renewal,
  type Store,
  type StoredSummary,
  type StoredTransaction,
  type Write,
  type WriteOutcome,
} from '../../engine/ports.ts';
import { SettleError } from '../../util/errors.ts';
import { planted } from '../../util/planted-bug.ts';

export interface MemoryStoreOptions {
  /**
   * The store's clock in milliseconds since 1970 (D5). Default: the wall clock at the start, then monotonic time only.
   * A reading below an earlier one counts as the earlier one.
   */
  readonly nowMs?: () => number;
}

/**
 * A {@link Store} in this process's memory. **Everything in it is lost when the process ends**, and no second process
 * can see it. Every promise settles in the same turn of the event loop.
 *
 * @throws SettleError, by rejection: `limit_exceeded` for a batch above `batchMax`, `invalid_request` for a page limit
 * outside 1 to 200 or a cursor that is none, `cluster_mismatch` for a second cluster, `shutting_down` after `close()`.
 */
export function memoryStore(options: MemoryStoreOptions = {}): Store {
  return new MemoryStore(options.nowMs ?? monotonicWallClock());
}

interface Row {
  readonly stored: StoredTransaction;
  /** Grows with every insert; what a list cursor points at. */
  readonly sequence: number;
}

const written: WriteOutcome = { kind: 'written' };
const exists: WriteOutcome = { kind: 'exists' };
const lost: WriteOutcome = { kind: 'lost' };

class MemoryStore implements Store {
  readonly #clock: () => number;
  #lastMs = 0;
  readonly #rows = new Map<string, Row>();
  /** Gids by sequence, oldest first; pruned ones leave holes that `#compact` closes. */
  #order: { readonly sequence: number; readonly gid: Gid }[] = [];
  #sequence = 0;
  /** A Map keeps its order of insertion: unfinished ones as they came, finished ones as they ended. */
  readonly #unfinished = new Set<Gid>();
  readonly #finished = new Set<Gid>();
  /** Epoch to the time its lease ends. Only leases nobody took over from. */
  readonly #leases = new Map<number, number>();
  /** What the owner of a lease said it drives. */
  readonly #driving = new Map<number, number>();
  #epoch = 0;
  #cluster: string | undefined;
  #closed = false;

  constructor(clock: () => number) {
    this.#clock = clock;
  }

  async commit(batch: readonly Write[]): Promise<CommitReply> {
    this.#mustBeOpen();
    if (batch.length > batchMax) {
      throw new SettleError('limit_exceeded', `a batch of ${batch.length} writes; at most ${batchMax}`);
    }
    const nowMs = this.#nowMs();
    return { nowMs, outcomes: batch.map((write) => this.#write(write, nowMs)) };
  }

  async load(gid: Gid): Promise<StoredTransaction | undefined> {
    this.#mustBeOpen();
    return this.#rows.get(gid)?.stored;
  }

  async list(query: ListQuery): Promise<ListPage> {
    this.#mustBeOpen();
    if (!(query.limit >= 1 && query.limit <= 200)) {
      throw new SettleError('invalid_request', `a page limit of ${query.limit}; it is 1 to 200`);
    }
    const items: StoredSummary[] = [];
    let last = 0;
    for (let i = this.#positionOf(query.cursor) - 1; i >= 0; i--) {
      const entry = this.#order[i];
      const row = entry && this.#rows.get(entry.gid);
      if (row === undefined || row.sequence !== entry?.sequence || !matches(row.stored, query)) continue;
      // One more than asked for exists: there is a next page.
      if (items.length === query.limit) return { items, next: String(last) };
      items.push(summaryOf(row.stored));
      last = row.sequence;
    }
    return { items, next: undefined };
  }

  async join(_coordinator: string, ttlMs: number, cluster = clusterDefault): Promise<Lease> {
    this.#mustBeOpen();
    this.#cluster ??= cluster;
    if (cluster !== this.#cluster) throw clusterMismatch(cluster, this.#cluster);
    const nowMs = this.#nowMs();
    const epoch = ++this.#epoch;
    this.#leases.set(epoch, nowMs + ttlMs);
    return { epoch, nowMs };
  }

  async renew(epoch: number, ttlMs: number, driving?: number): Promise<Renewal> {
    this.#mustBeOpen();
    const nowMs = this.#nowMs();
    if (!this.#leases.has(epoch)) return { kind: 'lost', nowMs };
    this.#leases.set(epoch, nowMs + ttlMs);
    if (driving === undefined) this.#driving.delete(epoch);
    else this.#driving.set(epoch, driving);
    return { kind: 'renewed', nowMs, others: this.#othersOf(epoch, nowMs) };
  }

  async leave(epoch: number): Promise<void> {
    this.#mustBeOpen();
    this.#leases.delete(epoch);
  }

  #othersOf(epoch: number, nowMs: number): Company {
    let coordinators = 0;
    let sum = 0;
    for (const [other, driving] of this.#driving) {
      if (!this.#leases.has(other)) this.#driving.delete(other);
      else if (other !== epoch && (this.#leases.get(other) ?? 0) > nowMs) {
        coordinators++;
        sum += driving;
      }
    }
    return { coordinators, driving: sum };
  }

  async claim(epoch: number, limit: number): Promise<readonly ClaimedTransaction[]> {
    this.#mustBeOpen();
    const nowMs = this.#nowMs();
    for (const [other, endsMs] of this.#leases) {
      if (endsMs <= nowMs && other !== epoch) this.#leases.delete(other);
    }
    if ((this.#leases.get(epoch) ?? 0) <= nowMs) return [];
    const due: { readonly row: Row; readonly dueAtMs: number }[] = [];
    for (const gid of this.#unfinished) {
      const row = this.#rows.get(gid);
      const dueAtMs = row?.stored.dueAtMs;
      if (row === undefined || dueAtMs === undefined || dueAtMs > nowMs) continue;
      if (!this.#leases.has(row.stored.epoch)) due.push({ row, dueAtMs });
    }
    due.sort((a, b) => a.dueAtMs - b.dueAtMs || a.row.sequence - b.row.sequence);
    return due.slice(0, limit).map(({ row }) => {
      const fence = planted('claim-without-epoch') ? {} : { epoch, revision: row.stored.revision + 1 };
      const stored = { ...row.stored, ...fence };
      this.#rows.set(stored.gid, { ...row, stored });
      return { ...stored, claimedFrom: row.stored.epoch };
    });
  }

  async prune({ finishedBeforeMs, keepMax, limit }: PrunePolicy): Promise<number> {
    this.#mustBeOpen();
    let excess = this.#finished.size - keepMax;
    let pruned = 0;
    for (const gid of this.#finished) {
      if (pruned === limit) break;
      const updatedAtMs = this.#rows.get(gid)?.stored.updatedAtMs ?? 0;
      // They stand in the order they ended: behind one that stays, all stay.
      if (excess <= 0 && updatedAtMs >= finishedBeforeMs) break;
      this.#finished.delete(gid);
      this.#rows.delete(gid);
      excess--;
      pruned++;
    }
    this.#compact();
    return pruned;
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#rows.clear();
    this.#order = [];
    this.#unfinished.clear();
    this.#finished.clear();
  }

  #write(write: Write, nowMs: number): WriteOutcome {
    const row = this.#rows.get(write.gid);
    const { gid, status, stuck, progress, dueAtMs } = write;
    if (write.kind === 'insert') {
      if (row !== undefined && !planted('insert-replaces')) return exists;
      const { pattern, name, plan, epoch, createdAtMs } = write;
      const sequence = ++this.#sequence;
      this.#order.push({ sequence, gid });
      this.#put({
        sequence,
        stored: {
          gid,
          pattern,
          name,
          status,
          stuck,
          plan,
          progress,
          epoch,
          dueAtMs,
          createdAtMs,
          updatedAtMs: nowMs,
          revision: 1,
        },
      });
      return written;
    }
    if (row === undefined) return lost;
    const isMet = row.stored.revision === write.revision && row.stored.epoch === write.epoch;
    if (!isMet && !planted('write-without-condition')) return lost;
    this.#put({
      sequence: row.sequence,
      stored: {
        ...row.stored,
        status,
        stuck,
        progress,
        dueAtMs,
        epoch: write.nextEpoch,
        updatedAtMs: nowMs,
        revision: write.revision + 1,
      },
    });
    return written;
  }

  #put(row: Row): void {
    const { gid, dueAtMs } = row.stored;
    this.#rows.set(gid, row);
    this.#finished.delete(gid);
    if (dueAtMs !== undefined) this.#unfinished.add(gid);
    else {
      this.#unfinished.delete(gid);
      this.#finished.add(gid);
    }
  }

  /** How many entries of `#order` lie before the cursor. */
  #positionOf(cursor: string | undefined): number {
    if (cursor === undefined) return this.#order.length;
    if (!/^\d{1,15}$/.test(cursor)) throw new SettleError('invalid_request', 'the cursor is not one of ours');
    const sequence = Number(cursor);
    let low = 0;
    let high = this.#order.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.#order[middle]?.sequence ?? 0) < sequence) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  /** Costs as much as the entries it drops, spread over the prunes that made them. */
  #compact(): void {
    if (this.#order.length < 2 * this.#rows.size + 1_000) return;
    this.#order = this.#order.filter(({ gid, sequence }) => this.#rows.get(gid)?.sequence === sequence);
  }

  #nowMs(): number {
    this.#lastMs = Math.max(this.#lastMs, this.#clock());
    return this.#lastMs;
  }

  #mustBeOpen(): void {
    if (this.#closed) throw new SettleError('shutting_down', 'the store is closed');
  }
}

function matches(stored: StoredTransaction, query: ListQuery): boolean {
  return (
    (query.status?.includes(stored.status) ?? true) &&
    (query.pattern === undefined || stored.pattern === query.pattern) &&
    (query.name === undefined || stored.name === query.name) &&
    (query.stuck === undefined || stored.stuck === query.stuck) &&
    (query.createdFromMs === undefined || stored.createdAtMs >= query.createdFromMs) &&
    (query.createdToMs === undefined || stored.createdAtMs < query.createdToMs) &&
    (query.gidContains === undefined || stored.gid.includes(query.gidContains))
  );
}

function summaryOf(stored: StoredTransaction): StoredSummary {
  const { gid, pattern, name, status, stuck, createdAtMs, updatedAtMs } = stored;
  return { gid, pattern, name, status, stuck, createdAtMs, updatedAtMs };
}

function monotonicWallClock(): () => number {
  const wallMs = Date.now();
  const startedMs = performance.now();
  return () => Math.floor(wallMs + performance.now() - startedMs);
}
