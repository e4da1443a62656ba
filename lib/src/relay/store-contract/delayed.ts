import { assert } from '../../util/assert.ts';
import { message, same, type Facts } from './world.ts';

export const delayed: Facts = {
  'a delayed message is in no lane until it is due, and then at its end': {
    async check(world) {
      await world.opened.write([
        message({ id: 'soon', lane: 1, delayMs: 10_000, key: 'k', headers: { a: 'b' } }),
        message({ id: 'later', lane: 1, delayMs: 50_000 }),
        message({ id: 'now', lane: 1 }),
      ]);
      same(await world.ids(1), ['now']);
      const before = await world.store.promote(10);
      same(before.moved, 0);
      assert(
        (before.nextInMs ?? 0) > 0 && (before.nextInMs ?? 0) <= 10_000,
        'it tells when the first is due',
      );
      await world.opened.pass(10_000);
      const after = await world.store.promote(10);
      same(after.moved, 1);
      assert((after.nextInMs ?? 0) > 0 && (after.nextInMs ?? 0) <= 40_000, 'it tells when the next is due');
      const read = await world.read(1);
      same(
        read.map(({ id, key, headers }) => [id, key, headers]),
        [
          ['now', undefined, {}],
          ['soon', 'k', { a: 'b' }],
        ],
      );
    },
  },
  'without delayed messages there is no next one': {
    async check({ store }) {
      same(await store.promote(10), { moved: 0, nextInMs: undefined });
    },
  },
  'those that are due come in the order in which they became so, at most so many at a time': {
    async check(world) {
      const delays = [500, 100, 400, 200, 300];
      await world.opened.write(delays.map((delayMs) => message({ id: `${delayMs}`, lane: 1, delayMs })));
      await world.opened.pass(1_000);
      same(await world.store.promote(2), { moved: 2, nextInMs: 0 });
      same(await world.ids(1), ['100', '200']);
      same(await world.store.promote(10), { moved: 3, nextInMs: undefined });
      same(await world.ids(1), ['100', '200', '300', '400', '500']);
    },
  },
  'relays that promote at the same time move each message once': {
    async check(world) {
      const ids = Array.from({ length: 200 }, (_, n) => `${n}`.padStart(3, '0'));
      await world.opened.write(ids.map((id) => message({ id, lane: 1, delayMs: 1 })));
      await world.opened.pass(1_000);
      let moved = 0;
      for (let rounds = 0; rounds < 20 && moved < ids.length; rounds++) {
        const promotions = await Promise.all([1, 2, 3, 4].map(() => world.store.promote(30)));
        moved += promotions.reduce((sum, one) => sum + one.moved, 0);
      }
      same(moved, ids.length);
      same((await world.ids(1)).toSorted(), ids);
      same((await world.store.stats()).delayed, 0);
    },
  },
};
