import { assert } from '../../util/assert.ts';
import type { LaneToken, Settlement } from '../store.ts';
import { deadOf, failedOf, lanesOf, same, settlement, ttlMs, type Facts } from './world.ts';

export const settling: Facts = {
  'what is published is deleted, of several lanes at once, and nothing else': {
    async check(world) {
      const [one, two] = await world.hold('a', 1, 2);
      assert(one !== undefined && two !== undefined, 'both are held');
      const first = await world.written(1, 'a', 'b', 'c');
      const second = await world.written(2, 'd', 'e');
      const lost = await world.store.settle([
        settlement(one, { done: [first[0]?.seq ?? 0n, first[2]?.seq ?? 0n] }),
        settlement(two, { done: [second[0]?.seq ?? 0n] }),
      ]);
      same(lost, []);
      same([await world.ids(1), await world.ids(2)], [['b'], ['e']]);
    },
  },
  'a message that is gone already is no error, whatever is to be written of it': {
    async check(world) {
      const held = await world.holdOne('a', 1);
      const { seq } = await world.writtenOne(1, 'm');
      same(await world.settle(held, { done: [seq] }), []);
      same(await world.settle(held, { done: [seq] }), []);
      const fates = { started: [{ seq, starts: 1 }], failed: [failedOf(seq)], dead: [deadOf(seq)] };
      same(await world.settle(held, fates), []);
      same(await world.settle(held, { failed: [failedOf(seq, { place: 'later' })] }), []);
      const stats = await world.store.stats();
      same([stats.pending, stats.delayed, stats.dead], [0, 0, 0]);
    },
  },
  'under a token that does not stand nothing changes, and the lane is told to be lost': {
    async check(world) {
      const stale = await world.holdOne('a', 1);
      const kept = await world.holdOne('a', 2);
      const [m] = await world.written(1, 'm', 'n');
      const [o, p] = await world.written(2, 'o', 'p');
      await world.opened.pass(ttlMs + 1);
      const before = await world.read(1);
      const current = await world.holdOne('b', 1);
      const seq = m?.seq ?? 0n;
      const everything: Partial<Settlement>[] = [
        { done: [seq] },
        { started: [{ seq, starts: 1 }] },
        { failed: [failedOf(seq)] },
        { failed: [failedOf(seq, { place: 'later' })] },
        { dead: [deadOf(seq)] },
        {},
      ];
      for (const what of everything) {
        same(await world.settle(stale, what), [1], `the lost lanes of ${Object.keys(what).join()}`);
        same(await world.settle({ lane: 1, token: current.token + 1n }, what), [1]);
        same(await world.read(1), before);
      }
      same(await world.deadIds(), []);
      same((await world.store.stats()).delayed, 0);
      // Of several lanes only those are lost, on either path.
      same(
        await world.store.settle([
          settlement(stale, { done: [seq] }),
          settlement(kept, { done: [o?.seq ?? 0n] }),
        ]),
        [1],
      );
      same(
        await world.store.settle([
          settlement(kept, { dead: [deadOf(p?.seq ?? 0n)] }),
          settlement(stale, { dead: [deadOf(seq)] }),
        ]),
        [1],
      );
      same(await world.ids(2), []);
      same(await world.deadIds(), ['p']);
      same(await world.read(1), before);
    },
  },
  'settling nothing tells whether the lane is held': {
    async check(world) {
      const held = await world.holdOne('a', 1);
      same(await world.settle(held, {}), []);
      same(await world.store.settle([]), []);
    },
  },
  'a lane stands under its token until somebody else has it, also when the lease has run out': {
    async check(world) {
      const held = await world.holdOne('a', 1);
      const [m, n] = await world.written(1, 'm', 'n');
      await world.opened.pass(ttlMs + 1);
      same(await world.settle(held, { done: [m?.seq ?? 0n] }), []);
      same(await world.settle(held, { dead: [deadOf(n?.seq ?? 0n)] }), []);
    },
  },
  'of a take-over and a dead letter at the same time, one comes first, and the other knows': {
    async check(world) {
      let held: LaneToken = await world.holdOne('a', 1);
      for (let round = 0; round < 20; round++) {
        const { seq } = await world.writtenOne(1, `m${round}`);
        await world.opened.pass(ttlMs + 1);
        const [lost, claimed] = await Promise.all([
          world.settle(held, { dead: [deadOf(seq)] }),
          world.store.claim('b', ttlMs, [held]),
        ]);
        same(lanesOf(claimed), [1]);
        same([await world.ids(1), lost], lost.length === 0 ? [[], []] : [[`m${round}`], [1]]);
        held = claimed[0] ?? held;
        same(await world.settle(held, { done: [seq] }), []);
      }
    },
  },
  'one that failed keeps its place, counts its attempts, and is due by the clock of the database': {
    async check(world) {
      const held = await world.holdOne('a', 1);
      const [m] = await world.written(1, 'm', 'n');
      const seq = m?.seq ?? 0n;
      same(await world.settle(held, { started: [{ seq, starts: 1 }] }), []);
      same(await world.settle(held, { failed: [failedOf(seq, { attempts: 4, retryInMs: 30_000 })] }), []);
      const [read, next] = await world.read(1);
      const { nowMs } = await world.store.stats();
      same([read?.id, read?.seq, read?.attempts, read?.starts], ['m', seq, 4, 0]);
      same([next?.id, next?.attempts, next?.dueAtMs], ['n', 0, undefined]);
      const inMs = (read?.dueAtMs ?? 0) - nowMs;
      assert(inMs > 0 && inMs <= 30_000, `it is due in ${inMs} ms`);
    },
  },
  'one that failed and may come later comes back at the end of its lane when it is due': {
    async check(world) {
      const held = await world.holdOne('a', 1);
      const [m] = await world.written(1, 'm', 'n');
      const failed = failedOf(m?.seq ?? 0n, { attempts: 2, retryInMs: 30_000, place: 'later' });
      same(await world.settle(held, { failed: [failed] }), []);
      same(await world.ids(1), ['n']);
      const waiting = await world.store.promote(10);
      same(waiting.moved, 0);
      assert((waiting.nextInMs ?? 0) > 0 && (waiting.nextInMs ?? 0) <= 30_000, 'it is next within that time');
      await world.opened.pass(30_000);
      same(await world.store.promote(10), { moved: 1, nextInMs: undefined });
      const read = await world.read(1);
      same(
        read.map(({ id, attempts, dueAtMs }) => [id, attempts, dueAtMs]),
        [
          ['n', 0, undefined],
          ['m', 2, undefined],
        ],
      );
      assert((read[1]?.seq ?? 0n) > (read[0]?.seq ?? 0n), 'its number is a new one');
    },
  },
  'a start is written down as it was counted, the same twice as once': {
    async check(world) {
      const held = await world.holdOne('a', 1);
      const [m] = await world.written(1, 'm', 'n');
      for (const starts of [1, 1, 2, 3]) {
        same(await world.settle(held, { started: [{ seq: m?.seq ?? 0n, starts }] }), []);
        same(
          (await world.read(1)).map((one) => one.starts),
          [starts, 0],
        );
      }
    },
  },
  'one call may have every kind of fate in it': {
    async check(world) {
      const held = await world.holdOne('a', 1);
      const all = await world.written(1, 'done', 'started', 'stays', 'later', 'dead', 'untouched');
      const [done, started, stays, later, dead] = all.map(({ seq }) => seq);
      const lost = await world.settle(held, {
        done: [done ?? 0n],
        started: [{ seq: started ?? 0n, starts: 1 }],
        failed: [failedOf(stays ?? 0n), failedOf(later ?? 0n, { place: 'later' })],
        dead: [deadOf(dead ?? 0n)],
      });
      same(lost, []);
      same(
        (await world.read(1)).map(({ id, starts, attempts }) => [id, starts, attempts]),
        [
          ['started', 1, 0],
          ['stays', 0, 1],
          ['untouched', 0, 0],
        ],
      );
      same(await world.deadIds(), ['dead']);
      same((await world.store.stats()).delayed, 1);
    },
  },
  'five hundred that fail at once are all written down': {
    async check(world) {
      const held = await world.holdOne('a', 1);
      const ids = Array.from({ length: 500 }, (_, n) => `m${n}`);
      const all = await world.written(1, ...ids);
      same(await world.settle(held, { failed: all.map(({ seq }) => failedOf(seq)) }), []);
      same((await world.read(1)).filter(({ attempts }) => attempts === 1).length, 500);
      same(await world.settle(held, { dead: all.map(({ seq }) => deadOf(seq)) }), []);
      same((await world.store.stats()).dead, 500);
      same(await world.store.dead.replay({}, 500), 500);
      same(await world.ids(1), ids);
    },
  },
  'a reason may be of any length, and hold what no database keeps': {
    async check(world) {
      const held = await world.holdOne('a', 1);
      const [m, n] = await world.written(1, 'm', 'n');
      const reason = `\0 \ud800 🚀 '"\\ ${'x'.repeat(100_000)}`;
      const fates = {
        failed: [failedOf(m?.seq ?? 0n, { reason })],
        dead: [deadOf(n?.seq ?? 0n, { reason })],
      };
      same(await world.settle(held, fates), []);
      const { items } = await world.store.dead.list({}, { limit: 1 });
      assert(items[0]?.reason.includes('🚀 \'"\\ xxx') === true, 'what can be kept is kept');
    },
  },
};
