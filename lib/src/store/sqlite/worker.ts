/**
 * The half of the store that owns the database: it runs in a thread of its own, so that no fsync and no scan ever
 * holds up the caller's event loop.
 *
 * W1 Groups of writes that wait go down in one transaction and one fsync (D6), up to `groupWritesMax`.
 * W2 A group is answered only after its transaction has committed (D1); when that fails, nothing of it stands, and
 *    each caller is told.
 * W3 Messages are served in the order they came; a read sees every write that was answered before.
 * W4 After damage or a failed fsync the database is touched no more: every later call fails until the file is opened
 *    again.
 */
import { parentPort, receiveMessageOnPort, workerData } from 'node:worker_threads';
import { assert } from '../../util/assert.ts';
import { crashPoint } from '../../util/crash-point.ts';
import { SettleError } from '../../util/errors.ts';
import { prepareClaim } from './claiming.ts';
import { prepareWrites } from './commit.ts';
import { openDatabase, type OpenDatabase, type OpenOptions } from './database.ts';
import { prepareLeases } from './leases.ts';
import { groupWritesMax } from './limits.ts';
import { prepareList } from './listing.ts';
import { failureOf, type Handlers, type Outcomes, type Reply, type Request, type Verb } from './messages.ts';
import { prepareTouch, prepareTransaction, readMeta } from './meta.ts';
import { preparePrune } from './pruning.ts';
import { toTransaction, transactionColumns } from './rows.ts';
import { judge } from './sqlite-errors.ts';
import { StoreTime } from './store-time.ts';

export interface WorkerOptions extends OpenOptions {
  /** Tests only: what the wall clock says at opening. */
  readonly wallMs?: number;
}

type Commit = Extract<Request, { kind: 'commit' }>;

assert(parentPort !== null, 'this file is the body of a worker thread');
const port = parentPort;
const options = workerData as WorkerOptions;

function reply(message: Reply): void {
  crashPoint('sqlite.reply', 'before');
  port.postMessage(message);
  crashPoint('sqlite.reply', 'after');
}

function start(): void {
  let database: OpenDatabase;
  try {
    database = openDatabase(options);
    serve(database);
  } catch (error) {
    reply({ kind: 'not-opened', failure: failureOf(judge(error, options.path).error) });
    return;
  }
  reply({ kind: 'opened' });
}

function serve(database: OpenDatabase): void {
  const { db, path } = database;
  const time = new StoreTime({
    wallMs: options.wallMs ?? Date.now(),
    usedMs: readMeta(db).usedMs,
    monotonicMs: () => performance.now(),
  });
  const transaction = prepareTransaction(db);
  const touch = prepareTouch(db);
  const write = prepareWrites(db);
  const handlers = prepareHandlers();
  let refusal: SettleError | undefined;

  function prepareHandlers(): Handlers {
    const leases = prepareLeases(db);
    const claim = prepareClaim(db);
    const prune = preparePrune(db);
    const byGid = db.prepare(`select ${transactionColumns} from settle_transaction where gid = ?`);
    return {
      load: (gid) => {
        const row = byGid.get(gid);
        return row && toTransaction(row);
      },
      list: prepareList(db),
      join: (request) =>
        transaction(() => {
          const lease = leases.join(request, time.nowMs());
          touch(lease.nowMs, 0);
          return lease;
        }),
      renew: (request) =>
        transaction(() => {
          const nowMs = time.nowMs();
          if (!leases.renew(request, nowMs)) return { kind: 'lost', nowMs };
          touch(nowMs, 0);
          return { kind: 'renewed', nowMs, others: leases.othersOf(request.epoch, nowMs) };
        }),
      leave: (epoch) => transaction(() => leases.leave(epoch)) as undefined,
      claim: ({ epoch, limit }) =>
        transaction(() => {
          const nowMs = time.nowMs();
          leases.sweep(epoch, nowMs);
          const endings = leases.all();
          if ((endings.get(epoch) ?? 0) <= nowMs) return [];
          const claimed = claim({ epoch, limit, nowMs, livingEpochs: new Set(endings.keys()) });
          if (claimed.length > 0) touch(nowMs, 0);
          return claimed;
        }),
      prune: (policy) =>
        transaction(() => {
          const removed = prune(policy);
          if (removed > 0) touch(time.nowMs(), -removed);
          return removed;
        }),
      advance: (ms) => time.advance(ms) as undefined,
    };
  }

  /** W2 */
  function commit(groups: readonly Commit[]): void {
    const answers: (number | Outcomes)[] = [];
    const done = attempt(
      groups.map(({ id }) => id),
      () => {
        const nowMs = time.nowMs();
        transaction(() => {
          let inserted = 0;
          for (const { id, cells } of groups) {
            const applied = write(cells, nowMs);
            inserted += applied.inserted;
            answers.push(id, applied.outcomes);
          }
          touch(nowMs, inserted);
        });
        return nowMs;
      },
    );
    if (done !== undefined) reply({ kind: 'committed', nowMs: done.value, groups: answers });
  }

  function call(id: number, verb: Verb, ask: unknown): void {
    // The other half pairs verb and question by their types; between threads only their pairing is left.
    const handler = handlers[verb] as (ask: unknown) => unknown;
    const done = attempt([id], () => handler(ask));
    if (done !== undefined) reply({ kind: 'answer', id, answer: done.value });
  }

  /** W4 */
  function attempt<T>(ids: readonly number[], work: () => T): { readonly value: T } | undefined {
    try {
      if (refusal !== undefined) throw refusal;
      return { value: work() };
    } catch (error) {
      const verdict = judge(error, path);
      if (verdict.fatal) refusal = verdict.error;
      reply({ kind: 'failed', ids, failure: failureOf(verdict.error) });
      return undefined;
    }
  }

  function close(id: number): void {
    // After damage nothing is copied or tidied: the thread ends, and with it the handles and the lock.
    if (refusal !== undefined || attempt([id], () => database.close()) !== undefined)
      reply({ kind: 'answer', id, answer: undefined });
    port.close();
  }

  port.on('message', (first: Request) => {
    let next: Request | undefined = first;
    while (next !== undefined) {
      // W1: what has arrived meanwhile is taken from the port at once, without a turn of the event loop each.
      const groups: Commit[] = [];
      let writes = 0;
      while (next?.kind === 'commit' && writes < groupWritesMax) {
        groups.push(next);
        writes += next.writes;
        next = receive();
      }
      if (groups.length > 0) commit(groups);
      else if (next?.kind === 'close') return close(next.id);
      else if (next?.kind === 'call') {
        call(next.id, next.verb, next.ask);
        next = receive();
      }
    }
  });
}

function receive(): Request | undefined {
  return receiveMessageOnPort(port)?.message as Request | undefined;
}

start();
