/**
 * The facts every store of relays holds to, ours and yours:
 *
 *   import { describe, it } from 'vitest' // or node:test
 *   relayStoreContract({ describe, it }, 'my store', async () => openMine())
 */
import { assert } from '../util/assert.ts';
import { isSettleError, type ErrorCode } from '../util/errors.ts';
import type { MaybePromise } from '../util/maybe-promise.ts';
import { laneCount, type StoredMessage } from '../outbox/message.ts';
import type { ClaimedLane, DeadMessage, FailedMessage, LaneToken, RelayStore, Settlement } from './store.ts';

/** A store with nothing in it, and what happens to its place from outside. */
export interface ContractStore {
  readonly store: RelayStore;
  /** Writes messages, in this order, in a transaction of their own. */
  write(messages: readonly NewMessage[]): Promise<void>;
  /** Begins a transaction that writes and stays open. */
  begin?(): Promise<OpenWriter>;
  /** Begins a transaction that has read, and stays open until it is told to end. */
  readLong?(): Promise<{ end(): Promise<void> }>;
  /** The database's clock goes on: what is stored becomes older. */
  pass(ms: number): Promise<void>;
  /** Makes the next message of a lane have this number, or a greater one. */
  continueFrom(seq: bigint): Promise<void>;
  /** Gives every lane this token. */
  setTokens(token: bigint): Promise<void>;
  /** Writes down dedup keys, as of now. */
  remember(dedupKeys: readonly string[]): Promise<void>;
  remembered(): Promise<readonly string[]>;
  /** Makes the tables those of a version that comes after all that are known. */
  makeNewer?(): Promise<void>;
  dropTables?(): Promise<void>;
  /** Called after the fact is checked, whatever came out. */
  dispose?(): MaybePromise<unknown>;
}

export interface OpenWriter {
  write(messages: readonly NewMessage[]): Promise<void>;
  commit(): Promise<void>;
}

export interface NewMessage extends Omit<
  StoredMessage,
  'seq' | 'createdAtMs' | 'attempts' | 'starts' | 'dueAtMs'
> {
  /** For the delay, due after so many milliseconds. Undefined: for its lane. */
  readonly delayMs: number | undefined;
}

/**
 * What a place may not have, and what the skipped facts then are told to be skipped for.
 * - `writers`: several transactions that write at once (`begin`).
 * - `readers`: a transaction that reads while others write (`readLong`).
 * - `tables`: `makeNewer` and `dropTables`.
 * - `clock`: a clock that is not this process's.
 */
export type Lack = 'writers' | 'readers' | 'tables' | 'clock';

/** Of a test runner, what the suite needs: vitest, jest, mocha and node:test all fit. */
export interface RelayStoreContractRunner {
  describe(name: string, body: () => void): unknown;
  readonly it: {
    (title: string, body: () => Promise<void>): unknown;
    skip(title: string, body: () => Promise<void>): unknown;
  };
}

/** Declares one test per fact. `open` is called for each. A fact that does not hold throws, with what was expected. */
export function relayStoreContract(
  runner: RelayStoreContractRunner,
  name: string,
  open: () => Promise<ContractStore>,
  lacks: Readonly<Partial<Record<Lack, string>>> = {},
): void {
  runner.describe(`relay store contract: ${name}`, () => {
    for (const [title, { check, needs }] of Object.entries(facts)) {
      const reason = needs === undefined ? undefined : lacks[needs];
      const body = async (): Promise<void> => {
        const opened = await open();
        try {
          await check(new World(opened));
        } finally {
          await opened.dispose?.();
        }
      };
      if (reason === undefined) runner.it(title, body);
      else runner.it.skip(`${title} [skipped: ${reason}]`, body);
    }
  });
}

/** Milliseconds of a lease that nothing in a fact outlives by itself. */
const ttlMs = 60_000;

/** A store, and short ways to say what happens to it. */
class World {
  readonly opened: ContractStore;

  constructor(opened: ContractStore) {
    this.opened = opened;
  }

  get store(): RelayStore {
    return this.opened.store;
  }

