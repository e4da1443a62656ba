/** Two coordinators in one process over one SQLite store, in real time. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { systemClock } from '../../embedded/production-ports.ts';
import type { EngineEvent } from '../../observe/events.ts';
import { gid, sagaOf } from '../../testing/engine-world.ts';
import { Ledger } from '../../testing/ledger.ts';
import { mortalEngine, type Mortal } from '../../testing/mortal-engine.ts';
import { sqliteStore, type SqliteFileStore } from './index.ts';

let folder: string;
let store: SqliteFileStore;
let ledger: Ledger;
let events: (EngineEvent & { readonly by: string })[];
let running: Mortal[];

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'settle-two-'));
  store = sqliteStore(join(folder, 'settle.db'));
  ledger = new Ledger(systemClock);
  events = [];
  running = [];
});

afterEach(async () => {
  for (const mortal of running) {
    mortal.resume();
    await mortal.engine.stop();
  }
  await store.close();
  rmSync(folder, { recursive: true });
});

const limits = {
  leaseMs: 600,
  claimEveryMs: 100,
  ongoingPauseMs: 100,
  residentMs: 500,
  drainMs: 500,
  callTimeoutMs: 5_000,
};

async function coordinator(name: string): Promise<Mortal> {
  const ids = { gid: () => gid('unused') };
  const observe = (event: EngineEvent): void => void events.push({ ...event, by: name });
  const mortal = mortalEngine({
    store,
    clock: systemClock,
    caller: ledger,
    random: { next: () => 0.5 },
    ids,
    observe,
    limits,
  });
  await mortal.engine.start();
  return mortal;
}

// covers A30
it('one takes over from the other within lease and scan; the other then writes nothing, and says lease_lost', async () => {
  const owner = await coordinator('owner');
  const successor = await coordinator('successor');
  running.push(owner, successor);
  ledger.fate = (_, nth) => (nth === 1 ? 'unanswered' : 'done');
  await owner.engine.submit({ gid: gid('g'), definition: sagaOf('a', 'b') });
  owner.pause();
  const sinceMs = performance.now();
  await vi.waitFor(async () => expect((await successor.engine.get(gid('g'))).status).toBe('committed'), {
    timeout: 5_000,
    interval: 20,
  });
  expect(performance.now() - sinceMs).toBeLessThan(3_000);
  const settled = await store.load(gid('g'));
  owner.resume();
  await vi.waitFor(
    () =>
      expect(events).toContainEqual(
        expect.objectContaining({ by: 'owner', kind: 'alarm', code: 'lease_lost' }),
      ),
    { timeout: 2_000 },
  );
  await sleep(200);
  expect(await store.load(gid('g'))).toEqual(settled);
  expect([...ledger.effects.values()]).toEqual([1, 1]);
  // It takes part again, under a new epoch.
  expect(
    await owner.engine.submit({ gid: gid('g-2'), definition: sagaOf('a'), waitMs: 2_000 }),
  ).toMatchObject({ status: 'committed' });
});

it('work spreads when one joins, and comes back when it goes', async () => {
  const first = await coordinator('first');
  running.push(first);
  ledger.fate = () => 'ongoing';
  await Promise.all(
    Array.from({ length: 100 }, (_, n) =>
      first.engine.submit({ gid: gid(`g-${n}`), definition: sagaOf('a') }),
    ),
  );
  const second = await coordinator('second');
  await vi.waitFor(() => expect(second.engine.load().transactions).toBeGreaterThan(35), {
    timeout: 5_000,
    interval: 50,
  });
  await vi.waitFor(() => expect(first.engine.load().transactions).toBeLessThan(65), {
    timeout: 5_000,
    interval: 50,
  });
  await second.engine.stop();
  ledger.fate = () => 'done';
  await vi.waitFor(
    async () => expect((await store.list({ status: ['committed'], limit: 200 })).items).toHaveLength(100),
    { timeout: 5_000, interval: 50 },
  );
  expect([...ledger.effects.values()].filter((times) => times !== 1)).toEqual([]);
});
