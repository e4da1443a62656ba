import { assert } from '../../util/assert.ts';
import type { DeadLetterQuery, RelayStore } from '../store.ts';
import { deadOf, failedOf, message, refuses, same, type Facts } from './world.ts';

export const deadLetters: Facts = {
  'a dead letter leaves its lane, and is kept with what it died of': {
    async check(world) {
      const held = await world.holdOne('a', 1);
      await world.opened.write([message({ id: 'm', lane: 1, key: 'k', headers: { h: 'v' } })]);
      const [m] = await world.read(1);
      assert(m !== undefined, 'it was written');
      const dead = deadOf(m.seq, { attempts: 7, cause: 'attempts', reason: 'it said no', blocksKey: true });
      same(await world.settle(held, { dead: [dead] }), []);
      same(await world.settle(held, { dead: [dead] }), []);
      same(await world.ids(1), []);
      const { items, next } = await world.store.dead.list({}, { limit: 10 });
      const { nowMs } = await world.store.stats();
      same(next, undefined);
      same(items.length, 1);
      const { diedAtMs, ...rest } = items[0] ?? { diedAtMs: 0 };
      assert(Math.abs(nowMs - diedAtMs) < 60_000, 'it died just now');
      same(rest, { ...m, attempts: 7, cause: 'attempts', reason: 'it said no', blocksKey: true });
    },
  },
  'a replayed one is back where it stood, with the same id, as if it had never been tried': {
    async check(world) {
      const held = await world.holdOne('a', 1);
      const [a, b, c] = await world.written(1, 'a', 'b', 'c');
      assert(a !== undefined && b !== undefined && c !== undefined, 'they were written');
      same(await world.settle(held, { started: [{ seq: b.seq, starts: 1 }] }), []);
      same(await world.settle(held, { failed: [failedOf(b.seq)] }), []);
      same(await world.settle(held, { started: [{ seq: b.seq, starts: 1 }] }), []);
      await world.bury(held, [b], { attempts: 3, blocksKey: true });
      same(await world.ids(1), ['a', 'c']);
      same(await world.store.dead.replay({ ids: ['b'] }), 1);
      const expected = [a, b, c].map(({ seq, id }) => [seq, id, 0, 0, undefined]);
      same(
        (await world.read(1)).map(({ seq, id, attempts, starts, dueAtMs }) => [
          seq,
          id,
          attempts,
          starts,
          dueAtMs,
        ]),
        expected,
      );
      same(await world.deadIds(), []);
      same(await world.store.dead.replay({ ids: ['b'] }), 0);
      // It may die again.
      await world.bury(held, [b]);
      same(await world.deadIds(), ['b']);
    },
  },
  'who replays or purges at the same time takes each once': {
    async check(world) {
      const held = await world.holdOne('a', 1);
      const ids = Array.from({ length: 60 }, (_, n) => `${n}`.padStart(2, '0'));
      const all = await world.written(1, ...ids);
      same(await world.settle(held, { dead: all.map(({ seq }) => deadOf(seq)) }), []);
      let replayed = 0;
      let purged = 0;
      for (let rounds = 0; rounds < 20 && replayed + purged < 60; rounds++) {
        const [first, second, third] = await Promise.all([
          world.store.dead.replay({}, 20),
          world.store.dead.replay({}, 20),
          world.store.dead.purge({}, 20),
        ]);
        replayed += first + second;
        purged += third;
      }
      same(replayed + purged, 60);
      same((await world.ids(1)).length, replayed);
      same(await world.deadIds(), []);
    },
  },
  'they are listed oldest first, in pages that go on where the one before ended': {
    async check(world) {
      const [one, two] = await world.hold('a', 1, 2);
      assert(one !== undefined && two !== undefined, 'both are held');
      const ids = Array.from({ length: 10 }, (_, n) => `m${n}`);
      const first = await world.written(1, ...ids.slice(0, 5));
      const second = await world.written(2, ...ids.slice(5));
      await world.bury(two, second);
      // These die in the same moment.
      same(await world.settle(one, { dead: first.map(({ seq }) => deadOf(seq)) }), []);
      const seen: string[] = [];
      let cursor: string | undefined;
      for (let pages = 0; pages < 20; pages++) {
        const page = await world.store.dead.list({}, { limit: 3, ...(cursor !== undefined && { cursor }) });
        assert(page.items.length <= 3, 'a page has no more than it is allowed');
        seen.push(...page.items.map(({ id }) => id));
        cursor = page.next;
        if (cursor === undefined) break;
      }
      same(seen, [...ids.slice(5), ...ids.slice(0, 5)]);
      same((await world.store.dead.list({}, { limit: 10 })).next, undefined);
    },
  },
  'a query takes those of which all its conditions hold': {
    async check(world) {
      const held = await world.holdOne('a', 1);
      await world.opened.write([
        message({ id: 'p1', lane: 1, type: 'paid' }),
        message({ id: 'p2', lane: 1, type: 'paid' }),
        message({ id: 's1', lane: 1, type: 'shipped' }),
        message({ id: 's2', lane: 1, type: 'shipped' }),
      ]);
      const all = await world.read(1);
      await world.bury(held, all.slice(0, 1), { cause: 'poison' });
      await world.bury(held, all.slice(1, 3), { cause: 'crash' });
      await world.opened.pass(60_000);
      await world.bury(held, all.slice(3), { cause: 'poison' });
      const { nowMs } = await world.store.stats();
      const found = async (query: Parameters<RelayStore['dead']['list']>[0]) =>
        (await world.store.dead.list(query, { limit: 100 })).items.map(({ id }) => id);
      same(await found({}), ['p1', 'p2', 's1', 's2']);
      same(await found({ type: 'paid' }), ['p1', 'p2']);
      same(await found({ cause: 'poison' }), ['p1', 's2']);
      same(await found({ ids: ['s1', 'p2', 'nobody'] }), ['p2', 's1']);
      same(await found({ ids: [] }), []);
      same(await found({ diedBeforeMs: nowMs - 30_000 }), ['p1', 'p2', 's1']);
      same(await found({ type: 'shipped', cause: 'poison', diedBeforeMs: nowMs - 30_000 }), []);
      same(await found({ type: 'paid', cause: 'crash', ids: ['p1', 'p2'] }), ['p2']);
      same(await world.store.dead.purge({ type: 'paid' }, 1), 1);
      same(await found({}), ['p2', 's1', 's2']);
      same(await world.store.dead.replay({ cause: 'poison' }), 1);
      same(await world.ids(1), ['s2']);
      same(await found({}), ['p2', 's1']);
    },
  },
  'ids and types that differ only in case, or in a space at the end, are not taken for each other': {
    async check(world) {
      const held = await world.holdOne('a', 1);
      const names = ['a', 'A', 'a ', "a'"];
      await world.opened.write(names.map((name) => message({ id: name, lane: 1, type: `t ${name}` })));
      await world.bury(held, await world.read(1));
      same(await world.store.dead.replay({ type: 't a' }), 1);
      same(await world.store.dead.purge({ ids: ['a', "a'"] }), 1);
      same(await world.ids(1), ['a']);
      same(await world.deadIds(), ['A', 'a ']);
    },
  },
  'the keys that wait for a dead letter are told by lane, until it is replayed or purged': {
    async check(world) {
      const [one, two] = await world.hold('a', 1, 2);
      assert(one !== undefined && two !== undefined, 'both are held');
      const keys = ['a', 'A', 'a ', 'gone', 'free'];
      await world.opened.write([
        ...keys.map((key) => message({ id: key, lane: 1, key })),
        message({ id: 'elsewhere', lane: 1, key: 'a', target: 'http', address: 'b' }),
        message({ id: 'no key', lane: 1, key: undefined }),
        message({ id: 'other lane', lane: 2, key: 'z' }),
      ]);
      for (const stored of await world.read(1)) {
        await world.bury(one, [stored], { blocksKey: stored.id !== 'free' });
      }
      await world.bury(two, await world.read(2), { blocksKey: true });
      const blocked = async (...lanes: number[]) =>
        (await world.store.blockedKeys(lanes))
          .map(({ lane, target, address, key }) => [lane, target, address, key].join('|'))
          .toSorted();
      const ofLane1 = ['1|http|b|a', '1|kafka|orders|A', '1|kafka|orders|a', '1|kafka|orders|a '];
      same(await blocked(1), [...ofLane1, '1|kafka|orders|gone'].toSorted());
      same(await blocked(2, 3), ['2|kafka|orders|z']);
      same(await blocked(), []);
      same(await world.store.dead.purge({ ids: ['gone'] }), 1);
      same(await blocked(1), ofLane1);
      same(await world.store.dead.replay({ ids: ['a', 'A', 'a ', 'elsewhere'] }), 4);
      same(await blocked(1), []);
    },
  },
  'limits and cursors that mean nothing are refused': {
    async check({ store }) {
      for (const limit of [0, -1, 1.5, 1_001, NaN]) {
        await refuses('invalid_request', store.dead.list({}, { limit }));
      }
      for (const cursor of ['', 'x', '1.2', "1.1.1' or 1"]) {
        await refuses('invalid_request', store.dead.list({}, { limit: 1, cursor }));
      }
      await refuses('invalid_request', store.dead.replay({}, 0));
      // What was meant to choose some must not take all.
      const undefinedType = { type: undefined } as unknown as DeadLetterQuery;
      await refuses('invalid_request', store.dead.purge(undefinedType));
      await refuses('invalid_request', store.dead.replay({ diedBefore: 5 } as DeadLetterQuery));
      await refuses('invalid_request', store.dead.purge({}, 1e9));
    },
  },
};