  /** Takes free lanes over; all that are asked for have to be had. */
  async hold(relay: string, ...lanes: readonly number[]): Promise<readonly ClaimedLane[]> {
    const { free } = await this.store.heartbeat(relay, ttlMs);
    const wanted = free.filter(({ lane }) => lanes.includes(lane));
    const got = await this.store.claim(relay, ttlMs, wanted);
    same(lanesOf(got), [...lanes].toSorted(byNumber), `the lanes that ${relay} got`);
    return got.toSorted((a, b) => lanes.indexOf(a.lane) - lanes.indexOf(b.lane));
  }

  /** The only one that is held. */
  async holdOne(relay: string, lane: number): Promise<ClaimedLane> {
    const [held] = await this.hold(relay, lane);
    assert(held !== undefined, 'hold gives what is asked for');
    return held;
  }

  async read(lane: number, after = 0n, limit = 1_000): Promise<readonly StoredMessage[]> {
    return await this.store.read([{ lane, after, limit }]);
  }

  async ids(lane: number): Promise<readonly string[]> {
    return (await this.read(lane)).map(({ id }) => id);
  }

  /** Writes messages with these ids to a lane, and gives back how they are stored. */
  async written(lane: number, ...ids: readonly string[]): Promise<readonly StoredMessage[]> {
    await this.opened.write(ids.map((id) => message({ id, lane })));
    const stored = await this.read(lane);
    return ids.map((id) => {
      const found = stored.find((one) => one.id === id);
      assert(found !== undefined, `${id} is in lane ${lane}`);
      return found;
    });
  }

  async writtenOne(lane: number, id: string): Promise<StoredMessage> {
    const [one] = await this.written(lane, id);
    assert(one !== undefined, 'one was written');
    return one;
  }

  settle(
    { lane, token }: LaneToken,
    what: Partial<Omit<Settlement, 'lane' | 'token'>>,
  ): Promise<readonly number[]> {
    return this.store.settle([settlement({ lane, token }, what)]);
  }

  /** Lets messages die, in this order, under a token of their lane. */
  async bury(
    held: LaneToken,
    messages: readonly StoredMessage[],
    as: Partial<DeadMessage> = {},
  ): Promise<void> {
    for (const { seq } of messages) {
      same(await this.settle(held, { dead: [deadOf(seq, as)] }), [], 'lost lanes');
      // One after the other, also by their time.
      await this.opened.pass(1);
    }
  }

  async deadIds(): Promise<readonly string[]> {
    const { items } = await this.store.dead.list({}, { limit: 1_000 });
    return items.map(({ id }) => id);
  }
}

interface Fact {
  readonly check: (world: World) => Promise<void>;
  readonly needs?: Lack;
}

type Facts = Readonly<Record<string, Fact>>;

