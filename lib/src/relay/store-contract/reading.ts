import { assert } from '../../util/assert.ts';
import type { OpenWriter } from './place.ts';
import { byNumber, deadOf, failedOf, message, same, settlement, type Facts, type World } from './world.ts';

export const reading: Facts = {
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
    needs: 'numbers',
    async check(world) {
      const { continueFrom } = world.opened;
      assert(continueFrom !== undefined, 'a store that does not lack numbers has continueFrom');
      await continueFrom(2n ** 53n);
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
      const reader = await readLong();
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

async function beginOn({ opened }: World): Promise<OpenWriter> {
  assert(opened.begin !== undefined, 'a store that does not lack writers has begin');
  return await opened.begin();
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => void setTimeout(resolve, ms));
}
