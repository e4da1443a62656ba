/**
 * The facts every store holds to, for our own stores and for yours:
 *
 *   import { describe, it } from 'vitest' // or node:test
 *   storeContract({ describe, it }, 'my store', async () => ({ store: await openMine(), advance }))
 */
import type { Gid } from '../core/ids.ts';
import { parseGid } from '../core/ids.ts';
import {
  batchMax,
  type Company,
  type ListQuery,
  type Renewal,
  type Store,
  type StoredTransaction,
  type Write,
  type WriteOutcome,
} from '../engine/ports.ts';
import { assert } from '../util/assert.ts';
import { isSettleError } from '../util/errors.ts';
import { firstDifference } from '../util/json.ts';

/** A fresh, empty store and the means to move its time. */
export interface ContractStore {
  readonly store: Store;
  /** Moves the store's clock forward by milliseconds. */
  readonly advance: (ms: number) => void | Promise<void>;
  /** Closes the store and opens the same data again. Without it (a store that keeps nothing) those facts are skipped. */
  readonly reopen?: () => Promise<Store>;
  /** Called after the fact is checked, whatever came out. */
  readonly dispose?: () => void | Promise<void>;
}

/** Of a test runner, what the suite needs: vitest, jest, mocha and node:test all fit. */
export interface ContractRunner {
  describe(name: string, body: () => void): unknown;
  it(title: string, body: () => Promise<void>): unknown;
}

/**
 * Declares one test per fact of the store contract. `open` is called for each and must give an empty store. A fact
 * that does not hold throws, with what was expected.
 */
export function storeContract(
  runner: ContractRunner,
  name: string,
  open: () => Promise<ContractStore>,
): void {
  runner.describe(`store contract: ${name}`, () => {
    for (const [title, check] of Object.entries(facts)) {
      runner.it(title, async () => {
        const opened = await open();
        try {
          await check(opened);
        } finally {
          await opened.dispose?.();
        }
      });
    }
  });
}

type Facts = Readonly<Record<string, (opened: ContractStore) => Promise<void>>>;

