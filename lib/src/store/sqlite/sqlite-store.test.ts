import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  appendFileSync,
  closeSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { parseGid } from '../../core/ids.ts';
import type { Store, Write } from '../../engine/ports.ts';
import { schemaVersion } from './schema.ts';
import { SqliteStore } from './sqlite-store.ts';
import type { WorkerOptions } from './worker.ts';

let folder: string;
let path: string;
let stores: SqliteStore[];
let children: ChildProcess[];

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'settle-sqlite-'));
  path = join(folder, 'settle.db');
  stores = [];
  children = [];
});

afterEach(async () => {
  await Promise.all(stores.map((store) => store.close().catch(() => undefined)));
  await Promise.all(children.map(killed));
  rmSync(folder, { recursive: true, force: true });
});

function open(options: Partial<WorkerOptions> = {}): SqliteStore {
  const store = new SqliteStore({ path, verify: 'bounded', synchronous: 'full', ...options });
  stores.push(store);
  return store;
}

function insert(gid: string, progress = 'p'): Write {
  return {
    kind: 'insert',
    gid: parseGid(gid),
    pattern: 'saga',
    name: 'n',
    status: 'running',
    stuck: false,
    plan: 'plan',
    progress,
    epoch: 1,
    createdAtMs: 0,
    dueAtMs: 0,
  };
}

async function gidsIn(store: Store): Promise<readonly string[]> {
  const gids: string[] = [];
  let cursor: string | undefined;
  do {
    const page = await store.list({ limit: 200, ...(cursor === undefined ? {} : { cursor }) });
    gids.push(...page.items.map(({ gid }) => gid));
    cursor = page.next;
  } while (cursor !== undefined);
  return gids;
}

function contents(): Record<string, string> {
  // Reading may leave an index of the log and an empty log.
  const left = (name: string) =>
    name.endsWith('.lock') ||
    name.endsWith('-shm') ||
    (name.endsWith('-wal') && statSync(join(folder, name)).size === 0);
  const files = readdirSync(folder).filter((name) => !left(name));
  return Object.fromEntries(files.map((name) => [name, readFileSync(join(folder, name), 'latin1')]));
}

/** Copies database and log as they lie there, as a power failure would leave them. */
function snapshot(name: string): string {
  const copy = join(folder, name);
  copyFileSync(path, copy);
  copyFileSync(`${path}-wal`, `${copy}-wal`);
  return copy;
}

function flip(file: string, at: number): void {
  const bytes = readFileSync(file);
  bytes[at] = (bytes[at] ?? 0) ^ 0xff;
  writeFileSync(file, bytes);
}

function startChild(run: string): {
  readonly child: ChildProcess;
  readonly opened: Promise<unknown>;
  readonly acknowledged: () => readonly string[];
} {
  const script = fileURLToPath(new URL('./committing-child.mjs', import.meta.url));
  const notes = join(folder, `${run}.notes`);
  const child = spawn(process.execPath, [...process.execArgv, script, path, notes, run], {
    stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
  });
  children.push(child);
  const acknowledged = () => (existsSync(notes) ? readFileSync(notes, 'utf8').split('\n').slice(0, -1) : []);
  return { child, opened: once(child, 'message'), acknowledged };
}

async function killed(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const closed = once(child, 'close');
  child.kill('SIGKILL');
  await closed;
}

async function refuses(code: string, said: RegExp | string = ''): Promise<void> {
  const before = contents();
  await expect(open().commit([insert('new')])).rejects.toMatchObject({
    code,
    message: expect.stringMatching(said),
  });
  expect(contents()).toEqual(before);
}

async function fill(rows = 200): Promise<void> {
  const store = open();
  await store.commit(Array.from({ length: rows }, (_, i) => insert(`t${i}`, 'x'.repeat(500))));
  await store.close();
}

/** Three commits in the log, none of them in the file yet. */
async function crashed(): Promise<string> {
  const store = open();
  for (const gid of ['t1', 't2', 't3']) await store.commit([insert(gid)]);
  return snapshot('crashed.db');
}