const leases: Facts = {
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
    async check(world) {
      await world.opened.setTokens(2n ** 53n);
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

const reading: Facts = {
  'a message is read as it was written': {
    async check(world) {
      const written = message({
        id: 'id-1',
        lane: 7,
        type: 'order.placed',
        version: 3,
        target: 'http',
        address: 'https://example.org/hooks?a=b',
        key: 'Ключ 🔑 ',
        payload: `{"text":"${'ß\\u0000\\n🚀'.repeat(20_000)}"}`,
        headers: { traceparent: '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01', note: 'ü ' },
      });
      const { delayMs: _, ...contents } = written;
      await world.opened.write([written]);
      const [read] = await world.read(7);
      const { nowMs } = await world.store.stats();
      assert(read !== undefined, 'it is read');
      const { seq, createdAtMs, ...rest } = read;
      assert(seq > 0n, 'its number is beyond 0');
      assert(Math.abs(nowMs - createdAtMs) < 60_000, 'it was created just now');
      same(rest, { ...contents, attempts: 0, starts: 0, dueAtMs: undefined });
    },
  },
  'a message without key and headers is read without': {
    async check(world) {
      await world.opened.write([message({ id: 'bare', lane: 1, key: undefined, headers: {} })]);
      const [read] = await world.read(1);
      same(read?.key, undefined);
      same(read?.headers, {});
    },
  },
  'keys and ids that differ only in case, or in a space at the end, are kept apart': {
    async check(world) {
      const names = ['a', 'A', 'a ', ' a', 'ä'];
      await world.opened.write(names.map((name) => message({ id: name, lane: 1, key: name })));
      const read = await world.read(1);
      same(
        read.map(({ id, key }) => [id, key]),
        names.map((name) => [name, name]),
      );
    },
  },
  'each lane is read in order of its numbers, from its floor on, at most so many': {
    async check(world) {
      const lanes = [0, 1, 2, 63];
      const written = Array.from({ length: 40 }, (_, n) =>
        message({ id: `${n}`, lane: lanes[n % lanes.length] ?? 0 }),
      );
      await world.opened.write(written);
      const all = await world.store.read(lanes.map((lane) => ({ lane, after: 0n, limit: 100 })));
      for (const lane of lanes) {
        const of = all.filter((one) => one.lane === lane);
        same(
          of.map(({ id }) => id),
          written.filter((one) => one.lane === lane).map(({ id }) => id),
        );
        same(
          of.map(({ seq }) => seq),
          of.map(({ seq }) => seq).toSorted(byNumber),
        );
      }
      const second = all.filter(({ lane }) => lane === 1).at(1);
      const some = await world.store.read([
        { lane: 1, after: second?.seq ?? 0n, limit: 3 },
        { lane: 63, after: 0n, limit: 1 },
        { lane: 2, after: 2n ** 62n, limit: 5 },
      ]);
      same(some.map(({ id }) => id).toSorted(), ['9', '13', '17', '3'].toSorted());
    },
  },
  'reading no lanes, or empty ones, gives nothing': {
    async check(world) {
      same(await world.store.read([]), []);
      same(await world.read(12), []);
    },
  },
  'reading changes nothing: the next one reads the same': {
    async check(world) {
      await world.written(4, 'one', 'two');
      same(await world.read(4), await world.read(4));
    },
  },
  'numbers beyond 2^53 are exact': {
    async check(world) {
      await world.opened.continueFrom(2n ** 53n);
      const held = await world.holdOne('a', 9);
      const [one, two, three, four] = await world.written(9, 'one', 'two', 'three', 'four');
      const seqs = [one, two, three, four].map((each) => each?.seq ?? 0n);
      assert((seqs[0] ?? 0n) >= 2n ** 53n, 'the numbers go on from there');
      same(new Set(seqs).size, 4);
      same(await world.ids(9), ['one', 'two', 'three', 'four']);
      same(
        (await world.read(9, seqs[1])).map(({ id }) => id),
        ['three', 'four'],
      );
      same(await world.settle(held, { done: [seqs[1] ?? 0n] }), []);
      same(await world.ids(9), ['one', 'three', 'four']);
      const dead = deadOf(seqs[2] ?? 0n);
      const failed = failedOf(seqs[0] ?? 0n);
      same(await world.settle(held, { failed: [failed], dead: [dead] }), []);
      same(
        (await world.read(9)).map(({ id, attempts }) => [id, attempts]),
        [
          ['one', 1],
          ['four', 0],
        ],
      );
      same(await world.store.dead.replay({}), 1);
      same(
        (await world.read(9)).map(({ seq }) => seq),
        [seqs[0], seqs[2], seqs[3]],
      );
    },
  },
  'a message whose transaction commits late is seen, although its number is smaller': {
    needs: 'writers',
    async check(world) {
      const late = await beginOn(world);
      await late.write([message({ id: 'late', lane: 2 })]);
      const early = await world.writtenOne(2, 'early');
      await late.commit();
      const all = await world.read(2);
      same(
        all.map(({ id }) => id),
        ['late', 'early'],
      );
      assert((all[0]?.seq ?? 0n) < early.seq, 'its number is smaller');
    },
  },
  'what is published is deleted at once while writers hold their transactions open, and nothing of theirs goes':
    {
      needs: 'writers',
      async check(world) {
        const held = await world.holdOne('a', 2);
        const before = await world.written(2, 'x', 'y', 'z');
        const open = await beginOn(world);
        await open.write([message({ id: 'open', lane: 2 })]);
        // A delete that read on from what is given would wait here for the writer.
        same(await world.settle(held, { done: before.map(({ seq }) => seq) }), []);
        const more = await world.written(2, 'u', 'v', 'w');
        const [u, v, w] = more.map(({ seq }) => seq);
        const fates = {
          done: [u ?? 0n],
          failed: [failedOf(v ?? 0n, { place: 'later' })],
          dead: [deadOf(w ?? 0n)],
        };
        same(await world.settle(held, fates), []);
        same(await world.ids(2), []);
        await open.commit();
        same(await world.ids(2), ['open']);
      },
    },
  'of 64 writers at once, with transactions of up to 20 ms, not one message is skipped': {
    needs: 'writers',
    async check(world) {
      const writers = 64;
      const rounds = 4;
      const held = await world.hold('a', 0, 1);
      const expected: string[] = [];
      const write = async (writer: number): Promise<void> => {
        for (let round = 0; round < rounds; round++) {
          const open = await beginOn(world);
          const ids = [`${writer}.${round}.0`, `${writer}.${round}.1`];
          for (const [n, id] of ids.entries()) {
            await open.write([message({ id, lane: (writer + n) % 2 })]);
            await pause(Math.random() * 10);
          }
          await open.commit();
          expected.push(...ids);
        }
      };
      let isWriting = true;
      const published: string[] = [];
      const publish = async (): Promise<void> => {
        for (;;) {
          // Whatever is committed from here on is found by the read that follows.
          const isLast = !isWriting;
          const read = await world.store.read(held.map(({ lane }) => ({ lane, after: 0n, limit: 100 })));
          if (read.length === 0 && isLast) return;
          published.push(...read.map(({ id }) => id));
          const lost = await world.store.settle(
            held.map((one) =>
              settlement(one, { done: read.filter(({ lane }) => lane === one.lane).map(({ seq }) => seq) }),
            ),
          );
          same(lost, []);
          if (read.length === 0) await pause(1);
        }
      };
      const publishing = publish();
      await Promise.all(Array.from({ length: writers }, (_, writer) => write(writer)));
      isWriting = false;
      await publishing;
      same(published.length, writers * rounds * 2);
      same(published.toSorted(), expected.toSorted());
    },
  },
  'a transaction that has been reading for long hides nothing, and holds nothing up': {
    needs: 'readers',
    async check(world) {
      const { readLong } = world.opened;
      assert(readLong !== undefined, 'a store that does not lack readers has readLong');
      const held = await world.holdOne('a', 2);
      await world.written(2, 'before');
      const reader = await Reflect.apply(readLong, world.opened, []);
      for (let round = 0; round < 20; round++) {
        await world.written(2, `m${round}`);
        const read = await world.read(2);
        same(read.at(-1)?.id, `m${round}`);
        same(await world.settle(held, { done: read.map(({ seq }) => seq) }), []);
      }
      same(await world.ids(2), []);
      await reader.end();
    },
  },
};

const settling: Facts = {
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
      const fates = { started: [seq], failed: [failedOf(seq)], dead: [deadOf(seq)] };
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
        { started: [seq] },
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
      same(await world.settle(held, { started: [seq] }), []);
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
  'every start that is written down counts': {
    async check(world) {
      const held = await world.holdOne('a', 1);
      const [m] = await world.written(1, 'm', 'n');
      for (let starts = 1; starts <= 3; starts++) {
        same(await world.settle(held, { started: [m?.seq ?? 0n] }), []);
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
        started: [started ?? 0n],
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

const delayed: Facts = {
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

const deadLetters: Facts = {
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
      same(await world.settle(held, { started: [b.seq] }), []);
      same(await world.settle(held, { failed: [failedOf(b.seq)] }), []);
      same(await world.settle(held, { started: [b.seq] }), []);
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
      await refuses('invalid_request', store.dead.purge({}, 1e9));
    },
  },
};

const rest: Facts = {
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
      const ageMs = stats.nowMs - (stats.oldestMs ?? 0);
      assert(m !== undefined && ageMs >= 5_000 && ageMs < 60_000, `the oldest is ${ageMs} ms old`);
      await world.opened.pass(ttlMs + 1);
      const later = await world.store.stats();
      same([later.relays, later.lanesHeld], [0, 0]);
    },
  },
  'dedup keys are forgotten when they are old enough, at most so many at a time': {
    async check(world) {
      const old = ['a', 'A', 'a ', 'b'];
      await world.opened.remember(old);
      await world.opened.pass(60_000);
      await world.opened.remember(['new']);
      same(await world.store.prune({ dedupOlderThanMs: 120_000, limit: 10 }), 0);
      same(await world.store.prune({ dedupOlderThanMs: 30_000, limit: 3 }), 3);
      same(await world.store.prune({ dedupOlderThanMs: 30_000, limit: 3 }), 1);
      same(await world.opened.remembered(), ['new']);
    },
  },
  'tables of a newer version are refused': {
    needs: 'tables',
    async check(world) {
      const { makeNewer } = world.opened;
      assert(makeNewer !== undefined, 'a store that does not lack tables has makeNewer');
      await world.store.heartbeat('a', ttlMs);
      await Reflect.apply(makeNewer, world.opened, []);
      await refuses('store_newer', world.store.heartbeat('a', ttlMs));
    },
  },
  'every call says that the tables are missing': {
    needs: 'tables',
    async check(world) {
      const { dropTables } = world.opened;
      assert(dropTables !== undefined, 'a store that does not lack tables has dropTables');
      await Reflect.apply(dropTables, world.opened, []);
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

const facts: Facts = { ...leases, ...reading, ...settling, ...delayed, ...deadLetters, ...rest };

function message(given: Partial<NewMessage> & Pick<NewMessage, 'id' | 'lane'>): NewMessage {
  return {
    type: 'order.placed',
    version: 1,
    target: 'kafka',
    address: 'orders',
    key: undefined,
    payload: '{"n":1}',
    headers: {},
    delayMs: undefined,
    ...given,
  };
}

function settlement(
  { lane, token }: LaneToken,
  what: Partial<Omit<Settlement, 'lane' | 'token'>>,
): Settlement {
  return { done: [], started: [], failed: [], dead: [], ...what, lane, token };
}

function failedOf(seq: bigint, given: Partial<FailedMessage> = {}): FailedMessage {
  return { attempts: 1, reason: 'broken', retryInMs: 1_000, place: 'stay', ...given, seq };
}

function deadOf(seq: bigint, given: Partial<DeadMessage> = {}): DeadMessage {
  return { attempts: 1, cause: 'poison', reason: 'broken', blocksKey: false, ...given, seq };
}

async function beginOn({ opened }: World): Promise<OpenWriter> {
  assert(opened.begin !== undefined, 'a store that does not lack writers has begin');
  return await opened.begin();
}

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

async function refuses(code: ErrorCode, call: Promise<unknown>, what = 'the call'): Promise<void> {
  const outcome = await call.then(
    () => 'nothing',
    (error: unknown) => (isSettleError(error) ? error.code : String(error)),
  );
  same(outcome, code, `what ${what} rejects with`);
}

function lanesOf(of: readonly { readonly lane: number }[]): number[] {
  return of.map(({ lane }) => lane).toSorted(byNumber);
}

function byNumber(a: number | bigint, b: number | bigint): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => void setTimeout(resolve, ms));
}

function same(actual: unknown, expected: unknown, what = 'it'): void {
  const [is, should] = [textOf(actual), textOf(expected)];
  if (is !== should) throw new Error(`${what} is ${is.slice(0, 2_000)}, expected ${should.slice(0, 2_000)}`);
}

/** Members in the order of their names, so that only what they hold counts. */
function textOf(value: unknown): string {
  return (
    JSON.stringify(value, (_, member: unknown) => {
      if (typeof member === 'bigint') return `${member}n`;
      if (member === undefined) return 'undefined';
      if (typeof member !== 'object' || member === null || Array.isArray(member)) return member;
      return Object.fromEntries(Object.entries(member).toSorted(([a], [b]) => (a < b ? -1 : 1)));
    }) ?? 'undefined'
  );
}