const writing: Facts = {
  'keeps what was inserted, as revision 1 of its owner': async ({ store }) => {
    const { epoch, nowMs } = await store.join('a', 10_000);
    const reply = await store.commit([insert('t1', epoch, { createdAtMs: nowMs, dueAtMs: nowMs + 7 })]);
    same(reply.outcomes, [written]);
    const stored = await mustLoad(store, 't1');
    same(stored, {
      gid: 't1',
      pattern: 'saga',
      name: 'place-order',
      status: 'running',
      stuck: false,
      createdAtMs: nowMs,
      updatedAtMs: reply.nowMs,
      plan: '{"plan":1}',
      progress: '{"progress":1}',
      revision: 1,
      epoch,
      dueAtMs: nowMs + 7,
    });
  },
  'loads nothing for a gid it does not know': async ({ store }) => {
    same(await store.load(parseGid('unknown')), undefined);
  },
  'refuses a second insert of a gid and leaves the first as it was': async ({ store }) => {
    const { epoch } = await store.join('a', 10_000);
    await store.commit([insert('t1', epoch)]);
    same(await outcomes(store, [insert('t1', epoch, { name: 'other', plan: 'other' })]), [exists]);
    const { name, plan, revision } = await mustLoad(store, 't1');
    same([name, plan, revision], ['place-order', '{"plan":1}', 1]);
  },
  'refuses the second of two inserts of one gid in one batch': async ({ store }) => {
    const { epoch } = await store.join('a', 10_000);
    same(await outcomes(store, [insert('t1', epoch), insert('t1', epoch)]), [written, exists]);
  },
  'updates what the write rests on, and counts the revision': async ({ store }) => {
    const { epoch } = await store.join('a', 10_000);
    await store.commit([insert('t1', epoch)]);
    const change = update('t1', epoch, 1, {
      status: 'compensating',
      stuck: true,
      progress: 'p2',
      dueAtMs: 9_000,
    });
    same(await outcomes(store, [change]), [written]);
    const { status, stuck, progress, dueAtMs, revision, plan } = await mustLoad(store, 't1');
    same(
      [status, stuck, progress, dueAtMs, revision, plan],
      ['compensating', true, 'p2', 9_000, 2, '{"plan":1}'],
    );
  },
  'refuses an update on another revision, another owner or nothing at all': async ({ store }) => {
    const { epoch } = await store.join('a', 10_000);
    await store.commit([insert('t1', epoch)]);
    const stale = [
      update('t1', epoch, 0),
      update('t1', epoch, 2),
      update('t1', epoch + 1, 1),
      update('t1', 0, 1),
      update('t2', epoch, 1),
    ];
    same(
      await outcomes(store, stale),
      stale.map(() => lost),
    );
    same((await mustLoad(store, 't1')).revision, 1);
  },
  'applies the rest of a batch when one of its conditions fails': async ({ store }) => {
    const { epoch } = await store.join('a', 10_000);
    await store.commit([insert('t1', epoch), insert('t2', epoch)]);
    const batch = [
      update('t1', epoch, 1),
      update('t2', epoch, 9),
      insert('t1', epoch),
      insert('t3', epoch),
      update('t3', epoch, 1),
    ];
    same(await outcomes(store, batch), [written, lost, exists, written, written]);
    same([(await mustLoad(store, 't1')).revision, (await mustLoad(store, 't2')).revision], [2, 1]);
    same((await mustLoad(store, 't3')).revision, 2);
  },
  'lets one of two equal writes win, however they race': async ({ store }) => {
    const { epoch } = await store.join('a', 10_000);
    await store.commit([insert('t1', epoch)]);
    const race = Array.from({ length: 8 }, (_, i) => update('t1', epoch, 1, { progress: `p${i}` }));
    const all = await Promise.all(race.map((write) => outcomes(store, [write])));
    const winners = race.filter((_, i) => all[i]?.[0]?.kind === 'written');
    same(winners.length, 1);
    same((await mustLoad(store, 't1')).progress, winners[0]?.progress);
  },
  'hands a transaction to the owner that the write names': async ({ store }) => {
    const a = await store.join('a', 10_000);
    const b = await store.join('b', 10_000);
    await store.commit([insert('t1', a.epoch)]);
    same(await outcomes(store, [update('t1', a.epoch, 1, { nextEpoch: b.epoch })]), [written]);
    same(await outcomes(store, [update('t1', a.epoch, 2), update('t1', b.epoch, 2)]), [lost, written]);
  },
  'takes a whole batch and no more than that': async ({ store }) => {
    const { epoch } = await store.join('a', 10_000);
    const batch = Array.from({ length: batchMax + 1 }, (_, i) => insert(`t${i}`, epoch));
    await rejects(store.commit(batch), 'limit_exceeded');
    same(await store.load(parseGid('t0')), undefined);
    const all = await outcomes(store, batch.slice(1));
    same(all.length, batchMax);
    assert(
      all.every(({ kind }) => kind === 'written'),
      'every write of a full batch is written',
    );
  },
  'takes an empty batch': async ({ store }) => {
    same(await outcomes(store, []), []);
  },
  'keeps any text as it is, also what no codec can read': async ({ store }) => {
    const { epoch, nowMs } = await store.join('a', 10_000);
    const plan = 'not JSON {{{ \u{1F4A5} \u00e9 "quotes" \'and\' \\ lines\nand more';
    const long = 'x\u00fc'.repeat(300_000);
    await store.commit([insert('t1', epoch, { plan, progress: long, name: "na'me", dueAtMs: nowMs })]);
    const stored = await mustLoad(store, 't1');
    same([stored.plan, stored.name, stored.progress === long], [plan, "na'me", true]);
    same((await store.list({ limit: 10 })).items.length, 1);
    await store.leave(epoch);
    const next = await store.join('b', 10_000);
    same((await store.claim(next.epoch, 10))[0]?.plan, plan);
  },
  'never lets its time go back': async ({ store, advance }) => {
    const first = await store.join('a', 1_000);
    let lastMs = first.nowMs;
    for (let i = 0; i < 20; i++) {
      const { nowMs } = await store.commit([insert(`t${i}`, first.epoch)]);
      assert(nowMs >= lastMs, `the time went from ${lastMs} back to ${nowMs}`);
      lastMs = nowMs;
    }
    await advance(5_000);
    const { nowMs } = await store.commit([]);
    assert(nowMs >= lastMs + 5_000, 'the time follows its clock');
  },
};