describe('one file, one store', () => {
  // covers A27
  it('refuses a second store on the file, and names the process that has it', async () => {
    await open().ready();
    const second = open();
    await expect(second.ready()).rejects.toMatchObject({
      code: 'store_locked',
      message: expect.stringMatching(`${path}.*process ${process.pid}`),
    });
    await expect(second.load(parseGid('t1'))).rejects.toMatchObject({ code: 'store_locked' });
  });

  it('refuses it by a link or a relative path too', async () => {
    await open().ready();
    const link = join(folder, 'link.db');
    symlinkSync(path, link);
    symlinkSync(folder, join(folder, 'folder-link'));
    for (const other of [link, relative(process.cwd(), path), join(folder, 'folder-link', 'settle.db')]) {
      await expect(open({ path: other }).ready()).rejects.toMatchObject({ code: 'store_locked' });
    }
  });

  it('creates the file that a link points to', async () => {
    const target = join(folder, 'target.db');
    symlinkSync(target, path);
    await open().ready();
    expect(existsSync(target)).toBe(true);
  });

  it('keeps the lock when this process copies the file', async () => {
    const store = open();
    await store.commit([insert('t1')]);
    copyFileSync(path, join(folder, 'copy.db'));
    readFileSync(path);
    const { child, opened } = startChild('x');
    opened.catch(() => undefined);
    let said = '';
    child.stderr?.on('data', (text) => (said += String(text)));
    await once(child, 'close');
    expect(said).toContain('store_locked');
  });

  // covers A27, G6
  it('refuses the file while another process has it, and opens it once that is killed', async () => {
    const { child, opened } = startChild('a');
    await opened;
    await expect(open().ready()).rejects.toMatchObject({
      code: 'store_locked',
      message: expect.stringContaining(`process ${child.pid}`),
    });
    await killed(child);
    await expect(open().ready()).resolves.toBeUndefined();
  });

  // covers G6
  it('knows its cluster after it was closed, and lets only a coordinator of that one in', async () => {
    const first = open();
    await first.join('a', 10_000, 'production');
    await first.close();
    const second = open();
    await expect(second.join('b', 10_000, 'staging')).rejects.toMatchObject({
      code: 'cluster_mismatch',
      message: expect.stringContaining('belongs to the cluster production'),
    });
    await expect(second.join('b', 10_000, 'production')).resolves.toMatchObject({ epoch: 2 });
  });

  // covers A27
  it('refuses a second store also after the file was taken away', async () => {
    const store = open();
    await store.commit([insert('t1')]);
    for (const suffix of ['', '-wal', '-shm']) renameSync(path + suffix, `${path}${suffix}.away`);
    await expect(open().ready()).rejects.toMatchObject({ code: 'store_locked' });
    expect(existsSync(path)).toBe(false);
  });

  it('can be opened again once it was closed, with nothing left in the log', async () => {
    const first = open();
    await first.commit([insert('t1')]);
    await first.close();
    expect(existsSync(`${path}-wal`)).toBe(false);
    expect(await gidsIn(open())).toEqual(['t1']);
  });
});

describe('a crash', () => {
  it('loses nothing that was acknowledged, over ten kills at random moments', async () => {
    const acknowledged: string[] = [];
    for (let run = 0; run < 10; run++) {
      const running = startChild(`run${run}`);
      await running.opened;
      await new Promise((resolve) => setTimeout(resolve, Math.random() * 60));
      await killed(running.child);
      acknowledged.push(...running.acknowledged());
    }
    expect(acknowledged.length).toBeGreaterThan(0);
    const store = open({ verify: 'whole' });
    const kept = new Set(await gidsIn(store));
    expect(acknowledged.filter((gid) => !kept.has(gid))).toEqual([]);
  }, 60_000);

  it('makes what the dead process owned claimable at once, without waiting for its lease', async () => {
    const { child, acknowledged, opened } = startChild('a');
    await opened;
    await vi.waitUntil(() => acknowledged().length > 0);
    await killed(child);
    const store = open();
    const { epoch } = await store.join('next', 1_000);
    expect((await store.claim(epoch, 1)).length).toBe(1);
  });

  it('of the worker thread fails what waits and what comes, and frees the file', async () => {
    const store = open();
    await store.ready();
    const waiting = store.commit([insert('t1')]);
    const asked = store.list({ limit: 1 });
    void store.crash();
    await expect(Promise.all([waiting, asked])).rejects.toMatchObject({ code: 'unavailable' });
    await expect(store.commit([insert('t2')])).rejects.toMatchObject({
      code: 'unavailable',
      message: expect.stringContaining('thread'),
    });
    await expect(open().ready()).resolves.toBeUndefined();
  });
});

