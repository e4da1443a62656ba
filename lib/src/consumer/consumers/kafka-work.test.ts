import { describe, expect, test } from 'vitest';
import type { Handled, HandleMessage } from '../incoming.ts';
import {
  type KafkaConsumerOptions,
  type KafkaGroup,
  type KafkaRecord,
  KafkaWork,
  type PartitionPosition,
} from './kafka-work.ts';

const handled: Handled = { kind: 'handled', duplicate: false };

/** A topic with one partition of offsets 5 to 19, and a group that has come somewhere in it. */
function open(
  options: Partial<KafkaConsumerOptions> & { readonly handle?: HandleMessage } = {},
  committed: ReadonlyMap<number, bigint> = new Map(),
) {
  const commits: PartitionPosition[] = [];
  const group: KafkaGroup = {
    committed: async () => committed,
    ends: async () => new Map([[0, { first: 5n, end: 20n }]]),
    commit: async (positions) => void commits.push(...positions),
  };
  const work = new KafkaWork(
    {
      topics: ['orders'],
      handle: async () => handled,
      commitEveryMs: 1,
      onTrouble: () => undefined,
      ...options,
    },
    group,
  );
  return { work, commits };
}

async function startOf(
  options: Partial<KafkaConsumerOptions>,
  committed?: ReadonlyMap<number, bigint>,
): Promise<bigint | undefined> {
  const assignment = await open(options, committed).work.assign([{ topic: 'orders', partition: 0 }]);
  return assignment?.partitions[0]?.next;
}

function record(offset: bigint): KafkaRecord {
  return { topic: 'orders', partition: 0, offset, key: `k${offset}`, value: '{}', headers: {} };
}

const stored = (offset: bigint) => ({
  consumer: 'work',
  stored: { read: async () => new Map([[0, offset]]) },
});

describe('a partition begins', () => {
  test.each<[string, Partial<KafkaConsumerOptions>, ReadonlyMap<number, bigint> | undefined, bigint]>([
    ['at the first offset when nothing is committed', {}, undefined, 5n],
    ['behind the last when told so', { from: 'latest' }, undefined, 20n],
    ['where the group has come to', {}, new Map([[0, 12n]]), 12n],
    ['where the store says, before what is committed', { positions: stored(9n) }, new Map([[0, 12n]]), 9n],
    ['at the first that is left when the topic has let others go', {}, new Map([[0, 2n]]), 5n],
  ])('%s', async (_title, options, committed, start) => {
    expect(await startOf(options, committed)).toBe(start);
  });

  test('where this member has come itself, also when that was not committed', async () => {
    const { work } = open({ commitEveryMs: 60_000 });
    const before = await work.assign([{ topic: 'orders', partition: 0 }]);
    const progress = before?.partitions[0];
    if (progress === undefined) throw new Error('there is one partition');
    await work.take(record(5n), progress);
    await expect.poll(() => progress.position).toBe(6n);
    const again = await work.assign([{ topic: 'orders', partition: 0 }]);
    expect(again?.partitions[0]?.next).toBe(6n);
  });
});

describe('after a rebalance', () => {
  test('nothing is committed of what ends late, and nothing that waited begins', async () => {
    const late = Promise.withResolvers<Handled>();
    const begun: string[] = [];
    const { work, commits } = open({
      concurrency: 1,
      handle: (message) => {
        begun.push(message.ref);
        return late.promise;
      },
    });
    const assignment = await work.assign([{ topic: 'orders', partition: 0 }]);
    const progress = assignment?.partitions[0];
    if (progress === undefined) throw new Error('there is one partition');
    await work.take(record(5n), progress);
    await work.take(record(6n), progress);
    work.revoke();
    late.resolve(handled);
    expect(await work.take(record(7n), progress)).toBe(false);
    await work.end(1_000);
    expect(begun).toEqual(['orders/0@5']);
    expect(commits).toEqual([]);
  });

  test('an assignment that was overtaken by another one is none', async () => {
    const { work } = open();
    const first = work.assign([{ topic: 'orders', partition: 0 }]);
    const second = work.assign([{ topic: 'orders', partition: 0 }]);
    expect(await first).toBeUndefined();
    expect((await second)?.partitions).toHaveLength(1);
  });
});

test('what is left is committed at the end, when everything before it is handled', async () => {
  const { work, commits } = open({ commitEveryMs: 60_000 });
  const assignment = await work.assign([{ topic: 'orders', partition: 0 }]);
  const progress = assignment?.partitions[0];
  if (progress === undefined) throw new Error('there is one partition');
  for (const offset of [5n, 6n, 7n]) await work.take(record(offset), progress);
  await work.end(1_000);
  expect(commits).toEqual([{ topic: 'orders', partition: 0, position: 8n }]);
});

test('limits that are none are refused', () => {
  expect(() => open({ concurrency: 0 })).toThrow('config_invalid');
});
