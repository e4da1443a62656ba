// Stores that released versions left in the middle of everything, opened by the code of today.
import { copyFileSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { codecVersion } from '../lib/src/core/codec.ts';
import { openCoordinator, type EmbeddedCoordinator } from '../lib/src/embedded/index.ts';
import type { EngineEvent } from '../lib/src/observe/events.ts';
import { schemaVersion } from '../lib/src/store/sqlite/schema.ts';
import { sqliteStore } from '../lib/src/store/sqlite/index.ts';
import { asCode, holdBack, Participants, until, type InFlight } from './fixtures/in-flight.ts';

const stores = fileURLToPath(new URL('fixtures/stores/', import.meta.url));
const versions = readdirSync(stores)
  .filter((file) => file.endsWith('.db'))
  .map((file) => file.slice(0, -'.db'.length));
const { version: current } = JSON.parse(
  readFileSync(new URL('../lib/package.json', import.meta.url), 'utf8'),
) as { version: string };

let folder: string;
let path: string;
let participants: Participants;
let events: EngineEvent[];
let opened: EmbeddedCoordinator | undefined;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'settle-upgrade-'));
  path = join(folder, 'settle.db');
  participants = new Participants();
  events = [];
  holdBack(false);
});

afterEach(async () => {
  await opened?.close();
  opened = undefined;
  rmSync(folder, { recursive: true });
});

function copyOf(version: string): readonly InFlight[] {
  copyFileSync(join(stores, `${version}.db`), path);
  return JSON.parse(readFileSync(join(stores, `${version}.json`), 'utf8')) as InFlight[];
}

async function open(): Promise<EmbeddedCoordinator> {
  opened = await openCoordinator({
    store: sqliteStore(path),
    definitions: [asCode],
    caller: participants,
    observe: (event) => events.push(event),
    // What ended in the old version ended long ago.
    limits: { retentionMs: Number.MAX_SAFE_INTEGER },
  });
  return opened;
}

/** Everything ends, after what a person has to do for it. */
async function ended(
  coordinator: EmbeddedCoordinator,
  inFlight: readonly InFlight[],
): Promise<Record<string, string>> {
  const views = inFlight.map(async ({ gid, needs }) => {
    if (needs !== undefined) await coordinator.act(gid, { action: needs, reason: 'after the upgrade' });
    const view = await until(coordinator, gid, ({ status }) =>
      /^(?:committed|aborted|forgotten)$/.test(status),
    );
    return [gid, view.status] as const;
  });
  return Object.fromEntries(await Promise.all(views));
}

function write(sql: string, ...values: readonly string[]): void {
  const db = new DatabaseSync(path);
  db.prepare(sql).run(...values);
  db.close();
}

/** What it is, without who looked at it last and when somebody is to look again. */
function contentOf(gid: string): unknown {
  const db = new DatabaseSync(path, { readOnly: true });
  const row = db
    .prepare('select pattern, name, status, stuck, plan, progress from settle_transaction where gid = ?')
    .get(gid);
  db.close();
  return row;
}

describe('after an upgrade', () => {
  // covers H1
  it.each(versions)('every transaction of a store that %s wrote ends as it must', async (version) => {
    const inFlight = copyOf(version);
    const coordinator = await open();
    const expected = Object.fromEntries(inFlight.map(({ gid, ends }) => [gid, ends]));
    expect(await ended(coordinator, inFlight)).toEqual(expected);
    const asked = inFlight.map(({ gid }) => {
      const calls = participants.calls
        .filter((call) => call.gid === gid)
        .map(({ branch, op }) => `${branch}/${op}`);
      return [gid, [...new Set(calls)].toSorted()];
    });
    expect(asked).toEqual(inFlight.map(({ gid, asks }) => [gid, asks.toSorted()]));
    expect(events.filter(({ kind }) => kind === 'alarm')).toEqual([]);
    // What the first step gave back went through the old store.
    const { branches } = await coordinator.get('saga-as-code');
    expect(branches[1]).toMatchObject({ result: { paid: 2, for: 'lamp 2' } });
  });

  // covers H1
  it('one in a state that this version does not know is left as it is and alarmed, while the others end', async () => {
    const inFlight = copyOf(current);
    const strange = ['saga-running', 'tcc-confirming', 'message-delivering'];
    const [kind, newer, pattern] = strange as [string, string, string];
    const set = 'update settle_transaction set';
    write(`${set} progress = replace(progress, '"kind":"running"', '"kind":"dancing"') where gid = ?`, kind);
    write(
      `${set} progress = replace(progress, '"v":${codecVersion}', '"v":${codecVersion + 1}') where gid = ?`,
      newer,
    );
    write(
      `${set} pattern = 'at', plan = replace(plan, '"pattern":"message"', '"pattern":"at"') where gid = ?`,
      pattern,
    );
    const before = strange.map(contentOf);
    const coordinator = await open();
    const others = inFlight.filter(({ gid }) => !strange.includes(gid));
    expect(await ended(coordinator, others)).toEqual(
      Object.fromEntries(others.map(({ gid, ends }) => [gid, ends])),
    );
    const alarmed = events.flatMap((event) => (event.kind === 'alarm' ? [`${event.code} ${event.gid}`] : []));
    expect([...new Set(alarmed)].toSorted()).toEqual(strange.map((gid) => `unreadable ${gid}`).toSorted());
    expect(participants.calls.filter(({ gid }) => strange.includes(gid))).toEqual([]);
    await coordinator.close();
    opened = undefined;
    expect(strange.map(contentOf)).toEqual(before);
  });
});

describe('the fixtures', () => {
  it('are there for the current version, as it writes today', () => {
    expect(versions).toContain(current);
    copyOf(current);
    const db = new DatabaseSync(path, { readOnly: true });
    const { user_version: schema } = db.prepare('pragma user_version').get() ?? {};
    const codecs = db
      .prepare("select distinct json_extract(progress, '$.v') as v from settle_transaction")
      .all();
    db.close();
    // `node test/fixtures/make.ts` writes it anew, as long as this version is not released.
    expect([schema, ...codecs.map(({ v }) => v)]).toEqual([schemaVersion, codecVersion]);
  });

  it('hold every pattern in every state', () => {
    const kept = copyOf(current);
    const states = kept.map(({ gid, status }) => `${gid.split('-')[0]} ${status}`);
    for (const state of ['running', 'finishing', 'compensating']) expect(states).toContain(`saga ${state}`);
    for (const state of ['trying', 'confirming', 'cancelling']) expect(states).toContain(`tcc ${state}`);
    for (const state of ['prepared', 'scheduled', 'delivering']) expect(states).toContain(`message ${state}`);
    const db = new DatabaseSync(path, { readOnly: true });
    const rows = db.prepare('select gid, status from settle_transaction order by gid').all();
    db.close();
    expect(rows.map(({ gid, status }) => `${String(gid)} ${String(status)}`)).toEqual(
      kept.map(({ gid, status }) => `${gid} ${status}`).toSorted(),
    );
  });
});