describe('a file that is not right is refused and left as it is', () => {
  it('that is something else', async () => {
    writeFileSync(path, 'hello, I am a text '.repeat(100));
    await refuses('store_corrupt', /not a SQLite database/);
  });

  it('that is empty', async () => {
    writeFileSync(path, '');
    await refuses('store_corrupt', /empty/);
  });

  it('that is a database of another program', async () => {
    const db = new DatabaseSync(path);
    db.exec('create table other (id integer)');
    db.close();
    await refuses('store_corrupt', /not one of Settle/);
  });

  // covers H1
  it('that a newer release has written', async () => {
    await fill();
    const db = new DatabaseSync(path);
    db.exec(`pragma user_version = ${schemaVersion + 1}`);
    db.close();
    await refuses('store_newer');
  });

  it('that a newer release has written and left with a log', async () => {
    await fill();
    const db = new DatabaseSync(path);
    db.exec(`pragma user_version = ${schemaVersion + 1}`);
    const copy = snapshot('newer.db');
    db.close();
    path = copy;
    await refuses('store_newer');
  });

  // covers A23
  it('that was cut short', async () => {
    await fill();
    truncateSync(path, statSync(path).size - 3 * 8_192);
    await refuses('store_corrupt');
  });

  it('whose header is overwritten', async () => {
    await fill();
    flip(path, 3);
    await refuses('store_corrupt');
  });

  // covers A23
  it('whose pages are overwritten', async () => {
    await fill();
    const file = openSync(path, 'r+');
    writeSync(file, Buffer.alloc(8_192, 0xa5), 0, 8_192, 5 * 8_192);
    closeSync(file);
    await refuses('store_corrupt');
  });

  it('that is gone while its log is there', async () => {
    await fill();
    renameSync(path, `${path}-wal`);
    await refuses('store_corrupt', /gone/);
  });

  it('in a folder that does not exist, or that is no file', async () => {
    path = join(folder, 'no', 'settle.db');
    await expect(open().ready()).rejects.toMatchObject({ code: 'config_invalid' });
    await expect(open({ path: ':memory:' }).ready()).rejects.toMatchObject({ code: 'config_invalid' });
    expect(readdirSync(folder)).toEqual([]);
  });

  it('says so for a folder under the name of the file', async () => {
    mkdirSync(path);
    await expect(open().ready()).rejects.toMatchObject({ code: 'config_invalid' });
  });
});

describe('the write-ahead log', () => {
  const headerBytes = 32;
  const frameBytes = 24 + 8_192;

  it('gives back every commit after a crash', async () => {
    expect(await gidsIn(open({ path: await crashed() }))).toEqual(['t3', 't2', 't1']);
  });

  // covers A23
  it('is refused when damage inside would drop acknowledged commits', async () => {
    const copy = await crashed();
    flip(`${copy}-wal`, headerBytes + 2 * frameBytes + 1_000);
    await expect(open({ path: copy }).ready()).rejects.toMatchObject({
      code: 'store_corrupt',
      message: expect.stringMatching(/log is broken at byte/),
    });
  });

  it('is refused when its header is damaged', async () => {
    const copy = await crashed();
    flip(`${copy}-wal`, 17);
    await expect(open({ path: copy }).ready()).rejects.toMatchObject({ code: 'store_corrupt' });
  });

  // covers A22
  it('may end in a torn write, which was never acknowledged', async () => {
    const copy = await crashed();
    appendFileSync(`${copy}-wal`, Buffer.alloc(5_000, 7));
    expect(await gidsIn(open({ path: copy }))).toEqual(['t3', 't2', 't1']);
  });

  it('may end in a last commit of which the beginning was not written: that one alone is gone', async () => {
    const copy = await crashed();
    const frames = (statSync(`${copy}-wal`).size - headerBytes) / frameBytes;
    const lastBegins = (commitEndsIn(`${copy}-wal`, frames).at(-2) ?? 0) + 1;
    expect(lastBegins).toBeLessThan(frames - 1);
    flip(`${copy}-wal`, headerBytes + lastBegins * frameBytes + 1_000);
    expect(await gidsIn(open({ path: copy }))).toEqual(['t2', 't1']);
  });

  /** The frames that end a commit: they carry the size of the database. */
  function commitEndsIn(log: string, frames: number): readonly number[] {
    const bytes = readFileSync(log);
    return Array.from({ length: frames }, (_, i) => i).filter(
      (i) => bytes.readUInt32BE(headerBytes + i * frameBytes + 4) !== 0,
    );
  }

  // covers A22
  it('may end in a torn last commit: that one alone is gone', async () => {
    const copy = await crashed();
    truncateSync(`${copy}-wal`, statSync(`${copy}-wal`).size - 100);
    expect(await gidsIn(open({ path: copy }))).toEqual(['t2', 't1']);
  });
});

describe('a transaction that fails half way', () => {
  it('leaves nothing behind and does not stand in the way of the next', async () => {
    const store = open();
    const unbindable = { ...insert('t2'), progress: {} as unknown as string };
    await expect(store.commit([insert('t1'), unbindable])).rejects.toMatchObject({ code: 'internal' });
    expect((await store.commit([insert('t3')])).outcomes).toEqual([{ kind: 'written' }]);
    expect(await gidsIn(store)).toEqual(['t3']);
  });
});