const owning: Facts = {
  'gives every lease an epoch of its own, each higher than the last': async ({ store }) => {
    const a = await store.join('a', 1_000);
    const b = await store.join('b', 1_000);
    await store.leave(b.epoch);
    const c = await store.join('a', 1_000);
    assert(a.epoch >= 1 && b.epoch > a.epoch && c.epoch > b.epoch, 'epochs grow from 1');
  },
  // covers G6
  'belongs to the first cluster that joined, and refuses the coordinators of any other': async ({
    store,
  }) => {
    await store.join('a', 10_000, 'production');
    await rejects(store.join('b', 10_000, 'staging'), 'cluster_mismatch');
    await store.join('c', 10_000, 'production');
  },
  'claims nothing that a living lease owns, be it its own': async ({ store, advance }) => {
    const a = await store.join('a', 10_000);
    const b = await store.join('b', 10_000);
    await store.commit([insert('t1', a.epoch, { dueAtMs: a.nowMs })]);
    await advance(5_000);
    same(await claimedGids(store, b.epoch), []);
    same(await claimedGids(store, a.epoch), []);
  },
  'claims what an expired lease owned, and says whose it was': async ({ store, advance }) => {
    const a = await store.join('a', 1_000);
    await store.commit([insert('t1', a.epoch, { dueAtMs: a.nowMs })]);
    await advance(1_001);
    const b = await store.join('b', 1_000);
    const [claimed] = await store.claim(b.epoch, 10);
    same(
      [claimed?.gid, claimed?.claimedFrom, claimed?.epoch, claimed?.revision],
      ['t1', a.epoch, b.epoch, 2],
    );
    const { claimedFrom: _, ...stored } = mustBe(claimed);
    same(await mustLoad(store, 't1'), stored);
  },
  // covers A30
  'refuses the writes of an owner that was taken over from': async ({ store, advance }) => {
    const a = await store.join('a', 1_000);
    await store.commit([insert('t1', a.epoch, { dueAtMs: a.nowMs })]);
    await advance(1_001);
    const b = await store.join('b', 1_000);
    await store.claim(b.epoch, 10);
    same(await outcomes(store, [update('t1', a.epoch, 1), update('t1', a.epoch, 2)]), [lost, lost]);
    same(await outcomes(store, [update('t1', b.epoch, 2)]), [written]);
  },
  'renews a lease, also an expired one that nobody took over from': async ({ store, advance }) => {
    const a = await store.join('a', 1_000);
    await store.commit([insert('t1', a.epoch, { dueAtMs: a.nowMs })]);
    await advance(900);
    same((await store.renew(a.epoch, 1_000)).kind, 'renewed');
    await advance(900);
    const b = await store.join('b', 10_000);
    same(await claimedGids(store, b.epoch), []);
    await advance(5_000);
    same((await store.renew(a.epoch, 1_000)).kind, 'renewed');
    same(await claimedGids(store, b.epoch), []);
  },
  'refuses to renew a lease that was taken over from, was ended, or never was': async ({
    store,
    advance,
  }) => {
    const a = await store.join('a', 1_000);
    await store.commit([insert('t1', a.epoch, { dueAtMs: a.nowMs })]);
    await advance(1_001);
    const b = await store.join('b', 1_000);
    same(await claimedGids(store, b.epoch), ['t1']);
    same((await store.renew(a.epoch, 1_000)).kind, 'lost');
    await store.leave(b.epoch);
    same((await store.renew(b.epoch, 1_000)).kind, 'lost');
    same((await store.renew(b.epoch + 100, 1_000)).kind, 'lost');
  },
  'tells a lease that is renewed how many others live, and what they say they drive': async ({ store }) => {
    const [a, b, c] = [
      await store.join('a', 10_000),
      await store.join('b', 10_000),
      await store.join('c', 10_000),
    ];
    same(othersIn(await store.renew(a.epoch, 10_000, 7)), { coordinators: 0, driving: 0 });
    same(othersIn(await store.renew(b.epoch, 10_000, 20)), { coordinators: 1, driving: 7 });
    same(othersIn(await store.renew(c.epoch, 10_000, 300)), { coordinators: 2, driving: 27 });
    same(othersIn(await store.renew(a.epoch, 10_000, 8)), { coordinators: 2, driving: 320 });
    same(othersIn(await store.renew(b.epoch, 10_000, 20)), { coordinators: 2, driving: 308 });
  },
  'counts no lease that ended, expired, or is only kept': async ({ store, advance }) => {
    const [a, b, c] = [
      await store.join('a', 10_000),
      await store.join('b', 10_000),
      await store.join('c', 10_000),
    ];
    const all = [a, b, c, await store.join('d', 10_000)];
    for (const { epoch } of all) await store.renew(epoch, epoch === b.epoch ? 1_000 : 10_000, epoch);
    await store.leave(c.epoch);
    await advance(1_001);
    const d = mustBe(all[3]).epoch;
    same(othersIn(await store.renew(a.epoch, 10_000, 0)), { coordinators: 1, driving: d });
    same(othersIn(await store.renew(d, 10_000)), { coordinators: 1, driving: 0 });
    same(othersIn(await store.renew(a.epoch, 10_000, 0)), { coordinators: 0, driving: 0 });
    same(othersIn(await store.renew(b.epoch, 10_000, 5)), { coordinators: 1, driving: 0 });
  },
  'claims nothing for a lease that has expired or ended': async ({ store, advance }) => {
    const a = await store.join('a', 1_000);
    await store.commit([insert('t1', a.epoch, { dueAtMs: a.nowMs })]);
    await store.leave(a.epoch);
    same(await claimedGids(store, a.epoch), []);
    const b = await store.join('b', 1_000);
    await advance(1_001);
    same(await claimedGids(store, b.epoch), []);
  },
  'makes what a leaving owner had claimable at once': async ({ store }) => {
    const a = await store.join('a', 1_000_000);
    const b = await store.join('b', 1_000_000);
    await store.commit([insert('t1', a.epoch, { dueAtMs: a.nowMs })]);
    await store.leave(a.epoch);
    same(await claimedGids(store, b.epoch), ['t1']);
  },
  'makes what was given back claimable once it is due, by anybody': async ({ store, advance }) => {
    const a = await store.join('a', 1_000_000);
    await store.commit([insert('t1', a.epoch)]);
    await store.commit([update('t1', a.epoch, 1, { nextEpoch: 0, dueAtMs: a.nowMs + 5_000 })]);
    same(await claimedGids(store, a.epoch), []);
    await advance(5_000);
    const [claimed] = await store.claim(a.epoch, 10);
    same([claimed?.gid, claimed?.claimedFrom, claimed?.revision], ['t1', 0, 3]);
  },
  'claims what is due, oldest due time first, up to the limit': async ({ store }) => {
    const a = await store.join('a', 1_000_000);
    const c = await store.join('c', 1_000_000);
    const b = await store.join('b', 1_000_000);
    const { nowMs } = a;
    await store.commit([
      insert('fourth', a.epoch, { dueAtMs: nowMs - 100 }),
      insert('second', c.epoch, { dueAtMs: nowMs - 300 }),
      insert('later', a.epoch, { dueAtMs: nowMs + 60_000 }),
      insert('first', a.epoch, { dueAtMs: nowMs - 400 }),
      insert('third', c.epoch, { dueAtMs: nowMs - 200 }),
    ]);
    await store.leave(a.epoch);
    await store.leave(c.epoch);
    same(await claimedGids(store, b.epoch, 3), ['first', 'second', 'third']);
    same(await claimedGids(store, b.epoch, 3), ['fourth']);
    same(await claimedGids(store, b.epoch, 3), []);
  },
  'lets one of two claimers have each transaction': async ({ store }) => {
    const a = await store.join('a', 1_000_000);
    await store.commit(Array.from({ length: 40 }, (_, i) => insert(`t${i}`, a.epoch, { dueAtMs: a.nowMs })));
    await store.leave(a.epoch);
    const [b, c] = await Promise.all([store.join('b', 10_000), store.join('c', 10_000)]);
    const both = await Promise.all([store.claim(b.epoch, 30), store.claim(c.epoch, 30)]);
    const gids = both.flat().map(({ gid }) => gid);
    same([gids.length, new Set(gids).size], [40, 40]);
  },
  // covers A14
  'never claims what has finished': async ({ store }) => {
    const a = await store.join('a', 1_000_000);
    await store.commit([insert('t1', a.epoch, { dueAtMs: a.nowMs }), insert('t2', a.epoch, finished)]);
    await store.commit([update('t1', a.epoch, 1, finished)]);
    await store.leave(a.epoch);
    const b = await store.join('b', 10_000);
    same(await claimedGids(store, b.epoch), []);
  },
  'keeps data, epochs and time when it is opened again': async ({ store, advance, reopen }) => {
    if (reopen === undefined) return;
    await advance(3_600_000);
    const a = await store.join('a', 10);
    await store.commit([insert('t1', a.epoch, { dueAtMs: a.nowMs })]);
    const { nowMs } = await store.commit([insert('t2', a.epoch, finished)]);
    const before = await mustLoad(store, 't1');
    const again = await reopen();
    try {
      same(await mustLoad(again, 't1'), before);
      const b = await again.join('b', 10_000);
      assert(b.epoch > a.epoch, 'epochs grow for the life of the store');
      assert(b.nowMs >= nowMs, `the time went from ${nowMs} back to ${b.nowMs}`);
    } finally {
      await again.close();
    }
  },
};

