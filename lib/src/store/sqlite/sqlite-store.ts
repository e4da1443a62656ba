/**
 * The half of the store that callers see: it gathers writes, sends them to the worker thread and hands the answers
 * back. It holds no state of transactions.
 */
import { Worker } from 'node:worker_threads';
import type { Gid } from '../../core/ids.ts';
import {
  batchMax,
  clusterDefault,
  type ClaimedTransaction,
  type CommitReply,
  type Lease,
  type ListPage,
  type ListQuery,
  type PrunePolicy,
  type Renewal,
  type Store,
  type StoredTransaction,
  type Write,
} from '../../engine/ports.ts';
import { ChurningMap } from '../../util/churning-map.ts';
import { messageOf, SettleError } from '../../util/errors.ts';
import { groupWritesMax } from './limits.ts';
import {
  type Calls,
  type Cell,
  decodeOutcomes,
  encodeWrite,
  errorOf,
  type Outcomes,
  type Reply,
  type Request,
  type Verb,
} from './messages.ts';
import type { WorkerOptions } from './worker.ts';

interface WaitingCommit {
  readonly batch: readonly Write[];
  readonly resolve: (reply: CommitReply) => void;
  readonly reject: (error: SettleError) => void;
}

type Pending =
  | { readonly kind: 'commits'; readonly commits: readonly WaitingCommit[] }
  | {
      readonly kind: 'call';
      readonly resolve: (answer: unknown) => void;
      readonly reject: (error: SettleError) => void;
    };

type Phase =
  | { readonly kind: 'new' }
  | { readonly kind: 'running'; readonly worker: Worker }
  | { readonly kind: 'closing'; readonly worker: Worker; readonly closed: Promise<void> }
  /** Nothing can be asked any more; every call rejects with this. */
  | { readonly kind: 'ended'; readonly error: SettleError };

export class SqliteStore implements Store {
  readonly #options: WorkerOptions;
  #phase: Phase = { kind: 'new' };
  #gathered: WaitingCommit[] = [];
  readonly #pending = new ChurningMap<number, Pending>();
  #lastId = 0;
  #opening: Promise<void> | undefined;
  #opened: { readonly resolve: () => void; readonly reject: (error: SettleError) => void } | undefined;

  constructor(options: WorkerOptions) {
    this.#options = options;
  }

  /**
   * Opens the file if that has not happened yet. Resolves once it is open and checked; rejects with what every other
   * call would reject with.
   */
  ready(): Promise<void> {
    const phase = this.#phase;
    if (phase.kind === 'ended') return Promise.reject(phase.error);
    this.#worker();
    return this.#opening ?? Promise.resolve();
  }

  commit(batch: readonly Write[]): Promise<CommitReply> {
    if (batch.length > batchMax) {
      return Promise.reject(
        new SettleError('limit_exceeded', `a batch of ${batch.length} writes; at most ${batchMax}`),
      );
    }
    return new Promise((resolve, reject) => {
      this.#gathered.push({ batch, resolve, reject });
      // Callers that were woken together write together: one message, whatever their number.
      if (this.#gathered.length === 1) queueMicrotask(() => this.#sendGathered());
    });
  }

  load(gid: Gid): Promise<StoredTransaction | undefined> {
    return this.#call('load', gid);
  }

  list(query: ListQuery): Promise<ListPage> {
    return this.#call('list', query);
  }

  join(coordinator: string, ttlMs: number, cluster = clusterDefault): Promise<Lease> {
    return this.#call('join', { coordinator, ttlMs, cluster });
  }

  renew(epoch: number, ttlMs: number, driving?: number): Promise<Renewal> {
    return this.#call('renew', { epoch, ttlMs, driving });
  }

  leave(epoch: number): Promise<void> {
    return this.#call('leave', epoch);
  }

  claim(epoch: number, limit: number): Promise<readonly ClaimedTransaction[]> {
    return this.#call('claim', { epoch, limit });
  }

  prune(policy: PrunePolicy): Promise<number> {
    return this.#call('prune', policy);
  }

  /** Tests only: moves the store's clock forward. */
  advance(ms: number): Promise<void> {
    return this.#call('advance', ms);
  }

  /** Tests only: ends the worker thread as a crash would. */
  async crash(): Promise<void> {
    if (this.#phase.kind === 'running') await this.#phase.worker.terminate();
  }

  close(): Promise<void> {
    const phase = this.#phase;
    if (phase.kind === 'closing') return phase.closed;
    if (phase.kind === 'new') this.#phase = { kind: 'ended', error: closedError() };
    if (phase.kind !== 'running') return Promise.resolve();
    this.#sendGathered();
    const { worker } = phase;
    const exited = new Promise<void>((resolve) => worker.once('exit', () => resolve()));
    const answered = new Promise<void>((resolve, reject) => {
      this.#ask({ kind: 'close', id: ++this.#lastId }, { kind: 'call', resolve: () => resolve(), reject });
    });
    const closed = Promise.all([answered, exited]).then(() => undefined);
    this.#phase = { kind: 'closing', worker, closed };
    return closed;
  }

  // ---- asking

  #call<V extends Verb>(verb: V, ask: Calls[V]['ask']): Promise<Calls[V]['answer']> {
    return new Promise((resolve, reject) => {
      const refusal = this.#refusal();
      if (refusal !== undefined) return reject(refusal);
      // What was written before goes before.
      this.#sendGathered();
      this.#ask(
        { kind: 'call', id: ++this.#lastId, verb, ask },
        { kind: 'call', resolve: resolve as (answer: unknown) => void, reject },
      );
    });
  }

  #sendGathered(): void {
    if (this.#gathered.length === 0) return;
    const gathered = this.#gathered;
    this.#gathered = [];
    const refusal = this.#refusal();
    if (refusal !== undefined) {
      for (const { reject } of gathered) reject(refusal);
      return;
    }
    let commits: WaitingCommit[] = [];
    let cells: Cell[] = [];
    let writes = 0;
    for (const commit of gathered) {
      if (writes > 0 && writes + commit.batch.length > groupWritesMax) {
        this.#ask({ kind: 'commit', id: ++this.#lastId, writes, cells }, { kind: 'commits', commits });
        [commits, cells, writes] = [[], [], 0];
      }
      commits.push(commit);
      writes += commit.batch.length;
      for (const write of commit.batch) encodeWrite(write, cells);
    }
    this.#ask({ kind: 'commit', id: ++this.#lastId, writes, cells }, { kind: 'commits', commits });
  }

  #ask(request: Request, pending: Pending): void {
    const worker = this.#worker();
    if (this.#pending.size === 0) worker.ref();
    this.#pending.set(request.id, pending);
    // The rule means windows, not threads.
    // oxlint-disable-next-line unicorn/require-post-message-target-origin
    worker.postMessage(request);
  }

  #refusal(): SettleError | undefined {
    switch (this.#phase.kind) {
      case 'ended':
        return this.#phase.error;
      case 'closing':
        return closedError();
      case 'new':
      case 'running':
        return undefined;
    }
  }

