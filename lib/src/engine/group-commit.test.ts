import { describe, expect, it } from 'vitest';
import type { EngineEvent } from '../observe/events.ts';
import { gid } from '../testing/engine-world.ts';
import { VirtualClock } from '../testing/virtual-clock.ts';
import { SettleError } from '../util/errors.ts';
import { GroupCommit, type Written } from './group-commit.ts';
import { batchMax, type CommitReply, type Store, type Write } from './ports.ts';
import { StoreClock } from './store-clock.ts';

function writeOf(n: number): Write {
  const fields = { gid: gid(`g-${n}`), status: 'running', stuck: false, progress: '{}', dueAtMs: 1 } as const;
  return { kind: 'update', ...fields, revision: 1, epoch: 1, nextEpoch: 1 };
}

function world(): {
  readonly clock: VirtualClock;
  readonly storeClock: StoreClock;
  readonly events: EngineEvent[];
  readonly commits: {
    readonly batch: readonly Write[];
    answer(reply: CommitReply): void;
    fail(error: unknown): void;
  }[];
  readonly group: GroupCommit;
  readonly outcomes: (readonly [number, Written['kind']])[];
  write(n: number): void;
} {
  const clock = new VirtualClock();
  const storeClock = new StoreClock(clock);
  const events: EngineEvent[] = [];
  const commits: ReturnType<typeof world>['commits'] = [];
  const commit: Store['commit'] = (batch) =>
    new Promise((resolve, reject) => commits.push({ batch, answer: resolve, fail: reject }));
  const group = new GroupCommit({ commit } as Store, clock, storeClock, (event) => events.push(event));
  const outcomes: (readonly [number, Written['kind']])[] = [];
  return {
    clock,
    storeClock,
    events,
    commits,
    group,
    outcomes,
    write: (n) => group.write(writeOf(n), (written) => void outcomes.push([n, written.kind])),
  };
}

const written = { kind: 'written' } as const;

describe('a group commit', () => {
  it('takes everything of one turn, and passes no time before it (D6)', async () => {
    const at = world();
    for (const n of [1, 2, 3]) at.write(n);
    expect(at.commits).toEqual([]);
    await at.clock.advance(0);
    expect(at.commits.map(({ batch }) => batch.length)).toEqual([3]);
    expect(at.clock.monotonicMs()).toBe(0);
  });

  it('gives each write its own outcome', async () => {
    const at = world();
    for (const n of [1, 2, 3]) at.write(n);
    await at.clock.advance(0);
    at.commits[0]?.answer({ nowMs: 1, outcomes: [written, { kind: 'lost' }, { kind: 'exists' }] });
    await at.clock.advance(0);
    expect(at.outcomes).toEqual([
      [1, 'written'],
      [2, 'lost'],
      [3, 'exists'],
    ]);
  });

  it('says unknown of every write of a batch that failed, and of no other', async () => {
    const at = world();
    at.write(1);
    await at.clock.advance(0);
    at.commits[0]?.fail(new SettleError('unavailable', 'the disk is full'));
    at.write(2);
    await at.clock.advance(0);
    at.commits[1]?.answer({ nowMs: 1, outcomes: [written] });
    await at.clock.advance(0);
    expect(at.outcomes).toEqual([
      [1, 'unknown'],
      [2, 'written'],
    ]);
    expect(at.events).toMatchObject([
      { kind: 'alarm', code: 'store_unavailable' },
      { kind: 'commit', writes: 1 },
    ]);
  });

  it('never sends more at once than a store takes, nor lets a write wait while there is room', async () => {
    const at = world();
    for (let n = 0; n < 3_000; n++) at.write(n);
    let answered = 0;
    for (let turn = 0; answered < 3_000 && turn < 100; turn++) {
      await at.clock.advance(0);
      for (const commit of at.commits.splice(0)) {
        expect(commit.batch.length).toBeLessThanOrEqual(batchMax);
        answered += commit.batch.length;
        commit.answer({ nowMs: 1, outcomes: commit.batch.map(() => written) });
      }
    }
    await at.clock.advance(0);
    expect(at.outcomes.map(([n]) => n)).toEqual(Array.from({ length: 3_000 }, (_, n) => n));
    expect(at.group.waiting).toBe(0);
  });

  it('tells the time of the store to its clock (D5)', async () => {
    const at = world();
    at.write(1);
    await at.clock.advance(0);
    at.commits[0]?.answer({ nowMs: 5_000_000, outcomes: [written] });
    await at.clock.advance(10);
    expect(at.storeClock.nowMs()).toBe(5_000_010);
  });

  it('is idle only when nothing waits and nothing is under way, what its answers led to included', async () => {
    const at = world();
    let idle = false;
    at.group.write(writeOf(1), () => at.write(2));
    void at.group.idle().then(() => (idle = true));
    await at.clock.advance(0);
    at.commits[0]?.answer({ nowMs: 1, outcomes: [written] });
    await at.clock.advance(0);
    expect(idle).toBe(false);
    at.commits[1]?.answer({ nowMs: 1, outcomes: [written] });
    await at.clock.advance(0);
    expect(idle).toBe(true);
    await at.group.idle();
  });
});