describe('a full disk', () => {
  // covers A24
  it('acknowledges nothing, keeps no half of a batch, and goes on when there is space again', async () => {
    const store = open({ pagesMax: 60 });
    const { epoch } = await store.join('a', 60_000);
    const acknowledged: string[] = [];
    let refused: unknown;
    for (let i = 0; refused === undefined && i < 1_000; i++) {
      const batch = [insert(`a${i}`, 'x'.repeat(5_000)), insert(`b${i}`, 'x'.repeat(5_000))];
      await store.commit(batch.map((write) => ({ ...write, epoch }))).then(
        () => acknowledged.push(`a${i}`, `b${i}`),
        (error: unknown) => {
          refused = error;
        },
      );
    }
    expect(refused).toMatchObject({ code: 'unavailable', retryAfterMs: expect.any(Number) });
    expect((await gidsIn(store)).toSorted()).toEqual(acknowledged.toSorted());

    // Space returns: here by finished rows that are pruned.
    const ended = acknowledged.map((gid): Write => {
      const shared = {
        gid: parseGid(gid),
        status: 'committed',
        stuck: false,
        progress: '',
        dueAtMs: undefined,
      } as const;
      return { ...shared, kind: 'update', revision: 1, epoch, nextEpoch: epoch };
    });
    await store.commit(ended);
    await store.prune({ finishedBeforeMs: 0, keepMax: 0, limit: 1_000 });
    expect((await store.commit([insert('after', 'x'.repeat(5_000))])).outcomes).toEqual([
      { kind: 'written' },
    ]);
  });
});

describe('the clock', () => {
  // covers A28
  it('never starts before a time it has used, wherever the wall clock is set to', async () => {
    const wallMs = 1_900_000_000_000;
    const first = open({ wallMs });
    const { nowMs } = await first.commit([insert('t1')]);
    expect(nowMs).toBeGreaterThanOrEqual(wallMs);
    await first.close();
    const second = open({ wallMs: wallMs - 3_600_000 });
    const again = await second.commit([insert('t2')]);
    expect(again.nowMs).toBeGreaterThanOrEqual(nowMs);
    expect(again.nowMs).toBeLessThan(nowMs + 60_000);
    await second.close();
    const third = await open({ wallMs: wallMs + 3_600_000 }).commit([]);
    expect(third.nowMs).toBeGreaterThanOrEqual(wallMs + 3_600_000);
  });
});

describe('calls that come together', () => {
  it('are answered each for its own writes', async () => {
    const store = open();
    const replies = await Promise.all(
      Array.from({ length: 50 }, (_, i) => store.commit([insert(`t${i % 25}`), insert(`u${i}`)])),
    );
    const kinds = replies.map(({ outcomes }) => outcomes.map(({ kind }) => kind).join());
    expect(kinds.slice(0, 25)).toEqual(Array.from({ length: 25 }, () => 'written,written'));
    expect(kinds.slice(25)).toEqual(Array.from({ length: 25 }, () => 'exists,written'));
  });

  it('are served before a close that follows them', async () => {
    const store = open();
    const commit = store.commit([insert('t1')]);
    const load = store.load(parseGid('t1'));
    await store.close();
    expect((await commit).outcomes).toEqual([{ kind: 'written' }]);
    expect((await load)?.gid).toBe('t1');
    expect(await gidsIn(open())).toEqual(['t1']);
  });

  it('find the page bounded and the list complete when there are more rows than one page looks at', async () => {
    const store = open({ synchronous: 'off' });
    for (let i = 0; i < 5; i++) {
      await store.commit(Array.from({ length: 1_000 }, (_, j) => insert(`t${i}-${j}`)));
    }
    await store.commit([
      { ...insert('last'), name: 'rare', status: 'committed', dueAtMs: undefined } as Write,
    ]);
    expect((await gidsIn(store)).length).toBe(5_001);
    const none = await store.list({ limit: 10, name: 'none' });
    expect([none.items, typeof none.next]).toEqual([[], 'string']);
    const unfinished = await store.list({ limit: 200, status: ['running'] });
    expect(unfinished.items[0]?.gid).toBe('t4-999');
  });
});

it('keeps nothing open when it is closed unused', async () => {
  const store = open();
  await store.close();
  expect(readdirSync(folder)).toEqual([]);
  await expect(store.ready()).rejects.toMatchObject({ code: 'shutting_down' });
});