const listing: Facts = {
  'lists newest first, as summaries': async ({ store }) => {
    const { epoch, nowMs } = await store.join('a', 10_000);
    await store.commit([insert('t1', epoch, { createdAtMs: nowMs }), insert('t2', epoch)]);
    const { items, next } = await store.list({ limit: 10 });
    same([items.map(({ gid }) => gid), next], [['t2', 't1'], undefined]);
    const {
      plan: _plan,
      progress: _progress,
      revision: _,
      epoch: _epoch,
      dueAtMs: _due,
      ...summary
    } = await mustLoad(store, 't1');
    same(items[1], summary);
  },
  'lists what every filter asks for, alone and together': async ({ store }) => {
    const { epoch } = await store.join('a', 10_000);
    await store.commit([
      insert('order-1', epoch, { createdAtMs: 1_000 }),
      insert('order-2', epoch, { createdAtMs: 2_000, name: 'refund', stuck: true }),
      insert('gift-3', epoch, { createdAtMs: 3_000, pattern: 'tcc', status: 'trying' }),
      insert('gift-4', epoch, {
        createdAtMs: 4_000,
        pattern: 'tcc',
        status: 'committed',
        dueAtMs: undefined,
      }),
    ]);
    const cases: readonly [Omit<ListQuery, 'limit'>, readonly string[]][] = [
      [{}, ['gift-4', 'gift-3', 'order-2', 'order-1']],
      [{ status: ['trying'] }, ['gift-3']],
      [{ status: ['running', 'committed'] }, ['gift-4', 'order-2', 'order-1']],
      [{ status: [] }, []],
      [{ pattern: 'tcc' }, ['gift-4', 'gift-3']],
      [{ name: 'refund' }, ['order-2']],
      [{ name: 'refun' }, []],
      [{ stuck: true }, ['order-2']],
      [{ stuck: false }, ['gift-4', 'gift-3', 'order-1']],
      [{ createdFromMs: 2_000 }, ['gift-4', 'gift-3', 'order-2']],
      [{ createdToMs: 2_000 }, ['order-1']],
      [{ createdFromMs: 2_000, createdToMs: 4_000 }, ['gift-3', 'order-2']],
      [{ gidContains: 'der-' }, ['order-2', 'order-1']],
      [{ gidContains: '%' }, []],
      [{ gidContains: 'DER' }, []],
      [{ pattern: 'tcc', status: ['committed'], gidContains: '4', stuck: false }, ['gift-4']],
      [{ pattern: 'saga', status: ['trying'] }, []],
    ];
    for (const [query, expected] of cases) {
      same(await allGids(store, { ...query, limit: 200 }), expected, JSON.stringify(query));
      same(await allGids(store, { ...query, limit: 1 }), expected, `${JSON.stringify(query)} by single rows`);
    }
  },
  'goes on at the cursor with nothing twice and nothing left out, while others insert': async ({ store }) => {
    const { epoch } = await store.join('a', 1_000_000);
    const before = Array.from({ length: 57 }, (_, i) => `old-${i}`);
    await store.commit(before.map((gid) => insert(gid, epoch)));
    const seen: string[] = [];
    let cursor: string | undefined;
    for (let page = 0; page === 0 || cursor !== undefined; page++) {
      const { items, next } = await store.list({ limit: 5, ...(cursor === undefined ? {} : { cursor }) });
      seen.push(...items.map(({ gid }) => gid));
      await store.commit([insert(`new-${page}`, epoch)]);
      // A row that changes stays where it is.
      await store.commit([update(`old-${page}`, epoch, 1, finished)]);
      cursor = next;
      assert(page < 1_000, 'a list ends');
    }
    same(seen, before.toReversed());
  },
  'refuses a cursor that is none of its own, and a limit out of range': async ({ store }) => {
    await rejects(store.list({ limit: 10, cursor: "'; drop table" }), 'invalid_request');
    await rejects(store.list({ limit: 0 }), 'invalid_request');
    await rejects(store.list({ limit: 201 }), 'invalid_request');
  },
};

