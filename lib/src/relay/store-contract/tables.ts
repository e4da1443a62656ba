import { assert } from '../../util/assert.ts';
import { deadOf, message, refuses, same, settlement, ttlMs, type Facts } from './world.ts';

export const tables: Facts = {
  'stats count what waits, and tell of the oldest in a lane': {
    async check(world) {
      const empty = await world.store.stats();
      same(
        [empty.pending, empty.oldestMs, empty.delayed, empty.dead, empty.relays, empty.lanesHeld],
        [0, undefined, 0, 0, 0, 0],
      );
      const held = await world.holdOne('a', 1);
      await world.written(1, 'm', 'n', 'dies');
      const [m, , dies] = await world.read(1);
      await world.bury(held, dies === undefined ? [] : [dies]);
      await world.opened.write([message({ id: 'd', lane: 2, delayMs: 1_000 })]);
      await world.opened.pass(5_000);
      await world.store.heartbeat('b', ttlMs);
      const stats = await world.store.stats();
      same([stats.pending, stats.delayed, stats.dead, stats.relays, stats.lanesHeld], [2, 1, 1, 2, 1]);
      const { oldestMs = 0 } = stats;
      assert(m !== undefined && oldestMs >= 5_000 && oldestMs < 60_000, `the oldest is ${oldestMs} ms old`);
      await world.opened.pass(ttlMs + 1);
      const later = await world.store.stats();
      same([later.relays, later.lanesHeld], [0, 0]);
    },
  },
  'dedup keys are forgotten when they are old enough, at most so many at a time': {
    needs: 'dedup',
    async check({ store, opened }) {
      const { dedup } = opened;
      assert(dedup !== undefined, 'a store that does not lack dedup has it');
      await dedup.remember(['a', 'A', 'a ', 'b']);
      await opened.pass(60_000);
      await dedup.remember(['new']);
      same(await store.prune({ dedupOlderThanMs: 120_000, limit: 10 }), 0);
      same(await store.prune({ dedupOlderThanMs: 30_000, limit: 3 }), 3);
      same(await store.prune({ dedupOlderThanMs: 30_000, limit: 3 }), 1);
      same(await dedup.remembered(), ['new']);
    },
  },
  'tables of a newer version are refused': {
    needs: 'tables',
    async check(world) {
      const { makeNewer } = world.opened;
      assert(makeNewer !== undefined, 'a store that does not lack tables has makeNewer');
      await world.store.heartbeat('a', ttlMs);
      await makeNewer();
      const { store } = world;
      const calls = {
        heartbeat: () => store.heartbeat('a', ttlMs),
        'dead.list': () => store.dead.list({}, { limit: 1 }),
        'dead.replay': () => store.dead.replay({}),
        'dead.purge': () => store.dead.purge({}),
        stats: () => store.stats(),
      };
      for (const [name, call] of Object.entries(calls)) await refuses('store_newer', call(), name);
    },
  },
  'every call says that the tables are missing': {
    needs: 'tables',
    async check(world) {
      const { dropTables } = world.opened;
      assert(dropTables !== undefined, 'a store that does not lack tables has dropTables');
      await dropTables();
      const { store } = world;
      const lane = { lane: 1, token: 1n };
      const calls = {
        heartbeat: () => store.heartbeat('a', ttlMs),
        claim: () => store.claim('a', ttlMs, [lane]),
        release: () => store.release('a', [lane]),
        leave: () => store.leave('a'),
        read: () => store.read([{ lane: 1, after: 0n, limit: 1 }]),
        'settle done': () => store.settle([settlement(lane, { done: [1n] })]),
        'settle dead': () => store.settle([settlement(lane, { dead: [deadOf(1n)] })]),
        promote: () => store.promote(1),
        blockedKeys: () => store.blockedKeys([1]),
        prune: () => store.prune({ dedupOlderThanMs: 1, limit: 1 }),
        'dead.list': () => store.dead.list({}, { limit: 1 }),
        'dead.replay': () => store.dead.replay({}),
        'dead.purge': () => store.dead.purge({}),
        stats: () => store.stats(),
      };
      for (const [name, call] of Object.entries(calls)) await refuses('tables_missing', call(), name);
    },
  },
};
