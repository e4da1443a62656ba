import { assert } from '../../util/assert.ts';
import { laneCount } from '../../outbox/message.ts';
import { deadOf, failedOf, lanesOf, same, ttlMs, type Facts } from './world.ts';

export const leases: Facts = {
  'all lanes are free at first, and no relay holds any': {
    async check({ store }) {
      const view = await store.heartbeat('a', ttlMs);
      same(view.relays, 1);
      same(view.held, []);
      same(
        lanesOf(view.free),
        Array.from({ length: laneCount }, (_, lane) => lane),
      );
    },
  },
  'a claim takes free lanes over, each under a greater token, and they are free for nobody': {
    async check(world) {
      const { free } = await world.store.heartbeat('a', ttlMs);
      const got = await world.hold('a', 3, 5);
      for (const { lane, token, abandoned } of got) {
        same(abandoned, false);
        assert(token > (free.find((one) => one.lane === lane)?.token ?? token), 'the token grows');
      }
      same(lanesOf((await world.store.heartbeat('a', ttlMs)).held), [3, 5]);
      const other = await world.store.heartbeat('b', ttlMs);
      same(other.held, []);
      same(other.free.length, laneCount - 2);
    },
  },
  'what is held is told with the tokens it is held under': {
    async check(world) {
      const got = await world.hold('a', 3, 5);
      const { held } = await world.store.heartbeat('a', ttlMs);
      same(
        held,
        got.map(({ lane, token }) => ({ lane, token })),
      );
    },
  },
  'of relays that claim a lane at the same time one gets it': {
    async check({ store }) {
      const { free } = await store.heartbeat('a', ttlMs);
      const wanted = free.slice(0, 3);
      const relays = Array.from({ length: 8 }, (_, n) => `relay ${n}`);
      const got = await Promise.all(relays.map((relay) => store.claim(relay, ttlMs, wanted)));
      same(lanesOf(got.flat()), lanesOf(wanted));
    },
  },
  'a claim with a token that does not stand gets nothing, also when the lane is free': {
    async check(world) {
      const { free } = await world.store.heartbeat('a', ttlMs);
      const old = free.filter(({ lane }) => lane === 3);
      const held = await world.holdOne('a', 3);
      await world.store.release('a', [held]);
      same(await world.store.claim('b', ttlMs, old), []);
      same(lanesOf(await world.store.claim('b', ttlMs, [held])), [3]);
    },
  },
  'a claim gets nothing of a lane that is held, with the right token': {
    async check(world) {
      const held = await world.holdOne('a', 3);
      same(await world.store.claim('b', ttlMs, [held]), []);
      same(await world.store.claim('b', ttlMs, []), []);
    },
  },
  'a heartbeat prolongs what the relay holds': {
    async check(world) {
      await world.hold('a', 3);
      for (let beats = 0; beats < 3; beats++) {
        await world.opened.pass(ttlMs * 0.8);
        await world.store.heartbeat('a', ttlMs);
      }
      same(lanesOf((await world.store.heartbeat('b', ttlMs)).free).includes(3), false);
    },
  },
  'a lane whose relay is not heard of is free when its lease has run out, and whoever takes it is told': {
    async check(world) {
      const first = await world.holdOne('a', 3);
      await world.opened.pass(ttlMs + 1);
      const second = await world.holdOne('b', 3);
      same(second.abandoned, true);
      assert(second.token > first.token, 'the token grows');
      same((await world.store.heartbeat('a', ttlMs)).held, []);
    },
  },
  'a lane that was given back is not abandoned': {
    async check(world) {
      const first = await world.holdOne('a', 3);
      await world.store.release('a', [first]);
      const second = await world.holdOne('b', 3);
      same(second.abandoned, false);
      assert(second.token > first.token, 'the token grows');
    },
  },
  'the token grows also when a relay takes its own lane again': {
    async check(world) {
      const first = await world.holdOne('a', 3);
      await world.opened.pass(ttlMs + 1);
      const again = await world.store.claim('a', ttlMs, [first]);
      same(lanesOf(again), [3]);
      assert((again[0]?.token ?? 0n) > first.token, 'the token grows');
    },
  },
  'a lane is given back only by who holds it, under the token it is held under': {
    async check(world) {
      const first = await world.holdOne('a', 3);
      await world.store.release('b', [first]);
      await world.opened.pass(ttlMs + 1);
      const second = await world.holdOne('b', 3);
      await world.store.release('a', [first]);
      await world.store.release('b', [{ lane: 3, token: first.token }]);
      await world.store.release('b', []);
      same(lanesOf((await world.store.heartbeat('b', ttlMs)).held), [3]);
      await world.store.release('b', [second]);
      same((await world.store.heartbeat('b', ttlMs)).held, []);
    },
  },
  'a relay that leaves gives everything back, and is counted no more': {
    async check(world) {
      const [held] = await world.hold('a', 3, 5);
      same((await world.store.heartbeat('b', ttlMs)).relays, 2);
      await world.store.leave('a');
      const view = await world.store.heartbeat('b', ttlMs);
      same(view.relays, 1);
      same(view.free.length, laneCount);
      const [taken] = await world.store.claim(
        'b',
        ttlMs,
        view.free.filter(({ lane }) => lane === held?.lane),
      );
      same(taken?.abandoned, false);
    },
  },
  'a relay that is not heard of is counted until its time has run out': {
    async check(world) {
      await world.store.heartbeat('a', ttlMs);
      await world.opened.pass(ttlMs / 2);
      same((await world.store.heartbeat('b', ttlMs)).relays, 2);
      await world.opened.pass(ttlMs / 2 + 1);
      same((await world.store.heartbeat('b', ttlMs)).relays, 1);
    },
  },
  'a relay whose own clock is an hour off changes nothing': {
    needs: 'clock',
    async check(world) {
      const before = await world.store.heartbeat('a', ttlMs);
      const held = await world.holdOne('a', 3);
      const one = await world.writtenOne(3, 'm');
      for (const offMs of [3_600_000, -3_600_000]) {
        await withClockOff(offMs, async () => {
          const view = await world.store.heartbeat('b', ttlMs);
          same(lanesOf(view.free).includes(3), false, 'whether it is free for one with a wrong clock');
          assert(Math.abs(view.nowMs - before.nowMs) < 600_000, 'the time is that of the database');
          same(await world.store.claim('b', ttlMs, [held]), []);
          same(await world.settle(held, { failed: [failedOf(one.seq, { retryInMs: 5_000 })] }), []);
          const [failed] = await world.read(3);
          const inMs = (failed?.dueAtMs ?? 0) - view.nowMs;
          assert(inMs >= 5_000 && inMs < 600_000, `it is due in ${inMs} ms`);
        });
      }
      same(lanesOf((await world.store.heartbeat('a', ttlMs)).held), [3]);
    },
  },
  'tokens beyond 2^53 are exact': {
    needs: 'numbers',
    async check(world) {
      const { setTokens } = world.opened;
      assert(setTokens !== undefined, 'a store that does not lack numbers has setTokens');
      await setTokens(2n ** 53n);
      const held = await world.holdOne('a', 3);
      same(held.token, 2n ** 53n + 1n);
      const [one, two] = await world.written(3, 'one', 'two');
      const near = { lane: 3, token: held.token - 1n };
      same(await world.settle(near, { done: [one?.seq ?? 0n] }), [3]);
      same(await world.settle(near, { dead: [deadOf(one?.seq ?? 0n)] }), [3]);
      same(await world.settle(held, { done: [one?.seq ?? 0n] }), []);
      same(await world.settle(held, { dead: [deadOf(two?.seq ?? 0n)] }), []);
      same(await world.store.claim('b', ttlMs, [near]), []);
      same((await world.store.heartbeat('a', ttlMs)).held, [{ lane: 3, token: held.token }]);
    },
  },
};

/** Takes effect for whatever asks the process for the time of day. */
async function withClockOff(offMs: number, work: () => Promise<void>): Promise<void> {
  const { now } = Date;
  Date.now = () => Reflect.apply(now, Date, []) + offMs;
  try {
    await work();
  } finally {
    Date.now = now;
  }
}