const pruning: Facts = {
  'prunes what finished before a time, and nothing unfinished': async ({ store, advance }) => {
    const { epoch } = await store.join('a', 1_000_000);
    await store.commit([insert('open', epoch), insert('old-1', epoch, finished), insert('old-2', epoch)]);
    await store.commit([update('old-2', epoch, 1, finished)]);
    await advance(10_000);
    const { nowMs } = await store.commit([insert('young', epoch, finished)]);
    same(await store.prune({ finishedBeforeMs: nowMs - 5_000, keepMax: 100, limit: 10 }), 2);
    same(await allGids(store, { limit: 10 }), ['young', 'open']);
    same(await store.load(parseGid('old-1')), undefined);
  },
  'prunes all but the newest that finished, and never more than the limit': async ({ store }) => {
    const { epoch } = await store.join('a', 1_000_000);
    await store.commit([insert('open-1', epoch)]);
    for (const gid of ['t1', 't2', 't3', 't4', 't5']) await store.commit([insert(gid, epoch, finished)]);
    await store.commit([insert('open-2', epoch)]);
    const policy = { finishedBeforeMs: 0, keepMax: 2, limit: 2 };
    same(await store.prune(policy), 2);
    same(await allGids(store, { limit: 10 }), ['open-2', 't5', 't4', 't3', 'open-1']);
    same(await store.prune(policy), 1);
    same(await store.prune(policy), 0);
    same(await allGids(store, { limit: 10 }), ['open-2', 't5', 't4', 'open-1']);
  },
  'prunes by count what was unfinished when it was passed before': async ({ store }) => {
    const { epoch } = await store.join('a', 1_000_000);
    await store.commit([insert('slow', epoch), insert('t1', epoch, finished), insert('t2', epoch, finished)]);
    const policy = { finishedBeforeMs: 0, keepMax: 0, limit: 10 };
    same(await store.prune(policy), 2);
    same(await store.prune(policy), 0);
    await store.commit([update('slow', epoch, 1, finished)]);
    let pruned = 0;
    for (let i = 0; i < 5; i++) pruned += await store.prune(policy);
    same(pruned, 1);
  },
  'lets a gid be used again once it was pruned': async ({ store }) => {
    const { epoch } = await store.join('a', 1_000_000);
    await store.commit([insert('t1', epoch, finished)]);
    same(await store.prune({ finishedBeforeMs: 0, keepMax: 0, limit: 10 }), 1);
    same(await outcomes(store, [insert('t1', epoch)]), [written]);
    same(await allGids(store, { limit: 10 }), ['t1']);
  },
};

