/**
 * What a durable write costs: `npm run bench -- store`. A transaction is one insert and, once that is acknowledged, one
 * update that finishes it; each of the writers waits for its own. Every line starts on an empty file.
 *
 *   --seconds 3      how long each line runs
 *   --rows 1000000   first put so many finished transactions into the file of the last line
 *   --dir <folder>   where the files go; default a temporary folder
 */
import { mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { parseArgs } from 'node:util';
import { parseGid } from 'settle/core';
import type { Store, Write } from 'settle/engine/ports';
import { sqliteStore } from 'settle/store/sqlite';

interface Line {
  readonly name: string;
  readonly perSecond: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly gapMaxMs: number;
}

const plan = JSON.stringify({ pattern: 'saga', name: 'place-order', steps: 'x'.repeat(400) });
const progress = JSON.stringify({ v: 1, state: { kind: 'running' }, history: 'y'.repeat(300) });

const { values } = parseArgs({
  options: {
    seconds: { type: 'string', default: '3' },
    rows: { type: 'string', default: '0' },
    dir: { type: 'string', default: '' },
  },
});
const seconds = Number(values.seconds);
const rows = Number(values.rows);
const folder = mkdtempSync(join(values.dir === '' ? tmpdir() : values.dir, 'settle-bench-'));

try {
  const lines: Line[] = [];
  for (const writers of [1, 16, 64, 256]) {
    lines.push(await withStore(`sqlite, ${writers} writers`, fresh(), (store) => measure(store, writers)));
  }
  lines.push(
    await withStore('sqlite, 64 writers, random gids', fresh(), (store) => measure(store, 64, randomGid)),
  );
  if (rows > 0) lines.push(...(await onLargeFile()));
  console.table(
    lines.map(({ name, perSecond, p50Ms, p99Ms, gapMaxMs }) => ({
      what: name,
      'transactions/s': Math.round(perSecond),
      'p50 ms': p50Ms.toFixed(2),
      'p99 ms': p99Ms.toFixed(2),
      'event loop gap max ms': gapMaxMs.toFixed(1),
    })),
  );
} finally {
  rmSync(folder, { recursive: true });
}

type Measured = Omit<Line, 'name'>;

/** Each writer inserts, waits, updates, waits, and begins again. */
async function measure(
  store: Store,
  writers: number,
  gidOf: (i: number) => string = sortableGid,
): Promise<Measured> {
  const { epoch } = await store.join('bench', 1_000_000_000);
  const latencies: number[] = [];
  let done = 0;
  let next = 0;
  let counting = false;
  let running = true;
  const writer = async (): Promise<void> => {
    while (running) {
      const startedMs = performance.now();
      const gid = gidOf(next++);
      await store.commit([insert(gid, epoch)]);
      await store.commit([finish(gid, epoch)]);
      if (!counting) continue;
      done++;
      latencies.push(performance.now() - startedMs);
    }
  };
  const all = Array.from({ length: writers }, writer);
  await pause(500);
  const gaps = monitorEventLoopDelay({ resolution: 1 });
  gaps.enable();
  counting = true;
  const startedMs = performance.now();
  await pause(seconds * 1_000);
  const elapsedMs = performance.now() - startedMs;
  running = false;
  gaps.disable();
  const perSecond = (done / elapsedMs) * 1_000;
  await Promise.all(all);
  latencies.sort((a, b) => a - b);
  const at = (part: number): number => latencies[Math.floor(latencies.length * part)] ?? 0;
  return { perSecond, p50Ms: at(0.5), p99Ms: at(0.99), gapMaxMs: gaps.max / 1e6 };
}

/** The same work where many have finished before, and what opening and listing cost there. */
async function onLargeFile(): Promise<Line[]> {
  const path = join(folder, 'large.db');
  await withStore('', sqliteStore(path), (store) => fill(store, rows));
  const megabytes = Math.round(statSync(path).size / 1e6);
  const store = sqliteStore(path);
  const openMs = await timed(() => store.ready());
  const pageMs = await timed(() => store.list({ limit: 50 }));
  const scanMs = await timed(() => store.list({ limit: 50, name: 'no such name' }));
  const pruneMs = await timed(() => store.prune({ finishedBeforeMs: 0, keepMax: rows - 500, limit: 500 }));
  console.log(
    `${rows} finished transactions, ${megabytes} MB: open ${openMs} ms, page of 50 ${pageMs} ms, ` +
      `page that finds nothing ${scanMs} ms, prune of 500 ${pruneMs} ms`,
  );
  return [
    await withStore(`sqlite, 64 writers, ${rows} finished`, store, (one) => measure(one, 64)),
    await withStore(`sqlite, 64 writers, random gids, ${rows} finished`, sqliteStore(path), (one) =>
      measure(one, 64, randomGid),
    ),
  ];
}

async function fill(store: Store, count: number): Promise<void> {
  for (let from = 0; from < count; from += 1_000) {
    await store.commit(
      Array.from({ length: Math.min(1_000, count - from) }, (_, i) => ({
        ...insert(`000-${sortableGid(from + i)}`, 1),
        status: 'committed' as const,
        dueAtMs: undefined,
      })),
    );
  }
}

async function withStore<T>(
  name: string,
  store: Store,
  work: (store: Store) => Promise<T>,
): Promise<T & { name: string }> {
  try {
    return { ...(await work(store)), name };
  } finally {
    await store.close();
  }
}

function fresh(): Store {
  return sqliteStore(join(folder, `${Math.random()}.db`));
}

function insert(gid: string, epoch: number): Write {
  return {
    kind: 'insert',
    gid: parseGid(gid),
    pattern: 'saga',
    name: 'place-order',
    status: 'running',
    stuck: false,
    plan,
    progress,
    epoch,
    createdAtMs: 1_800_000_000_000,
    dueAtMs: 1_800_000_000_000,
  };
}

function finish(gid: string, epoch: number): Write {
  return {
    kind: 'update',
    gid: parseGid(gid),
    status: 'committed',
    stuck: false,
    progress,
    revision: 1,
    epoch,
    nextEpoch: epoch,
    dueAtMs: undefined,
  };
}

function sortableGid(i: number): string {
  return `019a-${process.pid}-${String(i).padStart(20, '0')}`;
}

function randomGid(): string {
  return crypto.randomUUID();
}

async function timed(work: () => Promise<unknown>): Promise<number> {
  const startedMs = performance.now();
  await work();
  return Math.round(performance.now() - startedMs);
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => {
    setTimeout(resolve, ms);
  });
}