  // ---- answers

  #heard(reply: Reply): void {
    switch (reply.kind) {
      case 'opened':
        this.#opened?.resolve();
        break;
      case 'not-opened':
        this.#end(errorOf(reply.failure));
        break;
      case 'committed':
        for (let i = 0; i < reply.groups.length; i += 2) {
          this.#committed(Number(reply.groups[i]), reply.groups[i + 1] as Outcomes, reply.nowMs);
        }
        break;
      case 'answer': {
        const pending = this.#take(reply.id);
        if (pending?.kind === 'call') pending.resolve(reply.answer);
        break;
      }
      case 'failed':
        for (const id of reply.ids) rejectPending(this.#take(id), errorOf(reply.failure));
        break;
    }
    // An idle store keeps no process alive.
    if (this.#pending.size === 0 && this.#phase.kind === 'running') this.#phase.worker.unref();
  }

  #committed(id: number, outcomes: Outcomes, nowMs: number): void {
    const pending = this.#take(id);
    if (pending?.kind !== 'commits') return;
    let from = 0;
    for (const { batch, resolve } of pending.commits) {
      resolve({ nowMs, outcomes: decodeOutcomes(outcomes, from, batch.length) });
      from += batch.length;
    }
  }

  #take(id: number): Pending | undefined {
    const pending = this.#pending.get(id);
    this.#pending.delete(id);
    return pending;
  }

  // ---- the worker

  #worker(): Worker {
    if (this.#phase.kind === 'running' || this.#phase.kind === 'closing') return this.#phase.worker;
    const worker = new Worker(workerFile, { name: 'settle-sqlite', workerData: this.#options });
    worker.on('message', (reply: Reply) => this.#heard(reply));
    worker.on('error', (error) => this.#end(lostWorker(this.#options.path, messageOf(error))));
    worker.on('exit', () =>
      this.#end(this.#phase.kind === 'closing' ? closedError() : lostWorker(this.#options.path)),
    );
    this.#opening = new Promise((resolve, reject) => {
      this.#opened = { resolve, reject };
    });
    // Whoever does not ask for `ready` learns of a failure from the call it made.
    this.#opening.catch(() => undefined);
    this.#phase = { kind: 'running', worker };
    return worker;
  }

  /** The first reason stays: an exit follows on whatever caused it. */
  #end(error: SettleError): void {
    if (this.#phase.kind === 'ended') return;
    this.#phase = { kind: 'ended', error };
    this.#opened?.reject(error);
    for (const id of this.#pending.keys()) rejectPending(this.#take(id), error);
    this.#sendGathered();
  }
}

// Under the same name beside this file, from the sources as well as built.
const workerFile = new URL(import.meta.url.endsWith('.ts') ? './worker.ts' : './worker.js', import.meta.url);

function rejectPending(pending: Pending | undefined, error: SettleError): void {
  if (pending?.kind === 'call') pending.reject(error);
  if (pending?.kind === 'commits') for (const { reject } of pending.commits) reject(error);
}

function lostWorker(path: string, why = 'it stopped'): SettleError {
  return new SettleError('unavailable', `the thread that writes ${path} is gone: ${why}`, {
    next: 'Start the process again; what was acknowledged is in the file',
  });
}

function closedError(): SettleError {
  return new SettleError('shutting_down', 'the store is closed');
}