const closing: Facts = {
  'refuses every call once it is closed, and closes twice without harm': async ({ store }) => {
    await store.join('a', 1_000);
    await store.close();
    await store.close();
    await rejects(store.commit([]), 'shutting_down');
    await rejects(store.load(parseGid('t1')), 'shutting_down');
    await rejects(store.join('a', 1_000), 'shutting_down');
    await rejects(store.list({ limit: 1 }), 'shutting_down');
  },
};

const facts: Facts = { ...writing, ...owning, ...listing, ...pruning, ...closing };

// ---- what the facts are told with

const written: WriteOutcome = { kind: 'written' };
const exists: WriteOutcome = { kind: 'exists' };
const lost: WriteOutcome = { kind: 'lost' };

const finished = { status: 'committed', dueAtMs: undefined } as const;

type Insert = Extract<Write, { kind: 'insert' }>;
type Update = Extract<Write, { kind: 'update' }>;

function insert(gid: string, epoch: number, fields: Partial<Insert> = {}): Write {
  return {
    kind: 'insert',
    gid: parseGid(gid),
    pattern: 'saga',
    name: 'place-order',
    status: 'running',
    stuck: false,
    plan: '{"plan":1}',
    progress: '{"progress":1}',
    epoch,
    createdAtMs: 1_000,
    dueAtMs: 1_000,
    ...fields,
  };
}

function update(gid: string, epoch: number, revision: number, fields: Partial<Update> = {}): Write {
  return {
    kind: 'update',
    gid: parseGid(gid),
    status: 'running',
    stuck: false,
    progress: '{"progress":2}',
    revision,
    epoch,
    nextEpoch: epoch,
    dueAtMs: 1_000,
    ...fields,
  };
}

async function outcomes(store: Store, batch: readonly Write[]): Promise<readonly WriteOutcome[]> {
  return (await store.commit(batch)).outcomes;
}

async function mustLoad(store: Store, gid: string): Promise<StoredTransaction> {
  const stored = await store.load(parseGid(gid));
  assert(stored !== undefined, `${gid} is in the store`);
  return stored;
}

function mustBe<T>(thing: T | undefined): T {
  assert(thing !== undefined, 'there is such a thing');
  return thing;
}

function othersIn(renewal: Renewal): Company {
  assert(renewal.kind === 'renewed', 'the lease is renewed');
  return renewal.others;
}

async function claimedGids(store: Store, epoch: number, limit = 10): Promise<readonly Gid[]> {
  return (await store.claim(epoch, limit)).map(({ gid }) => gid);
}

async function allGids(store: Store, query: ListQuery): Promise<readonly Gid[]> {
  const gids: Gid[] = [];
  let page = await store.list(query);
  gids.push(...page.items.map(({ gid }) => gid));
  while (page.next !== undefined) {
    page = await store.list({ ...query, cursor: page.next });
    gids.push(...page.items.map(({ gid }) => gid));
  }
  return gids;
}

async function rejects(promise: Promise<unknown>, code: string): Promise<void> {
  const error: unknown = await promise.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  assert(isSettleError(error), `it rejects with a SettleError of code ${code}`);
  same(error.code, code);
}

function same(actual: unknown, expected: unknown, what = ''): void {
  const difference = firstDifference(actual, expected);
  if (difference === undefined) return;
  assert(
    false,
    `${what} at ${difference}: expected ${JSON.stringify(expected)}, got ${JSON.stringify(actual)}`,
  );
}
